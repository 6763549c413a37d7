//! Steps that wait for locks, and what they and their builds write down about it.

use model::{
    BuildId,
    Results::{Cancelled, Retry, Skipped, Success},
};
use tokio::sync::mpsc;

use super::{Act, Bench, Line, NOW, Player, Ran};
use crate::{BuildControl, BuildWish, Notice, notice::Heard};

const LOCKS: &str = r#"
    locks = ["db"]
    [[builder.step]]
    type = "ShellCommand"
    command = "echo one"
    locks = ["net"]
    [[builder.step]]
    type = "ShellCommand"
    command = "echo two"
    locks = ["net"]
    doStepIf = false
    [[builder.step]]
    type = "ShellCommand"
    command = "echo always"
    alwaysRun = true
    [[lock]]
    type = "MasterLock"
    name = "db"
    [[lock]]
    type = "WorkerLock"
    name = "net"
"#;

/// Runs the build; the step that asks for locks has to wait, until it is told this.
async fn told(control: BuildControl, commands: usize) -> (Ran, Vec<BuildWish>) {
    let (tell, told) = mpsc::channel(8);
    let (wishes, mut wished) = mpsc::channel(8);
    let bench = Bench::new(LOCKS).await;
    let player = Player::of((0..commands).map(|_| Vec::from(Act::end(0))).collect());
    let mut heard = bench.notices.subscribe();
    let mut all = Vec::new();
    let answer = async {
        let (build, wish) = wished.recv().await.unwrap();
        assert_eq!(build, BuildId(1));
        let BuildWish::TakeLocks { step, locks } = &wish else { panic!("{wish:?}") };
        assert_eq!((locks.len(), &*locks[0].lock), (1, "net"));
        let step = *step;
        all.push(wish);
        // What was meant for somebody else changes nothing.
        tell.send(BuildControl::Locks { step: model::StepId(99), wait: None }).await.unwrap();
        tell.send(BuildControl::Locks { step, wait: Some("waiting for lock net".into()) }).await.unwrap();
        loop {
            let Heard::Notice(notice) = heard.next().await else { panic!("nothing more is said") };
            if matches!(&*notice, Notice::StepState { state_string, .. } if state_string == "waiting for lock net")
            {
                break;
            }
        }
        let control = match control {
            BuildControl::Locks { wait, .. } => BuildControl::Locks { step, wait },
            stop => stop,
        };
        tell.send(control).await.unwrap();
        while let Some((_, wish)) = wished.recv().await {
            all.push(wish);
        }
    };
    let (triggers, _untold) = mpsc::channel(1);
    let line = Line { control: told, triggers, wishes };
    let (ran, ()) = tokio::join!(bench.run_on(&player, line), answer);
    (ran, all)
}

#[tokio::test]
async fn a_step_runs_when_it_has_its_locks_and_gives_them_back() {
    let granted = BuildControl::Locks { step: model::StepId(0), wait: None };
    let (ran, wishes) = told(granted, 2).await;
    assert_eq!(
        ran.said(),
        [
            ("locks_acquire", Success, "locks acquired"),
            ("shell", Success, "'echo one'"),
            ("shell_1", Skipped, "'echo two' (skipped)"),
            ("shell_2", Success, "'echo always'"),
        ]
    );
    let locks: Vec<_> = ran.steps.iter().map(|step| step.row.locks_acquired_at).collect();
    assert_eq!(locks, [Some(NOW), Some(NOW), Some(NOW), None, Some(NOW)]);
    let [BuildWish::TakeLocks { step, .. }, BuildWish::ReturnLocks { step: returned }] = &wishes[..] else {
        panic!("{wishes:?}")
    };
    assert_eq!(step, returned);
}

#[tokio::test]
async fn a_step_that_is_stopped_while_it_waits_says_so() {
    let stop = BuildControl::Stop { reason: "because".into(), results: Cancelled };
    let (ran, wishes) = told(stop, 1).await;
    assert_eq!(ran.outcome.results, Cancelled);
    let step = ran.step("shell");
    assert_eq!((step.row.results, step.row.locks_acquired_at), (Some(Cancelled), None));
    assert_eq!(step.log("cancelled while waiting for locks"), "because\n");
    assert!(ran.steps.iter().any(|step| step.row.name == "shell_1" && step.row.results == Some(Success)));
    assert!(matches!(wishes[..], [_, BuildWish::ReturnLocks { .. }]), "{wishes:?}");
}

#[tokio::test]
async fn a_build_whose_worker_goes_while_a_step_waits_is_done_again() {
    let stop = BuildControl::Stop { reason: "worker w was lost".into(), results: Retry };
    let (ran, wishes) = told(stop, 0).await;
    assert_eq!((ran.outcome.results, ran.step("shell").row.results), (Retry, Some(Retry)));
    assert!(matches!(wishes[..], [_, BuildWish::ReturnLocks { .. }]), "{wishes:?}");
}
