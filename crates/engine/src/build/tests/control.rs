//! Builds that are stopped, and builds whose worker goes away.

use std::sync::Arc;

use model::{
    Results::{self, Cancelled, Retry, Success},
    SourceStamp,
};
use tokio::sync::mpsc;

use super::{Act, Bench, Player, Ran};
use crate::{BuildControl, build::Report};

const STEPS: &str = r#"
    [[builder.step]]
    type = "ShellCommand"
    command = "sleep 60"
    [[builder.step]]
    type = "ShellCommand"
    command = "echo no"
    [[builder.step]]
    type = "ShellCommand"
    command = "echo always"
    alwaysRun = true
"#;

/// Stops a build while its first command runs.
async fn stopped(results: Results, first: Vec<Act>) -> (Ran, Arc<Player>) {
    let (stop, control) = mpsc::channel(1);
    let player = Player::of(vec![first]);
    let bench = Bench::new(STEPS).await;
    let reason = "because".to_owned();
    let (ran, ()) = tokio::join!(bench.run_with(&player, control), async {
        player.started().await;
        stop.send(BuildControl::Stop { reason, results }).await.unwrap();
    });
    (ran, player)
}

fn killed() -> Vec<Act> {
    let [rc, end] = Act::end(-1);
    vec![Act::out("started\n"), Act::UntilInterrupted, rc, end]
}

#[tokio::test]
async fn a_stopped_build_is_cancelled_and_still_does_what_always_runs() {
    let (ran, player) = stopped(Cancelled, killed()).await;
    assert_eq!(
        ran.said(),
        [("shell", Cancelled, "'sleep 60' (cancelled)"), ("shell_1", Success, "'echo always'")]
    );
    assert_eq!(ran.outcome.results, Cancelled);
    assert_eq!(ran.outcome.state_string, "cancelled (because) 'sleep 60' (cancelled)");
    assert_eq!(ran.step("shell").log("cancelled"), "because\n");
    assert_eq!(ran.step("shell").log("stdio"), "ostarted\nhprogram finished with exit code -1\n");
    assert_eq!(player.interrupts(), ["because"]);
    assert_eq!(player.seen().len(), 2);
}

#[tokio::test]
async fn a_build_that_is_to_be_done_again_ends_at_once() {
    let (ran, player) = stopped(Retry, killed()).await;
    assert_eq!(ran.said(), [("shell", Retry, "'sleep 60' (retry)")]);
    assert_eq!(ran.outcome.results, Retry);
    assert_eq!(player.seen().len(), 1);
}

#[tokio::test]
async fn a_lost_worker_leaves_everything_closed_and_the_build_is_retried() {
    let player =
        Player::of(vec![vec![Act::out("half a li"), Act::Tell(Report::Lost("connection reset".into()))]]);
    let ran = Bench::new(STEPS).await.run(&player).await;
    assert_eq!(ran.said(), [("shell", Retry, "'sleep 60' (retry)")]);
    assert_eq!(ran.outcome.results, Retry);
    assert_eq!(ran.outcome.state_string, "retry lost connection 'sleep 60' (retry)");
    assert_eq!(ran.step("shell").log("stdio"), "ohalf a li\n");
    assert_eq!(ran.step("shell").log("cancelled"), "worker is lost: connection reset\n");
}

#[tokio::test]
async fn a_worker_that_is_lost_while_a_build_is_stopped() {
    let (ran, _) = stopped(Retry, vec![Act::UntilInterrupted, Act::Tell(Report::Lost("gone".into()))]).await;
    assert_eq!((ran.outcome.results, ran.said().len()), (Retry, 1));
    assert_eq!(ran.outcome.state_string, "retry lost connection 'sleep 60' (retry)");
    // Nobody wants it done again.
    let (ran, _) =
        stopped(Cancelled, vec![Act::UntilInterrupted, Act::Tell(Report::Lost("gone".into()))]).await;
    assert_eq!((ran.outcome.results, ran.said().len()), (Cancelled, 1));
}

#[tokio::test]
async fn a_worker_that_does_not_answer_gets_no_command() {
    let player = Player::of(vec![]);
    player.lose("no answer to ping");
    let ran = Bench::new(STEPS).await.run(&player).await;
    assert_eq!(ran.outcome.results, Retry);
    assert_eq!(ran.outcome.state_string, "worker not pinged");
    assert_eq!(ran.steps[0].row.state_string, "error while worker_ping");
    assert!(ran.steps[0].log("err.text").contains("no answer to ping"));
    assert!(player.seen().is_empty() && ran.steps.len() == 1);
}

#[tokio::test]
async fn a_build_that_is_stopped_before_its_first_command() {
    let (stop, control) = mpsc::channel(1);
    let stopped = BuildControl::Stop { reason: "early".into(), results: Cancelled };
    stop.send(stopped).await.unwrap();
    let player = Player::of(vec![]);
    let ran = Bench::new(STEPS).await.run_with(&player, control).await;
    assert_eq!(ran.said(), [("shell", Success, "'echo always'")]);
    assert_eq!(ran.outcome.state_string, "cancelled (early)");
    assert_eq!(ran.outcome.results, Cancelled);
}

#[tokio::test]
async fn expressions_see_the_build() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "ShellCommand"
        name = { expression = "build.builder ~ '-' ~ build.number" }
        command = [
            { expression = "prop.buildername" },
            { expression = "src.branch ~ src[''].revision" },
            { expression = "worker.name ~ worker.basedir" },
            { expression = "build.url" },
            { expression = "build.reason ~ build.files | length" },
            { expression = "results" },
        ]
        warnOnFailure = { expression = "true" }
        flunkOnFailure = { expression = "prop.strict" }
        [[builder.step]]
        type = "ShellCommand"
        name = "hidden"
        command = "x"
        doStepIf = { expression = "results == SUCCESS" }
        hideStepIf = { expression = "results == SKIPPED and build.results == WARNINGS" }
        [[builder.step]]
        type = "ShellCommand"
        name = "shown"
        command = "x"
        hideStepIf = { expression = "results == SKIPPED" }
        updateBuildSummaryPolicy = ["SUCCESS"]
        [[builder.step]]
        type = "ShellCommand"
        name = "impossible"
        command = "x"
        hideStepIf = { expression = "1 + 'a'" }
        haltOnFailure = true
        [[builder.step]]
        type = "ShellCommand"
        name = "after"
        command = "x"
        alwaysRun = { expression = "results == EXCEPTION" }
        [[builder.step]]
        type = "ShellCommand"
        name = "never"
        command = "x"
        alwaysRun = { expression = "results == SUCCESS" }
        "#,
    )
    .await;
    let bench = bench.stamp(SourceStamp {
        branch: Some("main".into()),
        revision: Some("abc".into()),
        ..SourceStamp::default()
    });
    let player = Player::of(vec![Act::end(1).into()]);
    let ran = bench.run(&player).await;
    assert!(
        player.seen()[0].contains("b mainabc w/w http://m/#/builders/1/builds/1 because0 0"),
        "{:?}",
        player.seen()
    );
    let said = ran.said();
    let results: Vec<_> = said.iter().map(|(name, results, _)| (*name, *results)).collect();
    assert_eq!(
        results,
        [
            ("b-1", Results::Failure),
            ("hidden", Results::Skipped),
            ("shown", Success),
            ("impossible", Results::Exception),
            ("after", Success),
        ]
    );
    assert!(ran.step("impossible").log("err.text").contains("`hideStepIf`"), "{ran:?}");
    let hidden: Vec<_> = ran.steps.iter().filter(|step| step.row.hidden).map(|step| &step.row.name).collect();
    assert_eq!(hidden, ["hidden"]);
    assert_eq!(ran.outcome.state_string, "exception 'b mainabc ...' (failure) 'x' 'x' (exception)");
}
