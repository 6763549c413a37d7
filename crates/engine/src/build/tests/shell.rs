//! Steps that run commands: what goes to the worker, and what users find.

use model::Results::{Cancelled, Exception, Failure, Skipped, Success, Warnings};
use worker_protocol::Update;

use super::{Act, Bench, Player};
use crate::Notice;

/// Runs steps whose commands end with these exit statuses.
async fn statuses(steps: &str, rcs: &[i64]) -> (super::Ran, Vec<String>) {
    let player = Player::of(rcs.iter().map(|rc| Act::end(*rc).into()).collect());
    let ran = Bench::new(steps).await.run(&player).await;
    (ran, player.seen())
}

#[tokio::test]
async fn a_build_is_its_steps() {
    let (ran, seen) = statuses(
        r#"
        [[builder.step]]
        type = "ShellCommand"
        command = ["echo", "hi"]
        [[builder.step]]
        type = "ShellCommand"
        command = "make   check all"
        [[builder.step]]
        type = "ShellCommand"
        command = "exit 1"
        description = ["doing", "it"]
        flunkOnFailure = false
        warnOnFailure = true
        [[builder.step]]
        type = "ShellCommand"
        command = "true"
        description = "doing"
        descriptionDone = "done"
        descriptionSuffix = ["suf", "fix"]
        "#,
        &[0, 3, 1, 0],
    )
    .await;
    assert_eq!(
        ran.said(),
        [
            ("shell", Success, "'echo hi'"),
            ("shell_1", Failure, "'make check ...' (failure)"),
            ("shell_2", Failure, "'exit 1' (failure)"),
            ("shell_3", Success, "done suf fix"),
        ]
    );
    assert_eq!(seen[0], "shell echo hi env=BENV=1,X=b");
    assert_eq!(ran.steps[0].row.name, "worker_preparation");
    assert_eq!(ran.steps[0].row.state_string, "worker w ready");
    assert_eq!(ran.outcome.results, Failure);
    assert_eq!(ran.outcome.state_string, "failed 'make check ...' (failure) 'exit 1' (failure)");
    assert_eq!(
        ran.step("shell_1").logs,
        [("stdio".to_owned(), "s", "hprogram finished with exit code 3\n".to_owned())]
    );
    assert_eq!(ran.properties.get("builddir"), Some(&"/w/b".into()));
    assert_eq!(ran.properties.property("basedir").unwrap().source, "Worker");
}

#[tokio::test]
async fn a_failure_that_halts_leaves_only_what_always_runs() {
    let (ran, seen) = statuses(
        r#"
        [[builder.step]]
        type = "Configure"
        [[builder.step]]
        type = "ShellCommand"
        command = "echo no"
        [[builder.step]]
        type = "ShellCommand"
        command = "echo always"
        alwaysRun = true
        "#,
        &[1, 0],
    )
    .await;
    assert_eq!(
        ran.said(),
        [("configure", Failure, "configure (failure)"), ("shell", Success, "'echo always'")]
    );
    assert_eq!(seen.len(), 2);
    assert_eq!(ran.outcome.state_string, "failed configure (failure)");
}

#[tokio::test]
async fn a_step_is_skipped_or_hidden_when_it_says_so() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "ShellCommand"
        command = "true"
        doStepIf = { property = "wanted" }
        [[builder.step]]
        type = "ShellCommand"
        command = "true"
        name = "hidden"
        hideStepIf = true
        "#,
    );
    let player = Player::of(vec![]);
    let ran = bench.await.property("wanted", "").run(&player).await;
    assert_eq!(ran.said(), [("shell", Skipped, "'true' (skipped)"), ("hidden", Success, "'true'")]);
    assert!(ran.step("hidden").row.hidden && !ran.step("shell").row.hidden);
    assert!(ran.step("shell").logs.is_empty());
    assert_eq!(player.seen().len(), 1);
    assert_eq!(ran.outcome.state_string, "build successful");
}

#[tokio::test]
async fn every_argument_reaches_the_worker() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "ShellCommand"
        command = ["echo", { property = "words" }, "%(src::branch:~none)s"]
        workdir = "/tmp/%(worker:host)s"
        env = { X = "1", L = ["a", "b"] }
        timeout = 5
        maxTime = 6
        max_lines = 7
        usePTY = true
        logEnviron = false
        initialStdin = "in"
        logfiles = { one = "f1", two = { filename = "f2", follow = true } }
        lazylogfiles = true
        decodeRC = { 0 = "WARNINGS", 1 = "SUCCESS" }
        "#,
    );
    let log = |name: &str, text: &str| Act::update(Update::Log { name: name.into(), text: text.into() });
    let [rc, end] = Act::end(0);
    let player = Player::of(vec![vec![log("two", "b"), log("unasked", "x"), rc, end]]);
    let ran = bench.await.property("words", serde_json::json!(["a", ["b"]])).run(&player).await;
    assert_eq!(
        player.seen(),
        ["shell echo a b none workdir=/tmp/box env=BENV=1,X=1,L=a:b timeout=5 maxTime=6 max_lines=7 \
          logEnviron=false <<\"in\" log:one=f1 log:two=f2+ usePTY=true"]
    );
    assert_eq!(ran.said(), [("shell", Warnings, "'echo a ...' (warnings)")]);
    // A log that stays empty is not made; one that is not asked for is not taken.
    let logs: Vec<_> =
        ran.step("shell").logs.iter().map(|(name, _, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(logs, [("stdio", "hprogram finished with exit code 0\n"), ("two", "ob\n")]);
}

#[tokio::test]
async fn a_command_that_was_killed_says_why() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "ShellCommand"
        command = "sleep 30"
        [[builder.step]]
        type = "ShellCommand"
        command = "yes"
        descriptionDone = "said yes"
        "#,
    );
    let killed = |reason: &str| {
        let [rc, end] = Act::end(-1);
        vec![Act::update(Update::FailureReason(reason.into())), rc, end]
    };
    let player = Player::of(vec![killed("timeout_without_output"), killed("max_lines_failure")]);
    let ran = bench.await.run(&player).await;
    assert_eq!(
        ran.said(),
        [
            ("shell", Failure, "'sleep 30' (failure) (timed out)"),
            ("shell_1", Failure, "said yes (failure) (max lines reached)"),
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_rendered_or_run_is_an_exception_with_its_text() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "ShellCommand"
        command = { property = "unset" }
        [[builder.step]]
        type = "ShellCommand"
        command = "echo always"
        alwaysRun = true
        "#,
    );
    let failure = perspective_broker::Failure::new("exceptions.KeyError", "boom");
    let player = Player::of(vec![vec![Act::Tell(crate::build::Report::Complete(Some(failure)))]]);
    let ran = bench.await.run(&player).await;
    assert_eq!(
        ran.said(),
        [("shell", Exception, "finished (exception)"), ("shell_1", Exception, "'echo always' (exception)")]
    );
    let text = ran.step("shell").log("err.text");
    assert_eq!(text, "argument `command` of step \"shell\" has no value\n");
    let text = ran.step("shell_1").log("err.text");
    assert!(text.contains("had trouble with the command \"shell\": exceptions.KeyError: boom"), "{text}");
    assert_eq!(ran.outcome.results, Exception);
}

#[tokio::test]
async fn properties_are_set_and_seen_by_later_steps() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "SetProperty"
        property = "p"
        value = "%(prop:buildername)s-x"
        [[builder.step]]
        type = "SetProperties"
        properties = { a = 1, b = [1, 2] }
        [[builder.step]]
        type = "SetPropertyFromCommand"
        command = "version"
        property = "q"
        [[builder.step]]
        type = "SetPropertyFromCommand"
        command = "version"
        extract = [{ property = "major", pattern = '^v(\d+)' }, { property = "minor", pattern = '\.\d' }]
        [[builder.step]]
        type = "SetPropertyFromCommand"
        command = "exit 2"
        property = "s"
        [[builder.step]]
        type = "ShellCommand"
        command = "%(prop:p)s %(prop:q)s %(prop:major)s %(prop:b)s"
        "#,
    );
    let says = |text: &str| {
        let [rc, end] = Act::end(0);
        vec![Act::out(text), rc, end]
    };
    let player = Player::of(vec![says(" out\n put\n"), says("x\nv12.3"), Act::end(2).into()]);
    let ran = bench.await.run(&player).await;
    assert_eq!(
        ran.said(),
        [
            ("SetProperty", Success, "Set"),
            ("SetProperties", Success, "Properties Set"),
            ("setproperty", Success, "property 'q' set"),
            ("setproperty_1", Success, "2 properties set"),
            ("setproperty_2", Failure, "'exit 2' (failure)"),
            ("shell", Success, "'b-x out ...'"),
        ]
    );
    assert_eq!(ran.step("setproperty").log("property changes"), "q: 'out\\n put'\n");
    assert_eq!(ran.step("setproperty_1").log("property changes"), "major: '12'\nminor: '.3'\n");
    assert_eq!(player.seen()[3], "shell b-x out\n put 12 [1, 2] env=BENV=1,X=b");
    let source = |name: &str| ran.properties.property(name).unwrap().source.clone();
    assert_eq!(source("p"), "SetProperty");
    assert_eq!(source("q"), "SetPropertyFromCommand Step");
    assert!(ran.properties.get("s").is_none());
    let told = |name: &str| {
        ran.notices
            .iter()
            .any(|notice| matches!(notice, Notice::BuildProperty { name: told, .. } if told == name))
    };
    assert!(told("q") && told("a"));
}

#[tokio::test]
async fn a_sequence_stops_where_it_halts() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "ShellSequence"
        commands = [
            { command = ["echo", "1"], logname = "l1" },
            { command = "exit 2", logname = "l2", flunkOnFailure = false, warnOnFailure = true },
            { command = "echo x", logname = "l1" },
            { command = "%(prop:unset)s" },
            { command = "exit 1", haltOnFailure = true },
            { command = "echo never" },
        ]
        "#,
    );
    let player = Player::of([0, 2, 0, 1].map(|rc| Act::end(rc).into()).into());
    let ran = bench.await.run(&player).await;
    assert_eq!(ran.said(), [("generic", Failure, "'exit 1' (failure)")]);
    assert_eq!(player.seen().len(), 4);
    let logs: Vec<_> = ran.step("generic").logs.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(logs, ["l1", "l2", "stdio"]);
    assert_eq!(ran.step("generic").log("l1").lines().count(), 2);
}

#[tokio::test]
async fn warnings_are_counted() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "Compile"
        suppressionList = [{ text = "harmless" }]
        [[builder.step]]
        type = "Test"
        [[builder.step]]
        type = "Compile"
        warningPattern = '(.+):(\d+): warning: (.*)'
        warningExtractor = "warnExtractFromRegexpGroups"
        suppressionFile = "hush"
        maxWarnCount = 0
        "#,
    );
    let [rc, end] = Act::end(0);
    let first = vec![
        Act::header("make all\n"),
        Act::out("x: warn"),
        Act::out("ing: y\na\nharmless warning: z\n"),
        Act::err("Warning z"),
        rc,
        end,
    ];
    let [rc, end] = Act::end(0);
    let file = vec![
        Act::Tell(crate::build::Report::Write("# remark\nsub/b.c : unused : 1-9\n".into())),
        Act::Tell(crate::build::Report::CloseWrite),
        rc,
        end,
    ];
    let [rc, end] = Act::end(0);
    let third = vec![
        Act::out("make: Entering directory 'sub'\nb.c:3: warning: unused x\nb.c:30: warning: unused y\n"),
        Act::out("make: Leaving directory 'sub'\nb.c:3: warning: unused z\n"),
        rc,
        end,
    ];
    let player = Player::of(vec![first, Act::end(1).into(), file, third]);
    let ran = bench.await.run(&player).await;
    assert_eq!(
        ran.said(),
        [
            ("compile", Warnings, "compile (warnings)"),
            ("test", Failure, "test (failure)"),
            ("compile_1", Failure, "compile (failure)"),
        ]
    );
    assert_eq!(ran.step("compile").log("warnings (2)"), "x: warning: y\nWarning z\n");
    let kept = ran.step("compile_1").log("warnings (2)");
    assert_eq!(kept, "b.c:30: warning: unused y\nb.c:3: warning: unused z\n");
    assert_eq!(ran.properties.get("warnings-count"), Some(&4.into()));
    assert_eq!(player.seen()[2], "uploadFile build hush blocksize=32768");
    assert_ne!(ran.outcome.results, Cancelled);
}

#[tokio::test]
async fn steps_on_the_workers_files() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "MakeDirectory"
        dir = "build/x"
        [[builder.step]]
        type = "CopyDirectory"
        src = "build/x"
        dest = "build/y"
        [[builder.step]]
        type = "FileExists"
        file = "build/f"
        haltOnFailure = false
        [[builder.step]]
        type = "FileExists"
        file = "build/f"
        haltOnFailure = false
        [[builder.step]]
        type = "FileExists"
        file = "build/f"
        haltOnFailure = false
        [[builder.step]]
        type = "RemoveDirectory"
        dir = "build/x"
        haltOnFailure = false
        [[builder.step]]
        type = "CopyDirectory"
        src = "build/none"
        dest = "build/y"
        timeout = 5
        maxTime = 9
        "#,
    );
    let stat = |mode| {
        let [rc, end] = Act::end(0);
        let stat = worker_protocol::FileStat { mode, ..Default::default() };
        vec![Act::update(Update::Stat(stat)), rc, end]
    };
    let player = Player::of(vec![
        Act::end(0).into(),
        Act::end(0).into(),
        stat(0o100_644),
        stat(0o040_755),
        Act::end(2).into(),
        Act::end(1).into(),
        Act::end(1).into(),
    ]);
    let ran = bench.await.run(&player).await;
    assert_eq!(
        ran.said(),
        [
            ("MakeDirectory", Success, "Created"),
            ("CopyDirectory", Success, "Copied build/x to build/y"),
            ("FileExists", Success, "File found."),
            ("FileExists_1", Failure, "Not a file. (failure)"),
            ("FileExists_2", Failure, "File not found. (failure)"),
            ("RemoveDirectory", Failure, "Delete failed. (failure)"),
            ("CopyDirectory_1", Failure, "Copying build/none to build/y failed. (failure)"),
        ]
    );
    assert_eq!(
        player.seen(),
        [
            "mkdir build/x",
            "cpdir build/x build/y timeout=120 logEnviron=false",
            "stat build/f",
            "stat build/f",
            "stat build/f",
            "rmdir build/x logEnviron=false",
            "cpdir build/none build/y timeout=5 maxTime=9 logEnviron=false",
        ]
    );
}
