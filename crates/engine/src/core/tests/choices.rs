//! Which request is built next, where, and which are not built at all.

use model::{
    Change,
    Results::{self, Success},
    SourceStamp,
};

use super::{Event, Force, ReplyId, World};

/// Two workers, and a builder for each key that is tested.
fn world(master: &str, builder: &str) -> World {
    let mut text = format!("[master]\n{master}\n");
    for (worker, properties) in [("w1", "cores = 4"), ("w2", "cores = 16")] {
        text += &format!(
            "[[worker]]\nname = {worker:?}\npassword = \"x\"\nmax_builds = 1\nproperties = {{ {properties} }}\n"
        );
    }
    for name in ["a", "b"] {
        text += &format!("[[builder]]\nname = {name:?}\nworkers = [\"w1\", \"w2\"]\n{builder}\n");
    }
    text += "[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force\"\nbuilderNames = [\"a\", \"b\"]\n";
    for branch in ["main", "next"] {
        text += &format!(
            "[[scheduler]]\ntype = \"SingleBranchScheduler\"\nname = {branch:?}\nbranch = {branch:?}\n\
             builderNames = [\"a\", \"b\"]\n"
        );
    }
    World::new(&text)
}

impl World {
    fn push(&mut self, branch: &str, revision: &str) -> &mut Self {
        let (branch, revision) = (Some(branch.to_owned()), Some(revision.to_owned()));
        self.change(Change { branch, revision, ..Change::default() })
    }

    fn ask(&mut self, builder: &str, branch: &str, priority: i64) -> &mut Self {
        let force = Force {
            scheduler: "force".to_owned(),
            builder_names: vec![builder.to_owned()],
            branch: Some(branch.to_owned()),
            priority: Some(priority),
            ..Force::default()
        };
        self.event(Event::Force { force: Box::new(force), reply: ReplyId(0) })
    }

    fn waiting(&self) -> Vec<i64> {
        self.core.pending().iter().map(|pending| pending.request.0).collect()
    }

    /// Builder and worker of all that runs.
    fn runs(&self) -> Vec<String> {
        self.core.running().iter().map(|build| format!("{} on {}", build.builder, build.worker)).collect()
    }

    /// The requests of one builder as they are built, one after the other on `w1`.
    fn order_of(&mut self, requests: usize) -> Vec<i64> {
        self.connect(1, "w1");
        let mut order = Vec::new();
        for build in 1..=requests as i64 {
            order.push(super::last_order(&self.batch).requests[0].0);
            self.finish(build, Success);
        }
        order
    }
}

#[test]
fn a_newer_change_takes_the_place_of_older_ones_that_wait() {
    let mut world = world("", "");
    world.push("main", "1").push("next", "2");
    assert_eq!(world.waiting(), [1, 3, 2, 4]);
    world.push("main", "3").expect(
        "+ change 3
         + buildset 3
         + build request 5
         + build request 6
         + claim of build request 1
         + request 1: skipped
         + claim of build request 2
         + request 2: skipped
         + buildset 1: success
         Change(ChangeId(3))",
    );
    assert_eq!(world.waiting(), [3, 5, 4, 6]);
    // What runs is left alone.
    world.connect(1, "w1").connect(2, "w2").push("main", "4").push("main", "5");
    assert_eq!(world.waiting(), [9, 10]);
}

#[test]
fn what_differs_in_branch_revision_or_properties_of_schedulers_is_built_on_its_own() {
    let mut world = world("", "");
    world.ask("a", "main", 0).ask("a", "next", 0).ask("b", "main", 0);
    assert_eq!(world.waiting(), [1, 2, 3]);
    // Nobody knows a change of these: the same revision, that is none, is the same.
    world.ask("a", "main", 0);
    assert_eq!(world.waiting(), [2, 4, 3]);
    // With a change it is not what it is without.
    world.push("main", "1");
    assert_eq!(world.waiting(), [2, 4, 5, 3, 6]);
}

#[test]
fn collapsing_may_be_off_or_go_by_an_expression() {
    let mut off = world("collapseRequests = false", "");
    off.push("main", "1").push("main", "2");
    assert_eq!(off.waiting(), [1, 3, 2, 4]);
    let mut own = world("collapseRequests = false", "collapseRequests = true");
    own.push("main", "1").push("main", "2");
    assert_eq!(own.waiting(), [3, 4]);
    let expression = "{ expression = \"builder.name == 'a' and new.priority >= old.priority\" }";
    let mut by = world("", &format!("collapseRequests = {expression}"));
    by.ask("a", "x", 3).ask("a", "y", 2).ask("b", "x", 0).ask("b", "x", 0);
    assert_eq!(by.waiting(), [1, 2, 3, 4]);
    by.ask("a", "z", 2);
    assert_eq!(by.waiting(), [1, 5, 3, 4]);
    let mut compatible = world("", "collapseRequests = { expression = \"compatible and not old.reason\" }");
    compatible.push("main", "1").push("main", "2");
    assert_eq!(compatible.waiting(), [1, 3, 2, 4]);
}

#[test]
fn a_builder_says_which_of_its_requests_comes_next() {
    let order = |next_build: &str| {
        let mut world = world("collapseRequests = false", &format!("nextBuild = {next_build}"));
        world.ask("a", "x", 0).ask("a", "release/1", 1).ask("a", "x", 2).ask("a", "release/2", 0);
        world.order_of(4)
    };
    assert_eq!(order("\"priority\""), [3, 2, 1, 4]);
    assert_eq!(order("\"oldest\""), [1, 2, 3, 4]);
    assert_eq!(order("\"newest\""), [4, 3, 2, 1]);
    assert_eq!(order("{ expression = \"request.branch.startswith('release/')\" }"), [2, 4, 3, 1]);
    // What is no number comes last.
    assert_eq!(order("{ expression = \"5 if request.id == 4 else prop.nothing\" }"), [4, 3, 2, 1]);
}

#[test]
fn a_builder_says_which_of_its_workers_comes_next() {
    let first = |next_worker: &str| {
        let mut world = world("", next_worker);
        world.connect(2, "w2").connect(1, "w1").ask("a", "x", 0);
        world.runs()
    };
    assert_eq!(first("nextWorker = \"in-order\""), ["a on w1"]);
    assert_eq!(first("nextWorker = { expression = \"worker.prop.cores\" }"), ["a on w2"]);
    assert_eq!(first("nextWorker = { expression = \"-worker.prop.cores\" }"), ["a on w1"]);
}

#[test]
fn a_builder_says_who_may_build_what() {
    let expression = "worker.prop.cores >= 8 or request.branch == 'small'";
    let mut world = world("", &format!("canStartBuild = {{ expression = \"{expression}\" }}"));
    world.connect(1, "w1").ask("a", "large", 9);
    world.why(1, "builder a has no free worker: w1 is ruled out by `canStartBuild`, w2 is not connected");
    // The next one may.
    world.ask("a", "small", 0);
    assert_eq!(world.runs(), ["a on w1"]);
    world.ask("b", "small", 0).finish(1, Success).expect_actions("start 2: b #1 on w1 for [3]");
    world.connect(2, "w2");
    assert_eq!(world.runs(), ["b on w1", "a on w2"]);
}

#[test]
fn somebody_says_which_builders_come_first() {
    let order = |prioritize: &str| {
        let mut world = world(&format!("prioritizeBuilders = {prioritize}"), "");
        world.ask("b", "x", 0);
        world.pass(std::time::Duration::from_secs(5)).ask("a", "x", 1);
        world.order_of(2)
    };
    assert_eq!(order("\"priority\""), [2, 1]);
    assert_eq!(order("\"oldest\""), [1, 2]);
    assert_eq!(order("[\"b\"]"), [1, 2]);
    assert_eq!(order("[\"a\"]"), [2, 1]);
    assert_eq!(order("{ expression = \"-request.priority\" }"), [1, 2]);
    assert_eq!(order("{ expression = \"builder.name == 'b'\" }"), [1, 2]);
}

#[test]
fn a_reload_puts_what_waits_in_the_new_order() {
    let text = |next: &str| {
        format!(
            "[master]\ncollapseRequests = false\n[[worker]]\nname = \"w1\"\npassword = \"x\"\n[[builder]]\n\
             name = \"a\"\nworkers = [\"w1\"]\nnextBuild = {next}\n\
             [[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force\"\nbuilderNames = [\"a\"]\n"
        )
    };
    let mut world = World::new(&text("\"oldest\""));
    world.ask("a", "x", 0).ask("a", "y", 0).ask("a", "z", 0);
    world.reload(&text("{ expression = \"request.branch == 'y'\" }"));
    assert_eq!(world.order_of(3), [2, 1, 3]);
}

#[test]
fn patches_are_never_made_superfluous() {
    let stamp =
        |patched: bool| SourceStamp { patch: patched.then(model::Patch::default), ..SourceStamp::default() };
    let alike = |patched| super::super::facts::alike(&[stamp(patched)], &[], &model::Properties::new());
    assert!(alike(false).is_some() && alike(true).is_none());
}

#[test]
fn what_a_newer_change_makes_obsolete_is_cancelled_waiting_or_running() {
    let mut world = World::new(
        r#"
        [master]
        collapseRequests = false
        [[worker]]
        name = "w1"
        password = "x"
        [[builder]]
        name = "a"
        workers = ["w1"]
        [[builder]]
        name = "b"
        workers = ["w1"]
        [[scheduler]]
        type = "AnyBranchScheduler"
        name = "any"
        builderNames = ["a", "b"]
        [[scheduler]]
        type = "ForceScheduler"
        name = "force"
        builderNames = ["a"]
        [[old-build-canceller]]
        name = "old"
        filters = [{ builders = ["a"], filter = { branch_not_eq = "main" } }]
        "#,
    );
    world.connect(1, "w1").push("fix", "1").push("main", "2").push("refs/changes/34/1234/1", "3");
    assert_eq!(world.waiting(), [3, 5, 4, 6]);
    // The running build of `a`, and nothing of `b`.
    world.push("fix", "4");
    let text = super::text(&world.batch);
    assert!(
        text.contains("interrupt 1 (cancelled): Build request has been obsoleted by a newer commit"),
        "{text}"
    );
    assert_eq!(world.waiting(), [3, 5, 7, 4, 6, 8]);
    // Once more: that which waits. The first is told nothing twice.
    world.push("fix", "5");
    assert!(!super::text(&world.batch).contains("interrupt"));
    assert_eq!(world.waiting(), [3, 5, 9, 4, 6, 8, 10]);
    // `main` is not watched; a patch set makes the one before it obsolete.
    world.push("main", "6").push("refs/changes/34/1234/2", "7");
    assert_eq!(world.waiting(), [3, 9, 11, 13, 4, 6, 8, 10, 12, 14]);
    // Who asks without a change cancels only what came before the last one.
    world.ask("a", "fix", 0);
    assert_eq!(world.waiting(), [3, 9, 11, 13, 15, 4, 6, 8, 10, 12, 14]);
}

#[test]
fn a_failure_cancels_the_rest_of_its_buildset() {
    let mut text = "[master]\n[[worker]]\nname = \"w1\"\npassword = \"x\"\n".to_owned();
    for name in ["a", "b", "c"] {
        text += &format!("[[builder]]\nname = {name:?}\nworkers = [\"w1\"]\n");
    }
    text += "[[scheduler]]\ntype = \"AnyBranchScheduler\"\nname = \"any\"\nbuilderNames = [\"a\", \"b\", \"c\"]\n\
             [[failing-buildset-canceller]]\nname = \"failing\"\n\
             filters = [\n\
               { builders = [\"a\"], builders_to_cancel = [\"b\"], filter = { filter_fn = { expression = \"sourcestamp.branch == 'x'\" } } },\n\
               { builders = [\"b\"] },\n\
             ]\n";
    let mut world = World::new(&text);
    let cancelled = |world: &World, build: i64| {
        super::text(&world.batch).contains(&format!(
            "interrupt {build} (cancelled): Build has been cancelled because another build in the same buildset failed"
        ))
    };
    world.connect(1, "w1").push("x", "1").finish(1, Results::Failure);
    assert!(cancelled(&world, 2) && !cancelled(&world, 3), "{}", super::text(&world.batch));
    world.finish(2, Results::Cancelled).finish(3, Results::Failure);
    // Not of this branch; and only a failure counts.
    world.push("y", "2").finish(4, Results::Failure);
    assert!(!cancelled(&world, 5) && !cancelled(&world, 6));
    world.push("x", "3").finish(7, Results::Exception);
    assert!(!super::text(&world.batch).contains("interrupt"));
    // Of all others, where nothing is said; one that waits as well.
    world.finish(5, Results::Failure);
    assert!(cancelled(&world, 6));
}

#[test]
fn a_worker_that_somebody_chose_builds_it() {
    let chosen = "canStartBuild = { expression = \"not prop.workername or prop.workername == worker.name\" }";
    let mut world = world("", chosen);
    world.connect(1, "w1").connect(2, "w2");
    let ask = |world: &mut World, worker: &str| {
        let mut force =
            Force { scheduler: "force".to_owned(), builder_names: vec!["a".to_owned()], ..Force::default() };
        force.properties.set("workername", worker, "x");
        world.event(Event::Force { force: Box::new(force), reply: ReplyId(0) });
    };
    ask(&mut world, "w2");
    ask(&mut world, "w2");
    assert_eq!((world.runs(), world.waiting()), (vec!["a on w2".to_owned()], vec![2]));
    world.ask("a", "main", 0);
    assert_eq!((world.runs(), world.waiting()), (vec!["a on w2".to_owned(), "a on w1".to_owned()], vec![2]));
}
