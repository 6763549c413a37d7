//! Where ids of new rows come from.

use std::fmt;

use model::{BuildId, BuildRequestId, BuilderId, BuildsetId, ChangeId, SchedulerId, WorkerId};
use storage::{Ids, Store};

/// Gives out ids that no row has yet.
pub trait NewIds: fmt::Debug + Send {
    /// An id for a build.
    fn next_build(&self) -> BuildId;
    /// An id for a builder.
    fn next_builder(&self) -> BuilderId;
    /// An id for a buildset.
    fn next_buildset(&self) -> BuildsetId;
    /// An id for a change.
    fn next_change(&self) -> ChangeId;
    /// An id for a build request.
    fn next_request(&self) -> BuildRequestId;
    /// An id for a scheduler.
    fn next_scheduler(&self) -> SchedulerId;
    /// An id for a worker.
    fn next_worker(&self) -> WorkerId;
}

impl NewIds for Ids {
    fn next_build(&self) -> BuildId {
        self.next_build()
    }

    fn next_builder(&self) -> BuilderId {
        self.next_builder()
    }

    fn next_buildset(&self) -> BuildsetId {
        self.next_buildset()
    }

    fn next_change(&self) -> ChangeId {
        self.next_change()
    }

    fn next_request(&self) -> BuildRequestId {
        self.next_request()
    }

    fn next_scheduler(&self) -> SchedulerId {
        self.next_scheduler()
    }

    fn next_worker(&self) -> WorkerId {
        self.next_worker()
    }
}

impl NewIds for Store {
    fn next_build(&self) -> BuildId {
        self.ids().next_build()
    }

    fn next_builder(&self) -> BuilderId {
        self.ids().next_builder()
    }

    fn next_buildset(&self) -> BuildsetId {
        self.ids().next_buildset()
    }

    fn next_change(&self) -> ChangeId {
        self.ids().next_change()
    }

    fn next_request(&self) -> BuildRequestId {
        self.ids().next_request()
    }

    fn next_scheduler(&self) -> SchedulerId {
        self.ids().next_scheduler()
    }

    fn next_worker(&self) -> WorkerId {
        self.ids().next_worker()
    }
}
