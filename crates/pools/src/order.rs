//! What pools decide, for others to carry out.

use model::{InstanceId, Results};

use crate::{Decision, Instance, Token, Verifier, provider::LaunchRequest};

/// What one event leads to. Orders may leave only when the rows are durable; those for the dispatcher
/// ([`Order::Close`], [`Order::Open`]) hold at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// Rows of the ledger as they are now.
    pub rows: Vec<Instance>,
    /// Pools whose own state (see `PoolState`) changed, to be written.
    pub pools: Vec<String>,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// What is to be done.
    pub orders: Vec<Order>,
}

/// Something to do.
#[derive(Debug)]
pub enum Order {
    /// Ask the provider for machines; `Event::Launched` follows. Sent again with the same token when its outcome is not
    /// known.
    Launch(Box<LaunchRequest>),
    /// Ask the provider for all machines of a pool; `Event::Listed` follows.
    List {
        /// The pool.
        pool: String,
    },
    /// Ask the provider to end a machine; `Event::Terminated` follows.
    Terminate {
        /// Which.
        instance: InstanceId,
        /// Its pool.
        pool: String,
        /// The provider's name of it.
        provider_id: String,
    },
    /// Ask the provider to end a machine that no row knows. Nobody waits for an answer.
    Reap {
        /// The pool.
        pool: String,
        /// The provider's name of it.
        provider_id: String,
    },
    /// Withdraw a call that has not led to machines: an open spot request. Nobody waits for an answer.
    Cancel {
        /// The pool.
        pool: String,
        /// The call.
        token: Token,
    },
    /// Ask the provider to stop a machine; `Event::Stopped` follows.
    Stop {
        /// Which.
        instance: InstanceId,
        /// Its pool.
        pool: String,
        /// The provider's name of it.
        provider_id: String,
    },
    /// Ask the provider to start a stopped machine again; `Event::Resumed` follows.
    Resume {
        /// Which.
        instance: InstanceId,
        /// Its pool.
        pool: String,
        /// The provider's name of it.
        provider_id: String,
    },
    /// Ask the provider what a machine said while it booted; `Event::Console` follows.
    Console {
        /// Which.
        instance: InstanceId,
        /// Its pool.
        pool: String,
        /// The provider's name of it.
        provider_id: String,
    },

    /// Give an instance's worker no more builds, from this very moment.
    Close {
        /// Which.
        instance: InstanceId,
        /// Why, for people.
        why: String,
    },
    /// Give it builds again.
    Open {
        /// Which.
        instance: InstanceId,
    },
    /// End all builds of an instance with these results: its machine goes.
    Interrupt {
        /// Which.
        instance: InstanceId,
        /// Why, for people.
        why: String,
        /// RETRY.
        results: Results,
    },
    /// Close the connection of an instance's worker.
    Disconnect {
        /// Which.
        instance: InstanceId,
        /// Why, for people.
        why: String,
    },
    /// Ask an instance's worker to shut down: the way to end a guest.
    Shutdown {
        /// Which.
        instance: InstanceId,
    },
    /// From now on, this is what a login for an instance must prove.
    Credential {
        /// Which.
        instance: InstanceId,
        /// Its pool.
        pool: String,
        /// What; `None` lets nobody in.
        verifier: Option<Verifier>,
    },
}
