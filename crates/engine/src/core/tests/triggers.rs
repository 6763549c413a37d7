//! Builds that trigger others, and schedulers that depend on others.

use std::{collections::BTreeMap, time::Duration};

use model::{BuildId, BuildsetId, Properties, Results, SchedulerId, SourceStamp};
use storage::{Restored, Write};

use super::{
    super::{StampAsked, Trigger},
    Event, ReplyId, World, farm, last_order,
    schedulers::changed,
};

/// `parent` on w1, `one` and `two` on w2 (one build at a time), and Triggerables for them.
fn site(more: &str) -> World {
    let schedulers = "[[scheduler]]\nname = \"t1\"\ntype = \"Triggerable\"\nbuilderNames = [\"one\"]\nproperties = { own = \"scheduler\" }\n\
         [[scheduler]]\nname = \"t2\"\ntype = \"Triggerable\"\nbuilderNames = [\"two\"]\nreason = \"because\"\ncodebases = { lib = { repository = \"r\", branch = \"stable\" } }\n";
    let mut world = World::new(&farm(
        &[("w1", 2), ("w2", 1)],
        &[("parent", &["w1"]), ("one", &["w2"]), ("two", &["w2"])],
        &format!("{schedulers}{more}"),
    ));
    world.connect(1, "w1").connect(2, "w2").force(&["parent"], 0);
    world
}

impl World {
    fn trigger(&mut self, schedulers: &[&str], waits: bool) -> &mut Self {
        self.trigger_with(Trigger {
            schedulers: schedulers.iter().map(|name| (*name).to_owned()).collect(),
            waits,
            ..Trigger::default()
        })
    }

    fn trigger_with(&mut self, trigger: Trigger) -> &mut Self {
        let relationship = "Triggered from".to_owned();
        let trigger = Box::new(Trigger { build: BuildId(1), relationship, ..trigger });
        self.event(Event::Trigger { trigger, reply: ReplyId(9) })
    }
}

#[test]
fn a_build_that_waits_hears_of_every_request() {
    let mut world = site("");
    world.trigger(&["t1", "t2"], true).expect(
        "+ buildset 2
         + build request 2
         + claim of build request 2
         + build 2 (number 1 of builder 2)
         + buildset 3
         + build request 3
         start 2: one #1 on w2 for [2]
         Triggered([TriggeredScheduler { scheduler: \"t1\", requests: [BuildRequestId(2)] }, TriggeredScheduler { scheduler: \"t2\", requests: [BuildRequestId(3)] }])",
    );
    // A build that is lost is done again, and both are told.
    world.finish(2, Results::Retry).pass(Duration::from_secs(600)).finish(3, Results::Warnings).expect_actions(
        "TriggeredRequest { request: BuildRequestId(2), results: Warnings, builds: [TriggeredBuild { builder: \"one\", builder_id: BuilderId(2), number: BuildNumber(1), results: Retry }, TriggeredBuild { builder: \"one\", builder_id: BuilderId(2), number: BuildNumber(2), results: Warnings }] }
         start 4: two #1 on w2 for [3]",
    );
    world.finish(4, Results::Success).expect(
        "+ build 4: success
         + request 3: success
         + buildset 3: success
         TriggeredRequest { request: BuildRequestId(3), results: Success, builds: [TriggeredBuild { builder: \"two\", builder_id: BuilderId(3), number: BuildNumber(1), results: Success }] }
         Done",
    );
    world
        .finish(1, Results::Success)
        .expect("+ build 1: success\n+ request 1: success\n+ buildset 1: success");
}

#[test]
fn a_request_that_another_of_the_same_call_makes_superfluous_is_not_waited_for() {
    let text = farm(
        &[("w1", 2), ("w2", 1)],
        &[("parent", &["w1"]), ("one", &["w2"])],
        "[[scheduler]]\nname = \"t1\"\ntype = \"Triggerable\"\nbuilderNames = [\"one\"]\n",
    );
    let mut world = World::new(&text.replace("collapseRequests = false", "collapseRequests = true"));
    world.connect(1, "w1").force(&["parent"], 0);
    world.trigger(&["t1", "t1"], true).expect_actions(
        "Triggered([TriggeredScheduler { scheduler: \"t1\", requests: [BuildRequestId(2)] }, TriggeredScheduler { scheduler: \"t1\", requests: [BuildRequestId(3)] }])
         TriggeredRequest { request: BuildRequestId(2), results: Skipped, builds: [] }",
    );
    world.connect(2, "w2").finish(2, Results::Success).expect_actions(
        "TriggeredRequest { request: BuildRequestId(3), results: Success, builds: [TriggeredBuild { builder: \"one\", builder_id: BuilderId(2), number: BuildNumber(1), results: Success }] }
         Done",
    );
}

#[test]
fn rows_say_who_has_triggered_them() {
    let mut world = site("");
    world.trigger(&["t1"], true);
    let waited =
        world.batch.writes.iter().any(|write| matches!(write, Write::Request { waited_for: true, .. }));
    let parent = world.batch.writes.iter().find_map(|write| match write {
        Write::Buildset { parent, .. } => parent.clone(),
        _ => None,
    });
    assert!(waited);
    assert_eq!(
        parent.map(|parent| (parent.build, parent.relationship)),
        Some((BuildId(1), "Triggered from".into()))
    );
}

#[test]
fn properties_reasons_and_code_are_merged_as_buildbot_merges_them() {
    let mut world = site("");
    let mut properties = Properties::new();
    properties.set("own", "trigger", "Trigger");
    properties.set("extra", 1, "Trigger");
    let asked = |codebase: &str| StampAsked {
        codebase: codebase.to_owned(),
        revision: Some(Some("abc".to_owned())),
        ..StampAsked::default()
    };
    let schedulers = vec!["t1".to_owned(), "t2".to_owned()];
    let sourcestamps = vec![asked(""), asked("lib")];
    world.trigger_with(Trigger { schedulers, sourcestamps, properties, ..Trigger::default() });
    let order = last_order(&world.batch);
    let value = |name: &str| order.properties.property(name).map(|it| (it.value.clone(), it.source.as_str()));
    // The scheduler's own properties win.
    assert_eq!(value("own"), Some(("scheduler".into(), "Scheduler")));
    assert_eq!(value("extra"), Some((1.into(), "Trigger")));
    assert_eq!(value("scheduler"), Some(("t1".into(), "Scheduler")));
    assert_eq!(order.reason, "The Triggerable scheduler named 't1' triggered this build");
    let stamps: Vec<_> =
        order.sourcestamps.iter().map(|stamp| (&*stamp.codebase, stamp.revision.as_deref())).collect();
    assert_eq!(stamps, [("", Some("abc")), ("lib", Some("abc"))]);
    world.finish(2, Results::Success);
    let order = last_order(&world.batch);
    let stamp = |codebase: &str| order.sourcestamps.iter().find(|stamp| stamp.codebase == codebase).unwrap();
    assert_eq!((stamp("lib").branch.as_deref(), &*stamp("lib").repository), (Some("stable"), "r"));

    // Without properties, the scheduler's reason counts; with them, theirs.
    world.trigger(&["t2"], false).finish(3, Results::Success);
    assert_eq!(last_order(&world.batch).reason, "because");
    let mut properties = Properties::new();
    properties.set("reason", "wanted", "Trigger");
    world.trigger_with(Trigger { schedulers: vec!["t2".to_owned()], properties, ..Trigger::default() });
    world.finish(4, Results::Success);
    assert_eq!(last_order(&world.batch).reason, "wanted");
}

#[test]
fn all_schedulers_are_triggered_or_none() {
    let mut world = site("");
    world.trigger(&["t1", "t9"], true).expect("refused: no scheduler is called \"t9\"");
    world.trigger(&["t1", "force"], true).expect(
        "refused: scheduler \"force\" cannot be triggered: it is no Triggerable and no NightlyTriggerable",
    );
    world.finish(1, Results::Success);
    world.trigger(&["t1"], true).expect("refused: no build 1 is running");
}

#[test]
fn what_a_build_waits_for_is_cancelled_with_it() {
    let mut world = site("");
    world.trigger(&["t1", "t2"], true);
    world.stop(1).expect(
        "+ claim of build request 3
         + request 3: cancelled
         + buildset 3: cancelled
         interrupt 1 (cancelled): not wanted
         interrupt 2 (cancelled): parent build was interrupted
         TriggeredRequest { request: BuildRequestId(3), results: Cancelled, builds: [] }
         Done",
    );
    // The build hears of the end of what it waits for.
    world.finish(2, Results::Cancelled).expect_actions(
        "TriggeredRequest { request: BuildRequestId(2), results: Cancelled, builds: [TriggeredBuild { builder: \"one\", builder_id: BuilderId(2), number: BuildNumber(1), results: Cancelled }] }
         Done",
    );
    world.finish(1, Results::Cancelled);

    // A build that ends in spite of it leaves nothing behind.
    let mut world = site("");
    world.trigger(&["t1", "t2"], true).finish(1, Results::Exception).expect(
        "+ build 1: exception
         + claim of build request 3
         + request 3: cancelled
         + buildset 3: cancelled
         + request 1: exception
         + buildset 1: exception
         interrupt 2 (cancelled): parent build was interrupted
         TriggeredRequest { request: BuildRequestId(3), results: Cancelled, builds: [] }
         Done",
    );
    world.finish(2, Results::Cancelled).expect_actions("");
}

#[test]
fn a_lost_worker_takes_what_its_build_waits_for_along() {
    let mut world = site("");
    world.trigger(&["t1", "t2"], true).lose(1);
    let all = super::text(&world.batch);
    assert!(all.contains("interrupt 2 (cancelled): parent build was interrupted"), "{all}");
    assert!(all.contains("+ request 3: cancelled"), "{all}");
}

#[test]
fn who_does_not_wait_is_not_told() {
    let mut world = site("");
    world.trigger(&["t1"], false).expect_actions(
        "start 2: one #1 on w2 for [2]
         Triggered([TriggeredScheduler { scheduler: \"t1\", requests: [BuildRequestId(2)] }])
         Done",
    );
    world.stop(1).expect("interrupt 1 (cancelled): not wanted\nDone");
    world.finish(2, Results::Success).expect_actions("");
}

fn dependents() -> &'static str {
    "[[scheduler]]\nname = \"any\"\ntype = \"AnyBranchScheduler\"\nbuilderNames = [\"one\"]\n\
     [[scheduler]]\nname = \"after\"\ntype = \"Dependent\"\nupstream = \"any\"\nbuilderNames = [\"two\"]\npriority = 4\n"
}

#[test]
fn a_dependent_builds_what_has_succeeded() {
    let mut world = site(dependents());
    world.change(changed("main", "r1"));
    let kept = |world: &World| {
        let states = world.batch.writes.iter().filter_map(|write| match write {
            Write::ObjectState { object, class, key, value } => {
                Some(format!("{object} {class} {key} {value}"))
            }
            _ => None,
        });
        states.collect::<Vec<_>>()
    };
    assert_eq!(kept(&world), ["after buildbot.schedulers.dependent.Dependent upstream_bsids [2]"]);
    world.finish(2, Results::Warnings);
    assert_eq!(kept(&world), ["after buildbot.schedulers.dependent.Dependent upstream_bsids []"]);
    let order = last_order(&world.batch);
    assert_eq!((&*order.builder.name, &*order.reason), ("two", "downstream"));
    assert_eq!(order.sourcestamps, [changed("main", "r1").source_stamp()]);
    assert_eq!(order.changes[0].author, "author of r1");
    world.finish(3, Results::Success);

    world.change(changed("main", "r2")).finish(4, Results::Failure);
    assert_eq!(kept(&world), ["after buildbot.schedulers.dependent.Dependent upstream_bsids []"]);
    assert!(!super::text(&world.batch).contains("buildset 5"));
}

#[test]
fn a_dependent_goes_on_from_what_buildbot_left() {
    let complete = |id: i64, results| {
        let row = storage::BuildsetRow {
            id: BuildsetId(id),
            external_id: None,
            reason: None,
            submitted_at: super::START,
            complete: true,
            complete_at: None,
            results: Some(results),
            parent: None,
            rebuilt_build: None,
            sourcestamps: Vec::new(),
        };
        let stamp = SourceStamp { revision: Some(format!("r{id}")), ..SourceStamp::default() };
        let (sourcestamps, properties, finished) = (vec![stamp], Properties::new(), Vec::new());
        (BuildsetId(id), storage::RestoredBuildset { row, sourcestamps, properties, finished })
    };
    let (class, key) = storage::UPSTREAM;
    let state = BTreeMap::from([((class.into(), key.into()), serde_json::json!([5, 6, 7]))]);
    let restored = Restored {
        schedulers: BTreeMap::from([("after".to_owned(), (SchedulerId(7), true))]),
        states: BTreeMap::from([("after".to_owned(), state)]),
        upstream: BTreeMap::from([complete(5, Results::Success), complete(6, Results::Failure)]),
        ..Restored::default()
    };
    let text = farm(&[("w2", 1)], &[("one", &["w2"]), ("two", &["w2"])], dependents());
    let mut world = World::restored(&text, restored, BTreeMap::new());
    let all = super::text(&world.batch);
    assert!(all.contains("+ buildset 1") && !all.contains("+ buildset 2"), "{all}");
    world.connect(1, "w2");
    assert_eq!(last_order(&world.batch).sourcestamps[0].revision.as_deref(), Some("r5"));
}
