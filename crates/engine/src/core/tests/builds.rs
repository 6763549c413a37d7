use model::{BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, Json, Properties, Results};
use storage::{BuildsetRow, Restored, RestoredBuildset, RestoredRequest, Write};

use super::{Event, Force, ReplyId, START, World, farm, last_order};

#[test]
fn priority_goes_before_age_and_age_before_the_rest() {
    let mut world = World::new(&farm(&[("w1", 1)], &[("b1", &["w1"]), ("b2", &["w1"]), ("b3", &["w1"])], ""));
    world.force(&["b3"], 0).force(&["b2"], 0).force(&["b2"], 5).force(&["b1"], 5);
    world.connect(1, "w1").expect_actions("start 1: b2 #1 on w1 for [3]");
    world.finish(1, Results::Success).expect_actions("start 2: b1 #1 on w1 for [4]");
    world.finish(2, Results::Success).expect_actions("start 3: b3 #1 on w1 for [1]");
    world.finish(3, Results::Success).expect_actions("start 4: b2 #2 on w1 for [2]");
    world.finish(4, Results::Success).expect_actions("");
}

#[test]
fn a_builder_builds_once_at_a_time_on_each_worker() {
    let mut world = World::new(&farm(&[("w1", 0), ("w2", 0)], &[("b1", &["w1", "w2"]), ("b2", &["w1"])], ""));
    world.connect(1, "w1").connect(2, "w2");
    world.force(&["b1"], 0).force(&["b1"], 0).force(&["b1"], 0).force(&["b2"], 0);
    world.expect_actions(
        "start 3: b2 #1 on w1 for [4]
         Forced { buildset: BuildsetId(4), requests: [(\"b2\", BuildRequestId(4))] }",
    );
    world.why(3, "builder b1 has no free worker: w1, w2 build it already");
    world.finish(2, Results::Success).expect_actions("start 4: b1 #3 on w2 for [3]");
}

#[test]
fn a_worker_builds_no_more_than_it_may() {
    let mut world = World::new(&farm(&[("w1", 2)], &[("b1", &["w1"]), ("b2", &["w1"]), ("b3", &["w1"])], ""));
    world.connect(1, "w1").force(&[], 0).expect_actions(
        "start 1: b1 #1 on w1 for [1]
         start 2: b2 #1 on w1 for [2]
         Forced { buildset: BuildsetId(1), requests: [(\"b1\", BuildRequestId(1)), (\"b2\", BuildRequestId(2)), \
         (\"b3\", BuildRequestId(3))] }",
    );
    world.why(3, "builder b3 has no free worker: w1 is at its limit of builds");
    world.finish(1, Results::Success).expect_actions("start 3: b3 #1 on w1 for [3]");
}

#[test]
fn the_least_loaded_worker_is_taken_then_the_most_rested() {
    let mut world =
        World::new(&farm(&[("w1", 0), ("w2", 0)], &[("b1", &["w1", "w2"]), ("b2", &["w1", "w2"])], ""));
    world.connect(1, "w1").connect(2, "w2").force(&["b1"], 0).force(&["b2"], 0);
    assert_eq!(last_order(&world.batch).worker.name, "w2");
    world.finish(1, Results::Success).finish(2, Results::Success).force(&["b2"], 0);
    assert_eq!(last_order(&world.batch).worker.name, "w1");
}

#[test]
fn a_stopped_build_is_cancelled_even_when_its_worker_goes_meanwhile() {
    let mut world = World::new(&farm(&[("w1", 1)], &[("b1", &["w1"])], ""));
    world.connect(1, "w1").force(&["b1"], 0);
    world.stop(1).expect("interrupt 1 (cancelled): not wanted\nDone");
    world.stop(1).expect("Done");
    world.lose(1).expect_actions("");
    world
        .finish(1, Results::Retry)
        .expect("+ build 1: cancelled\n+ request 1: cancelled\n+ buildset 1: cancelled");
    world.stop(1).expect("refused: no build 1 is running");
}

#[test]
fn a_request_is_cancelled_while_it_waits_and_while_it_is_built() {
    let mut world = World::new(&farm(&[("w1", 1)], &[("b1", &["w1"])], ""));
    world
        .connect(1, "w1")
        .force(&["b1"], 0)
        .force(&["b1"], 0)
        .why(2, "builder b1 has no free worker: w1 builds it already");
    world.cancel(2).expect(
        "+ claim of build request 2
         + request 2: cancelled
         + buildset 2: cancelled
         Done",
    );
    world.cancel(1).expect("interrupt 1 (cancelled): not wanted\nDone").finish(1, Results::Cancelled);
    world.cancel(2).expect("refused: build request 2 does not wait and is not being built");
}

#[test]
fn a_set_is_as_bad_as_the_worst_of_its_requests() {
    let mut world = World::new(&farm(&[("w1", 0)], &[("b1", &["w1"]), ("b2", &["w1"]), ("b3", &["w1"])], ""));
    world.connect(1, "w1").force(&[], 0);
    world
        .finish(1, Results::Failure)
        .finish(2, Results::Warnings)
        .expect("+ build 2: warnings\n+ request 2: warnings");
    world
        .finish(3, Results::Skipped)
        .expect("+ build 3: skipped\n+ request 3: skipped\n+ buildset 1: failure");
    // As in Buildbot, sets start from SUCCESS: one that was not needed counts as good.
    world.force(&["b1"], 0).finish(4, Results::Skipped);
    world.expect("+ build 4: skipped\n+ request 4: skipped\n+ buildset 2: success");
}

#[test]
fn properties_are_merged_in_buildbots_order() {
    let text = r#"
        [master]
        [[worker]]
        name = "w1"
        password = "x"
        properties = { who = "worker", by_worker = 1 }
        defaultProperties = { who = "never", spare_worker = true, workername = "never" }
        [[builder]]
        name = "b1"
        workers = ["w1"]
        properties = { who = "builder", by_builder = [1] }
        defaultProperties = { by_force = "never", spare = "builder" }
        [[scheduler]]
        type = "ForceScheduler"
        name = "force"
        builderNames = ["b1"]
    "#;
    let mut world = World::new(text);
    let mut properties = Properties::new();
    properties.set("who", "force", "x");
    properties.set("by_force", "f", "x");
    let force = Force {
        scheduler: "force".to_owned(),
        owner: "me".to_owned(),
        reason: Some("because".to_owned()),
        branch: Some("main".to_owned()),
        properties,
        ..Force::default()
    };
    world.connect(1, "w1").event(Event::Force { force: Box::new(force), reply: ReplyId(0) });
    let order = last_order(&world.batch);
    assert_eq!(order.reason, "A build was forced by 'me': because");
    assert_eq!(order.owners, ["me"]);
    let shown: Vec<String> =
        order.properties.iter().map(|(name, p)| format!("{name} = {} ({})", p.value, p.source)).collect();
    let expect = [
        r#"branch = "main" (Build)"#,
        r#"builderid = 1 (Builder)"#,
        r#"buildername = "b1" (Builder)"#,
        r#"buildnumber = 1 (Build)"#,
        r#"by_builder = [1] (Builder)"#,
        r#"by_force = "f" (Force Build Form)"#,
        r#"by_worker = 1 (Worker)"#,
        r#"codebase = "" (Build)"#,
        r#"owner = "me" (Force Build Form)"#,
        r#"owners = ["me"] (Build)"#,
        r#"project = "" (Build)"#,
        r#"reason = "because" (Force Build Form)"#,
        r#"repository = "" (Build)"#,
        r#"revision = "" (Build)"#,
        r#"scheduler = "force" (Scheduler)"#,
        r#"spare = "builder" (Builder)"#,
        r#"spare_worker = true (Worker)"#,
        r#"who = "worker" (Worker)"#,
        r#"workername = "w1" (Worker)"#,
    ];
    assert_eq!(shown, expect);
    let rows = world.batch.writes.iter().filter(|write| matches!(write, Write::BuildProperty { .. })).count();
    assert_eq!(rows, expect.len());
}

#[test]
fn what_waited_before_a_restart_waits_after_it() {
    let text = farm(&[("w1", 1)], &[("b1", &["w1"])], "");
    let buildset = |id, finished| RestoredBuildset {
        row: BuildsetRow {
            id: BuildsetId(id),
            external_id: None,
            reason: Some("because".to_owned()),
            submitted_at: START,
            complete: false,
            complete_at: None,
            results: None,
            parent: None,
            rebuilt_build: None,
            sourcestamps: Vec::new(),
        },
        sourcestamps: vec![model::SourceStamp::default()],
        properties: Properties::new(),
        finished,
    };
    let request = |id, builder, priority| RestoredRequest {
        id: BuildRequestId(id),
        buildset: BuildsetId(1),
        builder: BuilderId(builder),
        priority,
        submitted_at: START,
        waited_for: false,
    };
    let restored = Restored {
        builders: [
            ("b1".to_owned(), (BuilderId(4), BuildNumber(8))),
            ("old".to_owned(), (BuilderId(5), BuildNumber(2))),
        ]
        .into(),
        buildsets: [
            (BuildsetId(1), buildset(1, vec![(BuildRequestId(1), Results::Failure)])),
            (BuildsetId(2), buildset(2, vec![(BuildRequestId(9), Results::Warnings)])),
        ]
        .into(),
        requests: vec![request(2, 4, 0), request(3, 4, 7), request(4, 5, 0)],
        ..Restored::default()
    };
    let change = std::sync::Arc::new(Change { author: "she".to_owned(), ..Change::default() });
    let mut world = World::restored(&text, restored, [(BuildsetId(1), vec![change])].into());
    world.expect(
        r#"+ the master's sign of life
           + builder 4 ("b1")
           + worker 1 ("w1")
           + worker 1 builds [4]
           + scheduler 1 ("force")
           + buildset 2: warnings"#,
    );
    world.why(2, "1 request of b1 comes first; builder b1 has no free worker: w1 is not connected");
    world.why(4, "builder old is not in the configuration");
    world.connect(1, "w1").expect_actions("start 1: b1 #8 on w1 for [3]");
    assert_eq!(last_order(&world.batch).owners, ["she"]);
    world.finish(1, Results::Success).expect_actions("start 2: b1 #9 on w1 for [2]");
    world.finish(2, Results::Success).cancel(4).expect(
        "+ claim of build request 4
         + request 4: cancelled
         + buildset 1: cancelled
         Done",
    );
}

#[test]
fn draining_starts_nothing_and_says_when_all_is_done() {
    let mut world = World::new(&farm(&[("w1", 1), ("w2", 1)], &[("b1", &["w1"]), ("b2", &["w2"])], ""));
    world.connect(1, "w1").force(&["b1"], 0).event(Event::Drain { reply: ReplyId(0) }).expect("Done");
    world.force(&["b2"], 0).connect(2, "w2").expect_actions("").why(2, "the master starts no more builds");
    world.finish(1, Results::Success).expect_actions("drained");
    assert!(world.core.status().draining);
}

#[test]
fn stopping_has_all_builds_done_again_later() {
    let mut world = World::new(&farm(&[("w1", 1)], &[("b1", &["w1"])], ""));
    world.connect(1, "w1").force(&["b1"], 0);
    world.event(Event::Stop).expect("interrupt 1 (retry): the master is shutting down");
    world.finish(1, Results::Retry).expect("+ build 1: retry\n+ return of build request 1\ndrained");
}

#[test]
fn status_shows_it_all() {
    let mut world = World::new(&farm(&[("w1", 1)], &[("b1", &["w1"])], ""));
    world.connect(1, "w1").force(&["b1"], 0).force(&["b1"], 3);
    let status = world.core.status();
    assert_eq!(status.running[0].build, BuildId(1));
    assert_eq!(status.running[0].reason, "A build was forced by 'me': force build");
    assert_eq!((status.pending[0].request, status.pending[0].priority), (BuildRequestId(2), 3));
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["pending"][0]["why"]["code"], "builder_busy");
    assert_eq!(json["workers"][0]["link"], "connected");
    assert_eq!(json["builders"][0]["running"], Json::from(vec![1]));
}

#[test]
fn a_build_is_recorded_under_the_virtual_builder_that_its_properties_name() {
    let text = farm(&[("w1", 0)], &[("b1", &["w1"]), ("b2", &["w1"])], "");
    let mut world = World::new(&text);
    let ask = |world: &mut World, builder: &str, properties: &[(&str, Json)]| {
        let mut all = Properties::new();
        for (name, value) in properties {
            all.set(format!("virtual_builder_{name}"), value.clone(), "x");
        }
        let force = Force {
            scheduler: "force".to_owned(),
            builder_names: vec![builder.to_owned()],
            properties: all,
            ..Force::default()
        };
        world.event(Event::Force { force: Box::new(force), reply: ReplyId(0) });
    };
    let recorded = |world: &World| {
        let mut lines = Vec::new();
        for write in &world.batch.writes {
            match write {
                Write::VirtualBuilder { id, name, description, project, tags } => {
                    lines.push(format!("{id} is {name}: {description:?} {project:?} {tags:?}"));
                }
                Write::Build { builder, number, .. } => lines.push(format!("builder {builder} #{number}")),
                Write::BuildProperty { name, value, .. }
                    if name == "buildnumber" || name == "buildername" =>
                {
                    lines.push(format!("{name} {value}"));
                }
                _ => {}
            }
        }
        lines
    };
    world.connect(1, "w1");
    ask(&mut world, "b1", &[("name", "v".into()), ("tags", vec!["t"].into()), ("project", "p".into())]);
    assert_eq!(
        recorded(&world),
        [
            r#"3 is v: None Some("p") ["t", "_virtual_"]"#,
            "builder 3 #1",
            r#"buildername "b1""#,
            "buildnumber 1",
        ]
    );
    let order = last_order(&world.batch);
    assert_eq!((order.builder_id, &*order.builder.name), (BuilderId(3), "b1"));
    world.why(1, "v #1 is building it");
    assert_eq!(world.core.running()[0].builder, "v");

    // Of another builder, said as before: only its number. What is free, and who waits, goes by the real ones.
    ask(&mut world, "b2", &[("name", "v".into()), ("tags", vec!["t"].into()), ("project", "p".into())]);
    assert_eq!(recorded(&world)[0], "builder 3 #2");
    ask(&mut world, "b1", &[("name", "".into())]);
    world.expect_actions("Forced { buildset: BuildsetId(3), requests: [(\"b1\", BuildRequestId(3))] }");
    world.finish(1, Results::Success);
    assert_eq!(recorded(&world)[0], "builder 1 #1");
    // A builder of the configuration stays what it is, and counts on.
    world.finish(2, Results::Success).finish(3, Results::Success);
    ask(&mut world, "b2", &[("name", "b1".into()), ("description", "other".into())]);
    assert_eq!(recorded(&world)[0], "builder 1 #2");
}

#[test]
fn a_virtual_builder_is_seen_while_it_builds() {
    let text = farm(&[("w1", 1)], &[("b1", &["w1"])], "")
        .replace("name = \"b1\"\n", "name = \"b1\"\nproperties = { virtual_builder_name = \"v\" }\n");
    let mut world = World::new(&text);
    let names =
        |world: &World| world.core.builders().into_iter().map(|builder| builder.name).collect::<Vec<_>>();
    world.connect(1, "w1").force(&[], 0);
    assert_eq!(names(&world), ["b1", "v"]);
    world.finish(1, Results::Success);
    assert_eq!(names(&world), ["b1"]);
}
