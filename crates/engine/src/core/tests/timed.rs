//! Schedulers that build by the clock.

use std::{collections::BTreeMap, time::Duration};

use model::{BuildId, ChangeId, Json, Results, SchedulerId};
use storage::{PendingChange, Restored, Write};

use super::{
    super::{StampAsked, Trigger},
    Event, ReplyId, START, World, farm, last_order,
    schedulers::changed,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn with(scheduler: &str) -> String {
    farm(
        &[("w1", 1)],
        &[("b1", &["w1"])],
        &format!("[[scheduler]]\nname = \"s\"\nbuilderNames = [\"b1\"]\n{scheduler}"),
    )
}

/// What the tables know of the scheduler.
fn restored(class: &str, state: &[(&str, Json)]) -> Restored {
    let state = state.iter().map(|(key, value)| ((class.to_owned(), (*key).to_owned()), value.clone()));
    Restored {
        schedulers: BTreeMap::from([("s".to_owned(), (SchedulerId(7), true))]),
        states: BTreeMap::from([("s".to_owned(), state.collect())]),
        ..Restored::default()
    }
}

/// What the scheduler has kept just now.
fn kept(world: &World) -> Vec<String> {
    let states = world.batch.writes.iter().filter_map(|write| match write {
        Write::ObjectState { key, value, .. } => Some(format!("{key} {value}")),
        _ => None,
    });
    states.collect()
}

fn buildsets(world: &World) -> usize {
    world.batch.writes.iter().filter(|write| matches!(write, Write::Buildset { .. })).count()
}

#[test]
fn a_periodic_builds_at_once_and_then_again_and_again() {
    let mut world = World::new(&with("type = \"Periodic\"\nperiodicBuildTimer = 600"));
    assert_eq!(buildsets(&world), 1);
    assert_eq!(kept(&world), ["last_build 1000000.0", "last_only_if_changed false"]);
    world.pass(9 * MINUTE);
    assert_eq!(buildsets(&world), 0);
    world.pass(MINUTE);
    assert_eq!((buildsets(&world), kept(&world)), (1, vec!["last_build 1000600.0".to_owned()]));
    world.connect(1, "w1").finish(1, Results::Success);
    assert_eq!(last_order(&world.batch).reason, "The Periodic scheduler named 's' triggered this build");
}

#[test]
fn a_scheduler_goes_on_from_what_buildbot_left() {
    let text = with("type = \"Periodic\"\nperiodicBuildTimer = 600");
    let last = [("last_build", Json::from(999_700.5)), ("last_only_if_changed", false.into())];
    let mut world = World::restored(&text, restored("Periodic", &last), BTreeMap::new());
    assert_eq!(buildsets(&world), 0);
    world.pass(Duration::from_secs(300));
    assert_eq!(buildsets(&world), 0);
    world.pass(Duration::from_secs(1));
    assert_eq!((buildsets(&world), kept(&world)), (1, vec!["last_build 1000300.5".to_owned()]));
    // What was missed is made up for, once.
    let last = [("last_build", Json::from(900_000))];
    let world = World::restored(&text, restored("Periodic", &last), BTreeMap::new());
    assert_eq!((buildsets(&world), kept(&world)[0].clone()), (1, "last_build 1000000.0".to_owned()));
}

#[test]
fn a_nightly_builds_at_its_time() {
    // It begins on 1970-01-12, a Monday, at 13:46:40.
    let mut world = World::new(&with(
        "type = \"Nightly\"\nhour = [3, 15]\nminute = 30\ndayOfWeek = \"0,2-3\"\ntimezone = \"UTC\"",
    ));
    assert_eq!(buildsets(&world), 0);
    // Monday 15:30.
    world.pass(103 * MINUTE);
    assert_eq!(buildsets(&world), 0);
    world.pass(MINUTE);
    assert_eq!(kept(&world), ["last_build 1006200.0", "last_only_if_changed false"]);
    // As in cron, 2-3 are Tuesday and Wednesday: 3:30, 15:30.
    world.pass(12 * HOUR);
    assert_eq!(kept(&world), ["last_build 1049400.0"]);
    world.pass(36 * HOUR);
    assert_eq!(buildsets(&world), 3);
    world.pass(4 * 24 * HOUR - HOUR);
    assert_eq!(buildsets(&world), 0, "{:?}", kept(&world));
}

#[test]
fn a_nightly_keeps_the_time_of_the_day_when_clocks_are_set() {
    // 2026-10-24 12:00 UTC; in the night clocks go back in Berlin.
    let before = model::Time::from_epoch_seconds(1_792_843_200);
    let last = [("last_build", Json::from(1_792_803_600)), ("last_only_if_changed", false.into())];
    let text = with("type = \"Nightly\"\nhour = 3\ntimezone = \"Europe/Berlin\"");
    let mut world = World::restored(&text, restored("Nightly", &last), BTreeMap::new());
    world.pass(before.since(START));
    world.pass(24 * HOUR);
    // 3:00 is one hour later than it was, and there is one.
    assert_eq!(kept(&world), ["last_build 1792893600.0"]);
    world.pass(24 * HOUR);
    assert_eq!(kept(&world), ["last_build 1792980000.0"]);
}

#[test]
fn only_if_changed_builds_for_important_changes_only() {
    let text = with(
        "type = \"Nightly\"\nhour = \"*\"\ntimezone = \"UTC\"\nonlyIfChanged = true\nbranch = \"main\"\nfileIsImportant = { expression = \"change.author != 'bot'\" }\nforce_at_hour = 6",
    );
    let mut world = World::new(&text);
    // The first time it builds what there is.
    world.pass(HOUR);
    assert_eq!(
        (buildsets(&world), kept(&world)),
        (1, vec!["last_build 1000800.0".to_owned(), "last_only_if_changed true".to_owned()][..1].to_vec())
    );
    world.pass(HOUR);
    assert_eq!((buildsets(&world), kept(&world).len()), (0, 1));
    let bot = model::Change { author: "bot".to_owned(), ..changed("main", "r1") };
    world.change(bot).expect("+ change 1\n+ change 1 for scheduler 2\nChange(ChangeId(1))");
    world.change(changed("dev", "r2")).expect("+ change 2\nChange(ChangeId(2))");
    world.pass(HOUR);
    assert_eq!(buildsets(&world), 0);
    world.change(changed("main", "r3")).pass(HOUR);
    let all = super::text(&world.batch);
    assert!(all.contains("+ scheduler 2 has done These([ChangeId(1), ChangeId(3)])"), "{all}");
    world.connect(1, "w1").finish(1, Results::Success);
    assert_eq!(last_order(&world.batch).sourcestamps[0].revision.as_deref(), Some("r3"));
    // At six it builds in any case: 17:46 now.
    world.pass(12 * HOUR);
    assert_eq!(buildsets(&world), 0);
    world.pass(HOUR);
    assert_eq!(buildsets(&world), 1);
}

#[test]
fn changes_outlive_a_restart_and_are_dropped_when_nobody_wants_them() {
    let pending = PendingChange {
        scheduler: SchedulerId(7),
        id: ChangeId(3),
        change: changed("main", "r3"),
        important: true,
    };
    let last = [("last_build", Json::from(999_000)), ("last_only_if_changed", true.into())];
    let of = |text: &str| {
        let restored = Restored { pending_changes: vec![pending.clone()], ..restored("Nightly", &last) };
        World::restored(&with(text), restored, BTreeMap::new())
    };
    let mut world = of("type = \"Nightly\"\ntimezone = \"UTC\"\nonlyIfChanged = true");
    world.pass(HOUR);
    assert!(super::text(&world.batch).contains("+ scheduler 7 has done These([ChangeId(3)])"));
    let world = of("type = \"Nightly\"\ntimezone = \"UTC\"");
    assert!(super::text(&world.batch).contains("+ scheduler 7 has done These([ChangeId(3)])"));
    assert_eq!(buildsets(&world), 0);
}

#[test]
fn a_nightly_triggerable_builds_what_it_was_triggered_with_last() {
    let text = with("type = \"NightlyTriggerable\"\nhour = \"*\"\ntimezone = \"UTC\"");
    let mut world = World::new(&text);
    world.pass(HOUR);
    assert_eq!(buildsets(&world), 0);
    world.connect(1, "w1").force(&["b1"], 0);
    let mut properties = model::Properties::new();
    properties.set("p", 1, "Trigger");
    let asked = StampAsked { revision: Some(Some("abc".to_owned())), ..StampAsked::default() };
    let trigger = Trigger {
        build: BuildId(1),
        schedulers: vec!["s".to_owned()],
        sourcestamps: vec![asked],
        properties,
        waits: true,
        relationship: "Triggered from".to_owned(),
    };
    world.event(Event::Trigger { trigger: Box::new(trigger), reply: ReplyId(3) });
    let state = "lastTrigger [[{\"codebase\":\"\",\"revision\":\"abc\"}],{\"p\":[1,\"Trigger\"]},1,\"Triggered from\"]";
    assert_eq!(kept(&world), [state]);
    let all = super::text(&world.batch);
    assert!(
        all.ends_with("Triggered([TriggeredScheduler { scheduler: \"s\", requests: [] }])\nDone"),
        "{all}"
    );

    let value = serde_json::from_str(state.strip_prefix("lastTrigger ").unwrap()).unwrap();
    let last = [("last_build", Json::from(999_000)), ("lastTrigger", value)];
    let mut world = World::restored(&text, restored("NightlyTriggerable", &last), BTreeMap::new());
    world.connect(1, "w1").pass(HOUR);
    let order = last_order(&world.batch);
    assert_eq!(order.sourcestamps[0].revision.as_deref(), Some("abc"));
    assert_eq!(order.properties.property("p").map(|it| it.source.as_str()), Some("Trigger"));
    assert!(kept(&world).contains(&"lastTrigger null".to_owned()));
    world.pass(HOUR);
    assert_eq!(buildsets(&world), 0);
}

#[test]
fn another_time_is_kept_from_a_reload_on() {
    let mut world = World::new(&with("type = \"Nightly\"\nhour = 3\ntimezone = \"UTC\""));
    world.reload(&with("type = \"Nightly\"\nhour = 14\ntimezone = \"UTC\"")).pass(HOUR);
    assert_eq!(buildsets(&world), 1);
    world.reload(&with("type = \"AnyBranchScheduler\"")).pass(48 * HOUR);
    assert_eq!(buildsets(&world), 0);
}
