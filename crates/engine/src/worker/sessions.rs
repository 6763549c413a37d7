//! All connections of workers that know the password, as the master sees them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use config::Endpoint;
use model::InstanceId;
use pools::Verifier;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Credentials, Limits, ListenError, Report, WorkerLink, listen, orders::Order, refusals::Refusals,
    verifiers::Verifiers,
};
use crate::core::{BuilderDir, SessionId};

/// Orders that a connection may be behind. The core gives a handful; a connection with more does nothing any more.
const ORDERS: usize = 32;

/// Listeners, and all connections of workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
}

/// Addresses that are bound, and not yet listened on.
#[derive(Debug)]
pub struct Doors {
    listeners: Vec<listen::Listener>,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl Doors {
    /// Lets connections in, until the end of all connections.
    pub fn open(self) {
        for listener in self.listeners {
            self.tasks.spawn(listener.accept(Arc::clone(&self.shared), self.tasks.clone()));
        }
    }
}

/// What all connections have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) credentials: watch::Receiver<Arc<Credentials>>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) limits: Limits,
    pub(super) stop: CancellationToken,
    pub(super) half_open: Arc<Semaphore>,
    pub(super) refusals: Refusals,
    pub(super) verifiers: Verifiers,
    last: AtomicU64,
    open: Mutex<HashMap<SessionId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    orders: mpsc::Sender<Order>,
    stuck: CancellationToken,
    link: Option<WorkerLink>,
}

/// A connection's end of its place among all others; the place is given up with it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: SessionId,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Cancelled when the connection is so far behind with its orders that it must be dead.
    pub(super) stuck: CancellationToken,
    shared: Arc<Shared>,
}

impl Sessions {
    /// Listens on all endpoints until `stop`, which also ends all connections. Also gives the addresses that are bound,
    /// in the order of the endpoints.
    ///
    /// # Errors
    ///
    /// One of the endpoints cannot be listened on; then none is.
    pub async fn listen(
        endpoints: &[Endpoint],
        credentials: watch::Receiver<Arc<Credentials>>,
        reports: mpsc::Sender<Report>,
        limits: Limits,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<(Self, Vec<String>), ListenError> {
        let (sessions, doors, addresses) =
            Self::bind(endpoints, credentials, reports, limits, tasks, stop).await?;
        doors.open();
        Ok((sessions, addresses))
    }

    /// As [`listen`](Self::listen), but nobody is heard before the doors are open: until then they wait outside.
    ///
    /// # Errors
    ///
    /// One of the endpoints cannot be listened on; then none is.
    pub async fn bind(
        endpoints: &[Endpoint],
        credentials: watch::Receiver<Arc<Credentials>>,
        reports: mpsc::Sender<Report>,
        limits: Limits,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<(Self, Doors, Vec<String>), ListenError> {
        let sessions = Self::new(credentials, reports, limits, stop);
        let mut listeners = Vec::new();
        for endpoint in endpoints {
            listeners.push(listen::Listener::bind(endpoint).await?);
        }
        let addresses = listeners.iter().map(|listener| listener.address().to_owned()).collect();
        let doors = Doors { listeners, shared: Arc::clone(&sessions.shared), tasks: tasks.clone() };
        Ok((sessions, doors, addresses))
    }

    pub(super) fn new(
        credentials: watch::Receiver<Arc<Credentials>>,
        reports: mpsc::Sender<Report>,
        limits: Limits,
        stop: CancellationToken,
    ) -> Self {
        let half_open = Arc::new(Semaphore::new(limits.half_open.min(Semaphore::MAX_PERMITS)));
        Self {
            shared: Arc::new(Shared {
                credentials,
                reports,
                limits,
                stop,
                half_open,
                refusals: Refusals::default(),
                verifiers: Verifiers::default(),
                last: AtomicU64::new(0),
                open: Mutex::default(),
            }),
        }
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The worker behind a connection, once it has described itself and until it is gone.
    pub fn link(&self, session: SessionId) -> Option<WorkerLink> {
        self.shared.with(session, |entry| entry.link.clone()).flatten()
    }

    /// Lets a worker in. `Attached` and `Ready` follow, or `Lost`.
    pub fn admit(&self, session: SessionId, builders: Vec<BuilderDir>) {
        self.order(session, Order::Admit { builders });
    }

    /// Turns a worker away that knows the password.
    pub fn refuse(&self, session: SessionId, why: String) {
        self.order(session, Order::Refuse { why });
    }

    /// Finds out whether the worker still answers: `ProbeAnswered` follows, or `Lost`.
    pub fn probe(&self, session: SessionId) {
        self.order(session, Order::Probe);
    }

    /// Gives the worker its builders anew. One that loses a builder which runs a command gets them when that is done.
    pub fn set_builders(&self, session: SessionId, builders: Vec<BuilderDir>) {
        self.order(session, Order::SetBuilders { builders });
    }

    /// Ends the connection: `Lost` follows.
    pub fn disconnect(&self, session: SessionId, why: String) {
        self.order(session, Order::Disconnect { why });
    }

    /// Tells the worker to end: `Lost` follows.
    pub fn shutdown_worker(&self, session: SessionId) {
        self.order(session, Order::Shutdown);
    }

    /// From now on this is what a login for an instance of a pool must prove; nothing lets nobody in.
    pub fn credential(&self, instance: InstanceId, pool: String, verifier: Option<&Verifier>) {
        self.shared.verifiers.set(instance, pool, verifier);
    }

    /// Whether this is what the worker of an instance proves.
    pub fn knows(&self, pool: &str, instance: InstanceId, secret: &str) -> bool {
        self.shared.verifiers.knows(pool, instance, secret)
    }

    /// Somebody who wanted to belong to a pool was turned away elsewhere: for the record, as often as is worth it.
    pub async fn turned_away(&self, pool: String, why: String) {
        if self.shared.refusals.is_told() {
            self.shared.report(crate::Event::PoolLoginRefused { pool, instance: None, why }).await;
        }
    }

    /// A connection that has ended needs no orders: its `Lost` is on the way.
    fn order(&self, session: SessionId, order: Order) {
        self.shared.with(session, |entry| {
            if entry.orders.try_send(order).is_err() {
                entry.stuck.cancel();
            }
        });
    }
}

impl Shared {
    /// A place for a connection that has logged in.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        let id = SessionId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, orders) = mpsc::channel(ORDERS);
        let stuck = CancellationToken::new();
        let entry = Entry { orders: sender, stuck: stuck.clone(), link: None };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
        Place { id, orders, stuck, shared: Arc::clone(self) }
    }

    /// Tells the master. It takes everything until it ends.
    pub(super) async fn report(&self, event: crate::Event) {
        if self.reports.send(Report::Event(event)).await.is_err() {
            tracing::debug!("the master has ended, and hears no more of its workers");
        }
    }

    fn with<T>(&self, session: SessionId, f: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&session).map(f)
    }
}

impl Place {
    /// From now on builds can find the worker.
    pub(super) fn publish(&self, link: WorkerLink) {
        self.shared.with(self.id, |entry| entry.link = Some(link));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
