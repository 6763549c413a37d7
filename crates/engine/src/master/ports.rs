//! What the master needs of workers' connections and of builds, so that tests can stand in for them.

use std::{future::Future, pin::Pin};

use model::InstanceId;
use pools::Verifier;

use crate::{BuildOrder, Outcome, SessionId, build::Line, core::BuilderDir, worker::Sessions};

/// A future in a box.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Workers' connections. Nothing here waits; an order to a connection that is gone is no error, its `Lost` is under way.
pub trait Connections: Send + Sync + 'static {
    /// Lets a worker in.
    fn admit(&self, session: SessionId, builders: Vec<BuilderDir>);
    /// Turns a worker away.
    fn refuse(&self, session: SessionId, why: String);
    /// Finds out whether a worker still answers.
    fn probe(&self, session: SessionId);
    /// Gives a worker its builders anew.
    fn set_builders(&self, session: SessionId, builders: Vec<BuilderDir>);
    /// Ends a connection.
    fn disconnect(&self, session: SessionId, why: String);
    /// Tells a worker to shut down.
    fn shutdown_worker(&self, session: SessionId);
    /// From now on this is what a login for an instance of a pool must prove; nothing lets nobody in.
    fn credential(&self, instance: InstanceId, pool: String, verifier: Option<&Verifier>);
}

impl Connections for Sessions {
    fn admit(&self, session: SessionId, builders: Vec<BuilderDir>) {
        self.admit(session, builders);
    }

    fn refuse(&self, session: SessionId, why: String) {
        self.refuse(session, why);
    }

    fn probe(&self, session: SessionId) {
        self.probe(session);
    }

    fn set_builders(&self, session: SessionId, builders: Vec<BuilderDir>) {
        self.set_builders(session, builders);
    }

    fn disconnect(&self, session: SessionId, why: String) {
        self.disconnect(session, why);
    }

    fn shutdown_worker(&self, session: SessionId) {
        self.shutdown_worker(session);
    }

    fn credential(&self, instance: InstanceId, pool: String, verifier: Option<&Verifier>) {
        self.credential(instance, pool, verifier);
    }
}

/// Runs builds.
pub trait Runner: Send + Sync + 'static {
    /// Runs one build to its end. All its rows are queued when it is done. It may be dropped, when the master ends and
    /// cannot wait any longer.
    fn run(&self, order: Box<BuildOrder>, line: Line) -> Boxed<Outcome>;
}
