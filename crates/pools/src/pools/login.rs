//! Who wants in, and who is let in.

use model::InstanceId;

use crate::{Slot, State};

/// A worker that has proved to know a secret, and wants to be a worker of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The pool.
    pub pool: &'a str,
    /// The instance that it says it is; `None` when it knows the pool's own password.
    pub instance: Option<InstanceId>,
    /// Where it comes from, for people.
    pub peer: &'a str,
}

/// It is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Which instance it is.
    pub instance: InstanceId,
    /// Which worker of the master that makes it.
    pub slot: Slot,
    /// Whether a worker of the same instance is connected already. That one is asked whether it is still there before
    /// this one is attached.
    pub connected: bool,
}

/// It is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// There is no such pool.
    #[error("there is no pool {0:?}")]
    NoSuchPool(String),
    /// There is no such instance in the pool.
    #[error("pool {pool} has no instance {instance}")]
    NoSuchInstance {
        /// The pool.
        pool: String,
        /// The instance.
        instance: InstanceId,
    },
    /// The instance is of another pool.
    #[error("instance {instance} belongs to pool {owner}, not to {pool}")]
    OtherPool {
        /// The pool that was named.
        pool: String,
        /// The instance.
        instance: InstanceId,
        /// Its pool.
        owner: String,
    },
    /// Nothing can log in as this instance any more.
    #[error("the credential of instance {0} is no longer good")]
    Burnt(InstanceId),
    /// The machine of the instance has not enrolled: what it was told is no credential of a worker.
    #[error("instance {0} has not enrolled")]
    NotEnrolled(InstanceId),
    /// The instance is not in a state in which a worker may come.
    #[error("instance {instance} is {}, and takes no worker", state.name())]
    State {
        /// The instance.
        instance: InstanceId,
        /// Its state.
        state: State,
    },
    /// The pool has as many machines as it may.
    #[error("pool {pool} is full: it has {live} of at most {max} machines")]
    Full {
        /// The pool.
        pool: String,
        /// How many it has.
        live: u32,
        /// How many it may have.
        max: u32,
    },
}
