//! The builds that run, as tasks.

use std::{collections::BTreeMap, sync::Arc};

use model::{BuildId, Results, StepId};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, error, info_span};

use super::ports::Runner;
use crate::{
    BuildControl, BuildOrder, BuildWish, Outcome,
    build::{Line, TriggerCall},
};

/// A build is told to stop at most twice: once because its worker is lost, once because somebody wants it. It is told
/// twice about locks that it asked for, and listens before it asks again.
const CONTROLS: usize = 8;

/// What comes from builds.
pub(super) enum Told {
    /// It has ended.
    Ended(BuildId, Outcome),
    /// It asks for something.
    Wish(BuildId, BuildWish),
}

/// Tasks of builds, and the way to them.
pub(super) struct Builds {
    runner: Arc<dyn Runner>,
    tasks: TaskTracker,
    controls: BTreeMap<BuildId, mpsc::Sender<BuildControl>>,
    ended: mpsc::Sender<(BuildId, Outcome)>,
    outcomes: mpsc::Receiver<(BuildId, Outcome)>,
    triggers: mpsc::Sender<TriggerCall>,
    wish: mpsc::Sender<(BuildId, BuildWish)>,
    wishes: mpsc::Receiver<(BuildId, BuildWish)>,
    abandon: CancellationToken,
}

impl Builds {
    /// What builds trigger goes into `triggers`.
    pub(super) fn new(
        runner: Arc<dyn Runner>,
        tasks: TaskTracker,
        triggers: mpsc::Sender<TriggerCall>,
    ) -> Self {
        let (ended, outcomes) = mpsc::channel(256);
        let (wish, wishes) = mpsc::channel(256);
        let (controls, abandon) = (BTreeMap::new(), CancellationToken::new());
        Self { runner, tasks, controls, ended, outcomes, triggers, wish, wishes, abandon }
    }

    pub(super) fn start(&mut self, order: Box<BuildOrder>) {
        let (control, controlled) = mpsc::channel(CONTROLS);
        let build = order.build;
        let span = info_span!("build", build.id = build.0, builder.name = %order.builder.name, build.number = order.number.0);
        self.controls.insert(build, control);
        let (triggers, wishes) = (self.triggers.clone(), self.wish.clone());
        let line = Line { control: controlled, triggers, wishes };
        let run = self.runner.run(order, line).instrument(span.clone());
        // A task of its own, so that a panic ends this build and nothing else.
        let run = self.tasks.spawn(self.abandon.clone().run_until_cancelled_owned(run));
        let ended = self.ended.clone();
        self.tasks.spawn(
            async move {
                let outcome = match run.await {
                    Ok(Some(outcome)) => outcome,
                    Ok(None) => return,
                    Err(panic) => {
                        error!(error = &panic as &dyn std::error::Error, "a build failed inside the master");
                        let state_string = "internal error of the master".to_owned();
                        Outcome { results: Results::Exception, state_string }
                    }
                };
                // The owner is gone when nobody listens: the tables are cleaned up at the next start.
                ended.send((build, outcome)).await.ok();
            }
            .instrument(span),
        );
    }

    pub(super) fn interrupt(&mut self, build: BuildId, reason: String, results: Results) {
        if let Some(control) = self.controls.get(&build) {
            // Full or closed: it was told before, or has ended.
            control.try_send(BuildControl::Stop { reason, results }).ok();
        }
    }

    /// Tells a step about its locks.
    pub(super) fn locks(&mut self, build: BuildId, step: StepId, wait: Option<String>) {
        if let Some(control) = self.controls.get(&build)
            && let Err(mpsc::error::TrySendError::Full(_)) =
                control.try_send(BuildControl::Locks { step, wait })
        {
            error!(build = build.0, "a build does not listen, and was not told about its locks");
        }
    }

    /// Waits for the next build that ends or asks for something; for ever while none does.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            Some((build, outcome)) = self.outcomes.recv() => {
                self.controls.remove(&build);
                Told::Ended(build, outcome)
            }
            Some((build, wish)) = self.wishes.recv() => Told::Wish(build, wish),
            // Not while the other ends are held here.
            else => std::future::pending().await,
        }
    }

    /// Drops whatever still runs.
    pub(super) fn abandon(&mut self) {
        self.abandon.cancel();
        self.controls.clear();
    }
}
