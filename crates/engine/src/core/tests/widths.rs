//! What is longer than Buildbot's columns.

use model::{Change, Properties};
use storage::Write;

use super::{Event, Force, ReplyId, World, farm, text};

fn world() -> World {
    World::new(&farm(
        &[("w1", 1)],
        &[("b1", &["w1"])],
        "[[scheduler]]\nname = \"s\"\ntype = \"AnyBranchScheduler\"\nbuilderNames = [\"b1\"]\n",
    ))
}

fn asked(force: Force) -> World {
    let mut world = world();
    let force = Force { scheduler: "force".to_owned(), owner: "me".to_owned(), ..force };
    world.event(Event::Force { force: Box::new(force), reply: ReplyId(0) });
    world
}

#[test]
fn who_forces_a_build_is_told_what_is_too_long() {
    let mut world = asked(Force {
        branch: Some("b".repeat(257)),
        repository: Some("r".repeat(513)),
        priority: Some(1 << 40),
        ..Force::default()
    });
    world.expect(
        "refused: priority:1099511627776 is too large
         branch:has more than 256 characters
         repository:has more than 512 characters",
    );
}

#[test]
fn a_long_reason_is_cut() {
    let mut properties = Properties::new();
    properties.set("x".repeat(300), "y", "test");
    let world = asked(Force { reason: Some("é".repeat(400)), properties, ..Force::default() });
    let said = text(&world.batch);
    let Some(Write::Buildset { reason, properties, .. }) =
        world.batch.writes.iter().find(|write| matches!(write, Write::Buildset { .. }))
    else {
        panic!("nothing was asked for: {said}");
    };
    assert_eq!(reason.chars().count(), 256);
    assert!(properties.iter().all(|(name, _)| name.len() < 257), "{properties:?}");
    assert!(properties.get("reason").is_some_and(|reason| reason.as_str().unwrap().chars().count() == 400));
}

#[test]
fn a_change_is_recorded_without_what_is_too_long() {
    let mut world = world();
    let change = Change {
        author: "a".repeat(300),
        branch: Some("main".to_owned()),
        files: vec!["f".repeat(2000), "short".to_owned()],
        ..Change::default()
    };
    world.change(change);
    let Some(Write::Change { change, .. }) = world.batch.writes.first() else { panic!("no change") };
    assert_eq!((change.author.len(), change.files[0].len(), &*change.files[1]), (255, 1024, "short"));
}
