//! Locks of a step: it asks the master for them, and waits.
//!
//! What is written about it is what Buildbot 4.3.0 writes (`buildbot/process/buildstep.py`); that it waits, and for what,
//! Buildbot does not say.

use storage::Write;

use super::{halt::Halt, step::Step};
use crate::{BuildControl, BuildWish, Notice};

impl Step {
    /// Waits until the step has all its locks; then its row says so.
    pub(crate) async fn take_locks(&mut self) -> Result<(), Halt> {
        let wish = BuildWish::TakeLocks { step: self.id, locks: self.config.locks.clone() };
        self.build.wish(wish).await;
        let mut waited = false;
        loop {
            match self.build.control().await {
                Some(BuildControl::Locks { step, wait: None }) if step == self.id => break,
                Some(BuildControl::Locks { step, wait: Some(why) }) if step == self.id => {
                    waited = true;
                    self.say_that(why).await?;
                    self.build.journal.commit(Vec::new()).await?;
                }
                Some(BuildControl::Locks { .. }) => {}
                Some(BuildControl::Stop { reason, results }) => {
                    self.build.stopped = Some((reason.clone(), results));
                    self.stopped = true;
                    self.text_log("cancelled while waiting for locks", &reason).await?;
                    return Err(Halt::Stopped);
                }
                None => {
                    return Err(Halt::Broken("nobody gives locks: the master is about to end".to_owned()));
                }
            }
        }
        let at = self.build.journal.now();
        self.build.journal.submit(vec![Write::StepLocksAcquired { step: self.id, at }]).await?;
        if waited { self.say().await } else { Ok(()) }
    }

    /// The step is done with its locks, whether it got them or not.
    pub(crate) async fn return_locks(&self) {
        self.build.wish(BuildWish::ReturnLocks { step: self.id }).await;
    }

    async fn say_that(&mut self, state_string: String) -> Result<(), Halt> {
        let (step, build) = (self.id, self.build.order.build);
        let write = Write::StepState { step, state_string: state_string.clone() };
        self.build.journal.submit(vec![write]).await?;
        self.build.journal.hold(Notice::StepState { step, build, state_string });
        Ok(())
    }
}
