//! An instance with what is known of it beside its row.

use std::collections::BTreeMap;

use model::{BuildId, BuildRequestId, BuilderId, InstanceId, Time};

use crate::{Instance, Origin, State, Verifier};

/// An instance.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its row.
    pub(super) row: Instance,
    /// The place of its pool.
    pub(super) pool: usize,
    /// Builds that run on it.
    pub(super) running: BTreeMap<BuildId, Run>,
    /// Whether a worker of it is connected.
    pub(super) connected: bool,
    /// Since when it has no worker that can build, after it had one; another login alone does not end that.
    pub(super) disconnected: Option<Time>,
    /// Whether a worker of another boot came in its name since its own was last ready to build.
    pub(super) stranger: bool,
    /// Whether its worker has ever been ready to build.
    pub(super) ready: bool,
    /// Whether it was there when the master started, and its worker has not come back yet.
    pub(super) adopted: bool,
    /// Whether the dispatcher was told to give it no more builds.
    pub(super) closed: bool,
    /// Why the dispatcher gives it no builds for a reason of its own.
    pub(super) withheld: Option<String>,
    /// Since when its boot counts.
    pub(super) boot_from: Time,
    /// Whether it is counted as a boot that failed.
    pub(super) failed: bool,
    /// Whether what its boot came to is settled.
    pub(super) settled: bool,
    /// Builders of the present row of failures of machinery.
    pub(super) failing: Vec<BuilderId>,
    /// What was asked about its console.
    pub(super) console: Console,
    /// How far its end is.
    pub(super) ending: Ending,
    /// What was asked in vain of the provider, to stop it or to start it again.
    pub(super) again: Again,
    /// When a complete listing was first asked for that should have had it and had not.
    pub(super) missing: Option<Time>,
    /// What the provider says of its machine, while that has to enroll.
    pub(super) details: BTreeMap<String, String>,
    /// What the one-time secret was that its machine has enrolled with; not known any more after a restart.
    pub(super) spent: Option<Verifier>,
    /// Since when its status checks fail.
    pub(super) impaired: Option<Time>,
    /// Whether the market may take it back soon.
    pub(super) rebalance: bool,
    /// Whether its builds were told to end.
    pub(super) interrupted: bool,
    /// When its worker was asked to shut down.
    pub(super) shutdown: Option<Time>,
    /// Whether it was stopped and is started again: its boot says nothing about first boots.
    pub(super) resumed: bool,
}

/// A build that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Its builder.
    pub(super) builder: BuilderId,
    /// Its first request.
    pub(super) request: BuildRequestId,
    /// Its priority.
    pub(super) priority: i64,
    /// Since when.
    pub(super) since: Time,
    /// Whether it waits for other builds.
    pub(super) waits: bool,
    /// Its place among all builds of the pool, while it counts there.
    pub(super) at: Option<usize>,
}

/// What was asked about a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Console {
    /// Nothing.
    Unasked,
    /// It is awaited until then.
    Awaited(Time),
    /// It came, or will never come.
    Settled,
}

/// How far the end of an instance is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    /// When the provider is asked (again); `None` when nothing is to be asked for now.
    pub(super) next: Option<Time>,
    /// How often it was asked in vain.
    pub(super) tries: u32,
    /// When it was asked, if it has not answered.
    pub(super) asked: Option<Time>,
    /// When it said that the machine is on its way out.
    pub(super) acked: Option<Time>,
}

/// A call that the provider did not take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Again {
    /// When it is made again, if it is.
    pub(super) next: Option<Time>,
    /// How often it was made in vain.
    pub(super) tries: u32,
}

impl Entry {
    /// A new one.
    pub(super) fn new(row: Instance, pool: usize) -> Self {
        let boot_from = row.requested_at.or(row.launched_at).unwrap_or(row.planned_at);
        Self {
            row,
            pool,
            running: BTreeMap::new(),
            connected: false,
            disconnected: None,
            stranger: false,
            ready: false,
            adopted: false,
            closed: false,
            withheld: None,
            boot_from,
            failed: false,
            settled: false,
            failing: Vec::new(),
            console: Console::Unasked,
            ending: Ending::default(),
            again: Again::default(),
            missing: None,
            details: BTreeMap::new(),
            spent: None,
            impaired: None,
            rebalance: false,
            interrupted: false,
            shutdown: None,
            resumed: false,
        }
    }

    /// Its id.
    pub(super) fn id(&self) -> InstanceId {
        self.row.id
    }

    /// Where it is in its life.
    pub(super) fn state(&self) -> State {
        self.row.state
    }

    /// Whether the pool did not start it.
    pub(super) fn is_guest(&self) -> bool {
        self.row.origin == Origin::Guest
    }

    /// Whether it costs something.
    pub(super) fn costs(&self) -> bool {
        self.is_live() && !self.is_guest()
    }

    /// Whether it counts towards maxima. A machine that was stopped does not begin to because it is ended.
    pub(super) fn is_live(&self) -> bool {
        let was_stopped = self.row.provider_id.is_some() && self.row.launched_at.is_none();
        self.row.state.is_live() && !(self.row.state == State::Terminating && was_stopped)
    }
}
