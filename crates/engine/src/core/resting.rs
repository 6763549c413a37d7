//! Machines that want no builds for a while: they clean up.

use std::time::Duration;

use model::{InstanceId, Time, WorkerId};

use super::{Answer, Core, Deadline, Refusal, ReplyId};

/// The longest rest.
const LONGEST: Duration = Duration::from_mins(10);

impl Core {
    /// A machine wants no builds for so many seconds (and has none), or takes them again.
    pub(super) fn rest(
        &mut self,
        now: Time,
        instance: InstanceId,
        rest: Option<(u32, String)>,
        reply: ReplyId,
    ) {
        let id = self.instances.get(&instance).copied();
        let Some((id, worker)) = id.and_then(|id| Some((id, self.workers.get_mut(&id)?))) else {
            return self.refuse(reply, Refusal::NoSuchInstance(instance));
        };
        if rest.is_some() && !worker.running.is_empty() {
            return self.refuse(reply, Refusal::Builds(instance));
        }
        if let Some((until, _)) = worker.resting.take() {
            self.deadlines.remove(&(until, Deadline::Rested(id)));
        }
        if let Some((seconds, why)) = rest {
            let until = now + Duration::from_secs(seconds.into()).min(LONGEST);
            worker.resting = Some((until, why));
            self.deadlines.insert((until, Deadline::Rested(id)));
        }
        self.rest_changed(now, id);
        self.reply(reply, Answer::Done);
    }

    /// A machine has rested for as long as it may.
    pub(super) fn rested(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        // Another machine may be the worker now, and rest for itself.
        if worker.resting.as_ref().is_some_and(|(until, _)| *until <= now) {
            worker.resting = None;
            self.rest_changed(now, id);
        }
    }

    fn rest_changed(&mut self, now: Time, id: WorkerId) {
        self.refresh_worker(id);
        self.tell_whether_withheld(now, id);
        self.offer_worker(now, id);
    }
}
