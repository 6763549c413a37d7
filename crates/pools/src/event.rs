//! What pools are told.

use std::{sync::Arc, time::Duration};

use model::{BuildId, BuildRequestId, BuilderId, InstanceId, Results, Time};

use crate::{
    Token,
    provider::{Capabilities, Launched, Machine, ProviderError},
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Work came in for a builder that pools build.
    Requested {
        /// Names of the pools that build it.
        pools: Vec<Arc<str>>,
    },
    /// Work that came in needs no build of its own any more: it was cancelled, or merged into other work.
    Withdrawn {
        /// Names of the pools that would have built it.
        pools: Vec<Arc<str>>,
        /// When it came in.
        submitted_at: Time,
    },
    /// A build was started on an instance.
    BuildStarted {
        /// Where.
        instance: InstanceId,
        /// Which.
        build: BuildId,
        /// Of which builder.
        builder: BuilderId,
        /// Its first request.
        request: BuildRequestId,
        /// The priority of that.
        priority: i64,
        /// How long that has waited.
        waited: Duration,
    },
    /// A build on an instance waits for others, or no longer does. Its end is not counted on while it does.
    BuildWaits {
        /// Where.
        instance: InstanceId,
        /// Which.
        build: BuildId,
        /// Whether it waits.
        waits: bool,
    },
    /// A build on an instance is over.
    BuildEnded {
        /// Where.
        instance: InstanceId,
        /// Which.
        build: BuildId,
        /// How.
        results: Results,
        /// Whether the machinery failed, and not what was built.
        machinery_failed: bool,
    },
    /// A build of a pool's builder succeeded (or failed by itself) after so long, wherever it ran.
    BuildTook {
        /// Its builder.
        builder: BuilderId,
        /// How long.
        duration: Duration,
    },

    /// The worker of an instance said what it is. Answered by `Order::Disconnect` when it is somebody else.
    Identified {
        /// Which.
        instance: InstanceId,
        /// What it said.
        identity: Identity,
    },
    /// The worker of an instance can build.
    Ready {
        /// Which.
        instance: InstanceId,
    },
    /// The connection of an instance's worker is gone.
    Disconnected {
        /// Which.
        instance: InstanceId,
        /// Why, for people.
        why: String,
    },
    /// The dispatcher gives an instance no builds for a reason of its own, or does again.
    Withheld {
        /// Which.
        instance: InstanceId,
        /// Why it gets none; `None` when it does.
        why: Option<String>,
    },
    /// The worker of an instance asks for a graceful shutdown.
    Leaving {
        /// Which.
        instance: InstanceId,
    },

    /// Somebody who wanted to be a worker of a pool was turned away: for the record.
    LoginRefused {
        /// The pool.
        pool: String,
        /// The instance that it wanted to be, if it named one.
        instance: Option<InstanceId>,
        /// Why, for people.
        why: String,
    },

    /// The answer to `Order::Launch`.
    Launched {
        /// Which call.
        token: Token,
        /// What became of it.
        result: Result<Launched, ProviderError>,
    },
    /// The answer to `Order::List`: complete, or an error.
    Listed {
        /// The pool.
        pool: String,
        /// When the provider was asked.
        asked_at: Time,
        /// All machines of this deployment and pool, also those that have ended lately.
        result: Result<Vec<Machine>, ProviderError>,
    },
    /// The answer to `Order::Terminate`: it is on its way out, or was gone before.
    Terminated {
        /// Which.
        instance: InstanceId,
        /// What became of it.
        result: Result<(), ProviderError>,
    },
    /// The answer to `Order::Stop`.
    Stopped {
        /// Which.
        instance: InstanceId,
        /// What became of it.
        result: Result<(), ProviderError>,
    },
    /// The answer to `Order::Resume`.
    Resumed {
        /// Which.
        instance: InstanceId,
        /// What became of it.
        result: Result<(), ProviderError>,
    },
    /// The answer to `Order::Console`.
    Console {
        /// Which.
        instance: InstanceId,
        /// What it said; an error is no more than a pity.
        result: Result<String, ProviderError>,
    },
    /// What a provider offers to a pool, and for how much. Comes at the start and whenever it changes.
    Offers {
        /// The pool.
        pool: String,
        /// What.
        capabilities: Capabilities,
    },
    /// The provider warns, and names the machine as it does.
    Foretold {
        /// The pool.
        pool: String,
        /// The provider's name of the machine.
        provider_id: String,
        /// Of what.
        warning: Warning,
    },
    /// The machine itself warns.
    Warned {
        /// Which.
        instance: InstanceId,
        /// Of what.
        warning: Warning,
    },

    /// This master has (or lost, `None`) the lease of a pool, under this fencing number.
    Lease {
        /// The pool.
        pool: String,
        /// The number.
        fence: Option<u64>,
    },
    /// Somebody decides.
    Operator(Operator),
}

/// What a worker says of itself when it attaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Names the boot of the machine (`GANGER_BOOT_ID` in the worker's environment).
    pub boot: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What is wrong with it, when the checks of the engine found something (version, disk).
    pub fault: Option<String>,
}

/// What a provider or a machine warns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The market takes it back at this time.
    Interruption(Time),
    /// The market may take it back soon.
    Rebalance,
    /// Its status checks fail since this time.
    Impaired(Time),
    /// Its status checks pass again.
    Recovered,
}

/// What somebody decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Let an instance go when its builds are done.
    Drain(InstanceId),
    /// Keep an instance to look at it; it gets no more builds.
    Hold {
        /// Which.
        instance: InstanceId,
        /// For how long; at most the pool's `max_hold`.
        duration: Duration,
        /// Why, for people.
        reason: String,
    },
    /// Keep it no more: it goes.
    Release(InstanceId),
    /// Start no more machines of a pool.
    Pause {
        /// Which.
        pool: String,
        /// Why, for people.
        reason: String,
    },
    /// Start machines again.
    Resume(String),
    /// Have at least so many machines; `None` is what is configured.
    Scale {
        /// Which.
        pool: String,
        /// How many.
        min: Option<u32>,
    },
    /// Start machines though no listing was complete yet: somebody knows that none is there.
    Trust(String),
}
