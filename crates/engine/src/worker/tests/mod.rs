//! Connections in memory: the other end is a broker that plays a worker or a client.

mod changes;
mod commands;
mod logins;
mod pools;
mod presence;

use std::{collections::HashMap, sync::Arc, time::Duration};

use perspective_broker::{Broker, Transport};
use secrecy::SecretString;
use tokio::{
    io::DuplexStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use worker_protocol::fake::{FakeEvent, FakeOptions, FakeWorker};

use super::{Credentials, Limits, Report, Sessions, WorkerLink, login};
use crate::core::{BuilderDir, Event, SessionId};

const PASSWORD: &str = "pässwörd";

/// Long enough for anything that happens at all: time is paused and jumps when nothing else happens.
const LIMIT: Duration = Duration::from_secs(7200);

/// The master's side.
struct House {
    sessions: Sessions,
    reports: mpsc::Receiver<Report>,
    stop: CancellationToken,
    credentials: watch::Sender<Arc<Credentials>>,
}

/// What to do with a fake worker.
type Deed = Box<dyn FnOnce(&mut FakeWorker, &mut Broker) + Send>;

/// The worker's side.
struct Worker {
    deeds: mpsc::Sender<Deed>,
    events: mpsc::UnboundedReceiver<FakeEvent>,
    /// Ends with the connection.
    task: JoinHandle<()>,
}

fn builders(names: &[&str]) -> Vec<BuilderDir> {
    names.iter().map(|name| BuilderDir { name: (*name).to_owned(), dir: format!("dir-{name}") }).collect()
}

fn options(name: &str, password: &str) -> FakeOptions {
    FakeOptions::new(name, password)
}

impl House {
    fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// The same with a pool whose guests know a password, and one that takes no guests.
    fn with_pools() -> Self {
        let house = Self::new();
        let known = Credentials::for_tests(PASSWORD, &HashMap::new(), None);
        let known = known.with_pool("linux", Some("guest-password")).with_pool("closed", None);
        house.credentials.send_replace(Arc::new(known));
        house
    }

    fn with_limits(limits: Limits) -> Self {
        let keepalive = Duration::from_secs(600);
        let workers = HashMap::from([("w1", keepalive), ("w2", keepalive)]);
        let known =
            Credentials::for_tests(PASSWORD, &workers, Some(("change", SecretString::from("changepw"))));
        let (credentials, snapshot) = watch::channel(Arc::new(known));
        let (sender, reports) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let sessions = Sessions::new(snapshot, sender, limits, stop.clone());
        Self { sessions, reports, stop, credentials }
    }

    /// A connection, as a listener would accept it.
    fn accept(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let shared = self.sessions.shared();
        let permit = Arc::clone(&shared.half_open).try_acquire_owned().expect("a place");
        tokio::spawn(login::serve(ours, "a test".to_owned(), shared, permit));
        theirs
    }

    fn worker(&self, options: FakeOptions) -> Worker {
        Worker::on(self.accept(), options)
    }

    async fn report(&mut self) -> Report {
        timeout(LIMIT, self.reports.recv()).await.expect("a report in time").expect("a report")
    }

    async fn event(&mut self) -> Event {
        match self.report().await {
            Report::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// The next event must be a good login.
    async fn logged_in(&mut self, name: &str) -> SessionId {
        match self.event().await {
            Event::LoggedIn { session, worker } if worker == name => session,
            other => panic!("{other:?}"),
        }
    }

    /// The next event must be the end of this connection; its reason.
    async fn lost(&mut self, expect: SessionId) -> String {
        match self.event().await {
            Event::Lost { session, why } if session == expect => why,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the worker in that logs in next, until builds can start.
    async fn attach(&mut self, name: &str, names: &[&str]) -> (SessionId, WorkerLink) {
        let session = self.logged_in(name).await;
        self.sessions.admit(session, builders(names));
        let attached = self.event().await;
        assert!(matches!(attached, Event::Attached { session: s, .. } if s == session), "{attached:?}");
        let ready = self.event().await;
        assert!(matches!(ready, Event::Ready { session: s } if s == session), "{ready:?}");
        (session, self.sessions.link(session).expect("a link"))
    }
}

impl Worker {
    fn on(io: DuplexStream, options: FakeOptions) -> Self {
        let (deeds, mut deeds_to_do) = mpsc::channel::<Deed>(16);
        let (sender, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut transport = Transport::new(io, Broker::client(perspective_broker::Limits::default()));
            let mut worker = FakeWorker::new(options);
            worker.start(transport.broker());
            loop {
                tokio::select! {
                    event = transport.next() => match event {
                        Ok(Some(event)) => worker.handle(transport.broker(), event),
                        Ok(None) | Err(_) => return,
                    },
                    deed = deeds_to_do.recv() => match deed {
                        Some(deed) => deed(&mut worker, transport.broker()),
                        None => return,
                    },
                }
                while let Some(event) = worker.poll_event() {
                    // A test that is not interested has dropped its end.
                    drop(sender.send(event));
                }
            }
        });
        Self { deeds, events, task }
    }

    async fn does(&self, deed: impl FnOnce(&mut FakeWorker, &mut Broker) + Send + 'static) {
        assert!(self.deeds.send(Box::new(deed)).await.is_ok(), "the worker's connection has ended");
    }

    async fn falls_silent(&self) {
        self.does(|worker, _| worker.faults().silent = true).await;
    }

    async fn event(&mut self) -> FakeEvent {
        timeout(LIMIT, self.events.recv()).await.expect("an event in time").expect("an event")
    }

    /// Waits until the master has closed the connection.
    async fn closed(&mut self) {
        timeout(LIMIT, &mut self.task).await.expect("the end in time").expect("no panic");
    }
}
