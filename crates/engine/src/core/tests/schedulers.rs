use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{Change, ChangeId, Properties, Results, SchedulerId};
use storage::{PendingChange, Restored};

use super::{Event, Force, ReplyId, World, farm, last_order};

pub(super) fn changed(branch: &str, revision: &str) -> Change {
    Change {
        author: format!("author of {revision}"),
        branch: (!branch.is_empty()).then(|| branch.to_owned()),
        revision: Some(revision.to_owned()),
        ..Change::default()
    }
}

fn with(scheduler: &str) -> String {
    farm(
        &[("w1", 1)],
        &[("b1", &["w1"])],
        &format!("[[scheduler]]\nname = \"s\"\nbuilderNames = [\"b1\"]\n{scheduler}"),
    )
}

const DEFAULT_REASON: &str = "The AnyBranchScheduler scheduler named 's' triggered this build";

#[test]
fn without_a_timer_each_change_is_built_at_once() {
    let mut world = World::new(&with("type = \"AnyBranchScheduler\""));
    world.connect(1, "w1").change(changed("main", "r1")).expect(
        "+ change 1
         + buildset 1
         + build request 1
         + claim of build request 1
         + build 1 (number 1 of builder 1)
         Change(ChangeId(1))
         start 1: b1 #1 on w1 for [1]",
    );
    let order = last_order(&world.batch);
    assert_eq!(order.reason, DEFAULT_REASON);
    assert_eq!(order.owners, ["author of r1"]);
    assert_eq!(order.sourcestamps, [changed("main", "r1").source_stamp()]);
    assert_eq!(order.properties.get("revision").unwrap(), "r1");
    assert_eq!(order.properties.get("scheduler").unwrap(), "s");
}

#[test]
fn a_timer_waits_for_the_tree_to_be_stable_branch_by_branch() {
    let mut world = World::new(&with("type = \"AnyBranchScheduler\"\ntreeStableTimer = 10"));
    let second = Duration::from_secs(1);
    world.change(changed("main", "r1")).expect("+ change 1\n+ change 1 for scheduler 2\nChange(ChangeId(1))");
    world.pass(5 * second).expect("").change(changed("dev", "r2"));
    world.pass(4 * second).expect("").change(changed("main", "r3"));
    // Nine seconds old is dev, main is new again.
    world.pass(6 * second).expect(
        "+ buildset 1
         + build request 1
         + scheduler 2 has done These([ChangeId(2)])",
    );
    world.pass(3 * second).expect("");
    world.pass(second).expect(
        "+ buildset 2
         + build request 2
         + scheduler 2 has done These([ChangeId(1), ChangeId(3)])",
    );
    world.connect(1, "w1").finish(1, Results::Success);
    assert_eq!(last_order(&world.batch).sourcestamps, [changed("main", "r3").source_stamp()]);
    assert_eq!(last_order(&world.batch).owners, ["author of r3"]);
    assert_eq!(world.core.next_deadline(), None);
}

#[test]
fn a_single_branch_hears_only_of_its_branch() {
    let mut world = World::new(&with(
        "type = \"SingleBranchScheduler\"\nbranch = \"main\"\nreason = \"%(classname)s %(name)s\"",
    ));
    world.change(changed("dev", "r1")).expect("+ change 1\nChange(ChangeId(1))");
    world.change(changed("", "r2")).expect("+ change 2\nChange(ChangeId(2))");
    world.change(changed("main", "r3")).connect(1, "w1").expect_actions("start 1: b1 #1 on w1 for [1]");
    assert_eq!(last_order(&world.batch).reason, "SingleBranchScheduler s");
}

#[test]
fn any_branch_may_be_some_branches() {
    let mut world = World::new(&with("type = \"AnyBranchScheduler\"\nbranches = [\"main\", \"dev\"]"));
    world.change(changed("other", "r1")).expect("+ change 1\nChange(ChangeId(1))");
    world
        .change(changed("dev", "r2"))
        .expect("+ change 2\n+ buildset 1\n+ build request 1\nChange(ChangeId(2))");
}

#[test]
fn a_change_of_another_codebase_is_not_ours() {
    let mut world = World::new(&with("type = \"AnyBranchScheduler\""));
    let change = Change { codebase: "other".to_owned(), ..changed("main", "r1") };
    world.change(change).expect("+ change 1\nChange(ChangeId(1))");
}

#[test]
fn properties_of_changes_win_over_those_of_schedulers() {
    let mut world = World::new(&with("type = \"AnyBranchScheduler\"\nproperties = { a = 1, b = 1 }"));
    let mut properties = Properties::new();
    properties.set("a", 2, "Change");
    world.connect(1, "w1").change(Change { properties, ..changed("main", "r1") });
    let order = last_order(&world.batch);
    assert_eq!(
        (order.properties.get("a").unwrap(), order.properties.get("b").unwrap()),
        (&2.into(), &1.into())
    );
}

#[test]
fn timers_survive_a_restart() {
    let text = with("type = \"AnyBranchScheduler\"\ntreeStableTimer = 10");
    let pending = |id: i64, important| PendingChange {
        scheduler: SchedulerId(7),
        id: ChangeId(id),
        change: changed("main", &format!("r{id}")),
        important,
    };
    let restored = Restored {
        schedulers: BTreeMap::from([("s".to_owned(), (SchedulerId(7), true))]),
        pending_changes: vec![pending(3, true), pending(4, false)],
        ..Restored::default()
    };
    let mut world = World::restored(&text, restored, BTreeMap::new());
    assert!(!super::text(&world.batch).contains("buildset"));
    world.pass(Duration::from_secs(9)).expect("");
    world.pass(Duration::from_secs(1)).expect(
        "+ buildset 1
         + build request 1
         + scheduler 7 has done These([ChangeId(3), ChangeId(4)])",
    );
}

#[test]
fn unimportant_changes_wait_for_an_important_one() {
    let text = with("type = \"AnyBranchScheduler\"\ntreeStableTimer = 10");
    let pending = PendingChange {
        scheduler: SchedulerId(7),
        id: ChangeId(3),
        change: changed("main", "r0"),
        important: false,
    };
    let restored = Restored {
        schedulers: BTreeMap::from([("s".to_owned(), (SchedulerId(7), true))]),
        pending_changes: vec![pending],
        ..Restored::default()
    };
    let mut world = World::restored(&text, restored, BTreeMap::new());
    world.pass(Duration::from_secs(100)).expect("");
    world.change(changed("main", "r1")).pass(Duration::from_secs(10));
    assert!(super::text(&world.batch).contains("+ scheduler 7 has done These([ChangeId(1), ChangeId(3)])"));
}

#[test]
fn a_scheduler_that_is_switched_off_hears_nothing() {
    let restored = Restored {
        schedulers: BTreeMap::from([("s".to_owned(), (SchedulerId(7), false))]),
        ..Restored::default()
    };
    let mut world = World::restored(&with("type = \"AnyBranchScheduler\""), restored, BTreeMap::new());
    world.change(changed("main", "r1")).expect("+ change 1\nChange(ChangeId(1))");
}

#[test]
fn forcing_says_what_cannot_be_done() {
    let mut world = World::new(&with("type = \"AnyBranchScheduler\""));
    let mut force = |scheduler: &str, builder: &str, expect: &str| {
        let force = Force {
            scheduler: scheduler.to_owned(),
            builder_names: vec![builder.to_owned()],
            ..Force::default()
        };
        world.event(Event::Force { force: Box::new(force), reply: ReplyId(0) }).expect(expect);
    };
    force("nobody", "b1", "refused: no scheduler is called \"nobody\"");
    force("s", "b1", "refused: scheduler \"s\" is not a ForceScheduler");
    force("force", "b7", "refused: scheduler \"force\" does not build on builder \"b7\"");
}

#[test]
fn the_newest_change_of_each_codebase_is_built() {
    let mut world = World::new(&with(
        "type = \"AnyBranchScheduler\"\ntreeStableTimer = 1\n[scheduler.codebases.lib]\nrepository = \"git://lib\"\nbranch = \"stable\"\n[scheduler.codebases.app]\n",
    ));
    world.connect(1, "w1");
    for revision in ["r1", "r2"] {
        world.change(Change { codebase: "app".to_owned(), ..changed("main", revision) });
    }
    world.pass(Duration::from_secs(1));
    let order = last_order(&world.batch);
    let [app, lib] = &order.sourcestamps[..] else { panic!("{:?}", order.sourcestamps) };
    assert_eq!((app.codebase.as_str(), app.revision.as_deref()), ("app", Some("r2")));
    assert_eq!((lib.repository.as_str(), lib.branch.as_deref()), ("git://lib", Some("stable")));
    assert_eq!(order.changes, [Arc::new(Change { codebase: "app".to_owned(), ..changed("main", "r2") })]);
    // With several codebases there is no one branch.
    assert_eq!(order.properties.get("branch"), None);
}

#[test]
fn only_changes_that_pass_the_filter_are_built() {
    let mut world = World::new(&with(
        "type = \"AnyBranchScheduler\"\nchange_filter = { repository = \"r\", branch_re = \"release/\", filter_fn = { expression = \"change.author != 'bot'\" } }",
    ));
    let wanted = Change { repository: "r".to_owned(), ..changed("release/1", "r1") };
    for unwanted in [
        Change { repository: "s".to_owned(), ..wanted.clone() },
        Change { branch: Some("old/release/1".to_owned()), ..wanted.clone() },
        Change { author: "bot".to_owned(), ..wanted.clone() },
    ] {
        world.change(unwanted);
        assert_eq!(world.batch.writes.len(), 1, "{:?}", world.batch.writes);
    }
    world.change(wanted).expect("+ change 4\n+ buildset 1\n+ build request 1\nChange(ChangeId(4))");
}

#[test]
fn what_is_not_important_builds_nothing_and_starts_no_timer() {
    let files = |files: &[&str]| Change {
        files: files.iter().map(|file| (*file).to_owned()).collect(),
        ..changed("main", "r")
    };
    let mut world = World::new(&with("type = \"AnyBranchScheduler\"\nfileIsImportant = [\"src/\"]"));
    world.change(files(&["doc"])).expect("+ change 1\nChange(ChangeId(1))");
    world
        .change(files(&["doc", "src/a"]))
        .expect("+ change 2\n+ buildset 1\n+ build request 1\nChange(ChangeId(2))");
    let timed = "type = \"AnyBranchScheduler\"\nfileIsImportant = [\"src/\"]\ntreeStableTimer = 10";
    let mut world = World::new(&with(timed));
    world.change(files(&["doc"])).expect("+ change 1\n+ change 1 for scheduler 2\nChange(ChangeId(1))");
    world.pass(Duration::from_secs(100)).expect("");
    world
        .change(files(&["src/a"]))
        .pass(Duration::from_secs(10))
        .expect("+ buildset 1\n+ build request 1\n+ scheduler 2 has done These([ChangeId(1), ChangeId(2)])");
    let mut world = World::new(&with(&format!("{timed}\nonlyImportant = true")));
    world.change(files(&["doc"])).expect("+ change 1\nChange(ChangeId(1))");
}

#[test]
fn properties_and_priorities_depend_on_what_is_built() {
    let mut world = World::new(&with(
        "type = \"AnyBranchScheduler\"\npriority = { expression = \"7 if changes[0].branch == 'main' else 'no number'\" }\nproperties = { ref = \"%(src::branch)s@%(src::revision)s\", by = { property = \"who\" }, scheduled = \"%(prop:scheduler)s\" }",
    ));
    let mut change = changed("main", "r1");
    change.properties.set("who", "ann", "Change");
    world.connect(1, "w1").change(change);
    assert!(
        world.batch.writes.iter().any(|write| matches!(write, storage::Write::Request { priority: 7, .. }))
    );
    let properties = &last_order(&world.batch).properties;
    let value = |name: &str| properties.property(name).map(|it| (it.value.clone(), it.source.as_str()));
    assert_eq!(value("ref"), Some(("main@r1".into(), "Scheduler")));
    assert_eq!(value("by"), Some(("ann".into(), "Scheduler")));
    assert_eq!(value("scheduled"), Some(("s".into(), "Scheduler")));
    world.change(changed("dev", "r2"));
    assert!(
        world.batch.writes.iter().any(|write| matches!(write, storage::Write::Request { priority: 0, .. }))
    );
}

#[test]
fn absolute_source_stamps_are_kept_where_buildbot_keeps_them() {
    let text = with(
        "type = \"SingleBranchScheduler\"\nbranch = \"main\"\ncreateAbsoluteSourceStamps = true\ncodebases = [\"app\", \"lib\"]",
    );
    let of = |codebase: &str, revision: &str| Change {
        codebase: codebase.to_owned(),
        repository: format!("git://{codebase}"),
        ..changed("main", revision)
    };
    let mut world = World::new(&text);
    world.change(of("lib", "r1"));
    let kept = world.batch.writes.iter().find_map(|write| match write {
        storage::Write::ObjectState { object, class, key, value } => {
            Some((object.as_str(), class.as_str(), key.as_str(), value.clone()))
        }
        _ => None,
    });
    let lib =
        serde_json::json!({ "repository": "git://lib", "branch": "main", "revision": "r1", "lastChange": 1 });
    let value = serde_json::json!({ "lib": lib });
    assert_eq!(kept, Some(("s", "SingleBranchScheduler", "lastCodebases", value.clone())));

    let restored = Restored {
        schedulers: BTreeMap::from([("s".to_owned(), (SchedulerId(7), true))]),
        states: BTreeMap::from([(
            "s".to_owned(),
            BTreeMap::from([(("SingleBranchScheduler".to_owned(), "lastCodebases".to_owned()), value)]),
        )]),
        ..Restored::default()
    };
    let mut world = World::restored(&text, restored, BTreeMap::new());
    world.connect(1, "w1").change(of("app", "r2"));
    let stamps = &last_order(&world.batch).sourcestamps;
    let stamps: Vec<_> =
        stamps.iter().map(|stamp| (stamp.repository.as_str(), stamp.revision.as_deref())).collect();
    assert_eq!(stamps, [("git://app", Some("r2")), ("git://lib", Some("r1"))]);
}
