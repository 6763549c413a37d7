//! One worker's connection, from its accepted login to its end: the one task that speaks to it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use perspective_broker::{Event as BrokerEvent, LoginId, RemoteId, Transport, TransportError};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, debug, info, info_span, warn};
use worker_protocol::{BuildersError, CommandId, Event as WorkerEvent, Session};

use super::{
    CommandEvent, WorkerLink,
    credentials::Identity,
    listen::Io,
    login::{CLOSE_WITHIN, linger},
    orders::{LinkOrder, Order},
    sessions::{Place, Shared},
};
use crate::{
    causes,
    core::{BuilderDir, Event},
};

/// What builds ask for that the connection may be behind with.
const LINK_ORDERS: usize = 64;

/// The variable in a worker's environment that names the boot of its machine, and how long its value may be.
const BOOT_ID: &str = "GANGER_BOOT_ID";
const MAX_BOOT_ID: usize = 128;

/// Why a connection ends, for people.
type Ending = String;

/// A worker that knows its password.
pub(super) struct Who {
    /// What it logged in as.
    pub(super) login: String,
    /// Who that makes it.
    pub(super) identity: Identity,
    /// Where it comes from, for people.
    pub(super) peer: String,
}

/// Serves a worker that knows the password: hands it to the core, and does what the core decides.
pub(super) async fn serve_worker<S: Io>(
    transport: Transport<S>,
    who: Who,
    login: LoginId,
    mind: RemoteId,
    shared: Arc<Shared>,
) {
    let place = shared.place();
    let span = info_span!("worker.session", worker.name = who.login, session = place.id.0);
    serve_admitted(transport, who, login, mind, shared, place).instrument(span).await;
}

async fn serve_admitted<S: Io>(
    mut transport: Transport<S>,
    who: Who,
    login: LoginId,
    mind: RemoteId,
    shared: Arc<Shared>,
    mut place: Place,
) {
    let session = place.id;
    let event = match &who.identity {
        Identity::Pool { pool, instance } => {
            let (pool, instance, peer) = (pool.clone(), *instance, who.peer.clone());
            Event::PoolLoggedIn { session, pool, instance, peer }
        }
        Identity::Worker(_) | Identity::Changes => Event::LoggedIn { session, worker: who.login.clone() },
    };
    shared.report(event).await;
    let why = match wait_for_decision(&mut transport, &mut place, &shared).await {
        Ok(builders) => {
            let lost = Arc::new(OnceLock::new());
            match Connection::begin(
                transport,
                who.identity,
                login,
                mind,
                &shared,
                place,
                builders,
                Arc::clone(&lost),
            ) {
                Ok(connection) => connection.run(&lost).await,
                Err(why) => why,
            }
        }
        Err(why) => {
            transport.close(CLOSE_WITHIN).await;
            why
        }
    };
    info!(why, "worker's connection has ended");
    shared.report(Event::Lost { session, why }).await;
}

/// Waits until the core lets the worker in. Otherwise, gives the reason why it did not.
async fn wait_for_decision<S: Io>(
    transport: &mut Transport<S>,
    place: &mut Place,
    shared: &Shared,
) -> Result<Vec<BuilderDir>, Ending> {
    loop {
        let order = tokio::select! {
            () = shared.stop.cancelled() => return Err("the master is ending".to_owned()),
            event = transport.next() => match event {
                // A worker sends nothing before its login is answered that would be missed here.
                Ok(Some(_)) => continue,
                ended => return Err(ending(ended.err())),
            },
            order = place.orders.recv() => order,
        };
        match order {
            Some(Order::Admit { builders }) => return Ok(builders),
            Some(Order::Refuse { why }) => {
                info!(why, "worker turned away");
                linger(transport, Instant::now() + shared.limits.turned_away).await;
                return Err(why);
            }
            Some(Order::Disconnect { why }) => return Err(why),
            // Whatever else was meant for the worker: it is not there yet.
            Some(Order::Probe | Order::SetBuilders { .. } | Order::Shutdown) => {}
            None => return Err("the master is ending".to_owned()),
        }
    }
}

/// A worker that was let in.
struct Connection<'a, S> {
    transport: Transport<S>,
    session: Session,
    identity: Identity,
    shared: &'a Shared,
    place: Place,
    orders: mpsc::Receiver<LinkOrder>,
    /// For the link, until the worker has described itself.
    order_sender: Option<mpsc::Sender<LinkOrder>>,
    lost: Arc<OnceLock<String>>,
    commands: HashMap<CommandId, Running>,
    /// Pings in the order in which they are answered.
    pings: VecDeque<Ping>,
    /// The builders that the worker is to get, when it cannot have them yet.
    builders: Option<Vec<BuilderDir>>,
    ready: bool,
    heard: Instant,
    /// When the worker must have done what was asked of it: attached, or ended.
    deadline: Option<(Instant, &'static str)>,
}

struct Running {
    events: mpsc::Sender<CommandEvent>,
    /// The build does not listen any more, and the worker was told.
    abandoned: bool,
}

struct Ping {
    until: Instant,
    asker: Asker,
}

enum Asker {
    Keepalive,
    Core,
    Build(oneshot::Sender<()>),
    /// The core was told already that no answer came in time.
    Nobody,
}

impl<'a, S: Io> Connection<'a, S> {
    #[expect(
        clippy::too_many_arguments,
        reason = "they are what a connection is made of, and there is one caller"
    )]
    fn begin(
        mut transport: Transport<S>,
        identity: Identity,
        login: LoginId,
        mind: RemoteId,
        shared: &'a Shared,
        place: Place,
        builders: Vec<BuilderDir>,
        lost: Arc<OnceLock<String>>,
    ) -> Result<Box<Self>, Ending> {
        let broker = transport.broker();
        let perspective = broker.export();
        let mut session = Session::new(mind, perspective, shared.limits.session);
        broker
            .accept_login(login, perspective)
            .map_err(|error| format!("cannot answer its login: {error}"))?;
        session.start(broker).map_err(|error| causes::in_a_line(&error))?;
        let (order_sender, orders) = mpsc::channel(LINK_ORDERS);
        let heard = Instant::now();
        Ok(Box::new(Self {
            transport,
            session,
            identity,
            shared,
            place,
            orders,
            order_sender: Some(order_sender),
            lost,
            commands: HashMap::new(),
            pings: VecDeque::new(),
            builders: Some(builders),
            ready: false,
            heard,
            deadline: Some((heard + shared.limits.attach, "it did not attach in time")),
        }))
    }

    /// Serves the worker; why it ended.
    async fn run(mut self: Box<Self>, lost: &OnceLock<String>) -> Ending {
        let why = match self.serve().await {
            Ok(never) => match never {},
            Err(why) => why,
        };
        // Builds hear the reason as soon as their channels close.
        let why = lost.get_or_init(|| why).clone();
        self.commands.clear();
        self.orders.close();
        self.transport.close(CLOSE_WITHIN).await;
        why
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, Ending> {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.worker_says(event).await?;
            }
            let congested = self.transport.is_congested();
            let wake = self.wake();
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err("the master is ending".to_owned()),
                () = self.place.stuck.cancelled() => return Err("it does not do what it is told".to_owned()),
                event = self.transport.next() => match event {
                    Ok(Some(event)) => self.broker_says(event)?,
                    ended => return Err(ending(ended.err())),
                },
                Some(order) = self.place.orders.recv() => self.core_says(order)?,
                Some(order) = self.orders.recv(), if !congested => self.build_says(order)?,
                () = sleep_until(wake) => self.look_at_the_clock().await?,
            }
        }
    }

    fn broker_says(&mut self, event: BrokerEvent) -> Result<(), Ending> {
        self.heard = Instant::now();
        self.session.handle(self.transport.broker(), event).map_err(|error| causes::in_a_line(&error))
    }

    async fn worker_says(&mut self, event: WorkerEvent) -> Result<(), Ending> {
        match event {
            WorkerEvent::Attached(info) => {
                info!(worker.version = info.version.as_deref().unwrap_or("unknown"), "worker attached");
                let session = self.place.id;
                let boot = info.environ.get(BOOT_ID).filter(|boot| boot.len() <= MAX_BOOT_ID).cloned();
                self.shared.report(Event::Attached { session, info: info.to_json(), boot }).await;
                if let Some(sender) = self.order_sender.take() {
                    let events = self.shared.limits.command_events;
                    self.place.publish(WorkerLink::new(info, Arc::clone(&self.lost), sender, events));
                }
                self.give_builders()?;
            }
            WorkerEvent::BuildersSet if !self.ready => {
                self.ready = true;
                self.deadline = None;
                self.shared.report(Event::Ready { session: self.place.id }).await;
            }
            WorkerEvent::BuildersSet | WorkerEvent::Keepalive | WorkerEvent::Started { .. } => {}
            WorkerEvent::BuildersRefused(failure) if self.ready => {
                warn!(error = failure.value, "worker refuses its new builders, and keeps those it has");
            }
            WorkerEvent::BuildersRefused(failure) => {
                return Err(format!("it refuses its builders: {}: {}", failure.kind, failure.value));
            }
            WorkerEvent::Pong => self.pong(true).await?,
            WorkerEvent::PingFailed(failure) => {
                debug!(error = failure.value, "worker answers a ping with an error");
                self.pong(false).await?;
            }
            WorkerEvent::ShutdownRequested => {
                info!("worker asks to end");
                self.shared.report(Event::WorkerShutdownRequested { session: self.place.id }).await;
            }
            WorkerEvent::ShutdownFailed(failure) => {
                return Err(format!("it was told to end, and cannot: {}: {}", failure.kind, failure.value));
            }
            WorkerEvent::Update { command, update } => {
                self.deliver(command, CommandEvent::Update(update)).await?
            }
            WorkerEvent::Write { command, data, ticket } => {
                self.deliver(command, CommandEvent::Write { data, ticket }).await?;
            }
            WorkerEvent::CloseWrite { command } => self.deliver(command, CommandEvent::CloseWrite).await?,
            WorkerEvent::SetTimes { command, accessed, modified } => {
                self.deliver(command, CommandEvent::SetTimes { accessed, modified }).await?;
            }
            WorkerEvent::Unpack { command, ticket } => {
                self.deliver(command, CommandEvent::Unpack { ticket }).await?
            }
            WorkerEvent::Read { command, max, ticket } => {
                self.deliver(command, CommandEvent::Read { max, ticket }).await?;
            }
            WorkerEvent::CloseRead { command } => self.deliver(command, CommandEvent::CloseRead).await?,
            WorkerEvent::Complete { command, failure } => {
                self.deliver(command, CommandEvent::Complete(failure)).await?;
                self.over(command)?;
            }
            WorkerEvent::StartFailed { command, failure } => {
                self.deliver(command, CommandEvent::Refused(failure)).await?;
                self.over(command)?;
            }
            other => debug!(event = ?std::mem::discriminant(&other), "worker says something new"),
        }
        Ok(())
    }

    /// Hands an event to the build. When the build has no room for it, nothing more is read from the worker until it has:
    /// that slows the worker's stream, and drops nothing.
    async fn deliver(&mut self, command: CommandId, event: CommandEvent) -> Result<(), Ending> {
        let Some(running) = self.commands.get(&command) else { return self.throw_away(command, event) };
        if running.abandoned {
            return self.throw_away(command, event);
        }
        let event = match running.events.try_send(event) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(event)) => return self.throw_away(command, event),
            Err(mpsc::error::TrySendError::Full(event)) => event,
        };
        let events = running.events.clone();
        let reserve = events.reserve();
        tokio::pin!(reserve);
        let paused = Instant::now();
        let mut writable = true;
        let permit = loop {
            let congested = self.transport.is_congested();
            let unwritten = self.transport.broker().buffered() > 0;
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err("the master is ending".to_owned()),
                () = self.place.stuck.cancelled() => return Err("it does not do what it is told".to_owned()),
                permit = &mut reserve => break permit,
                // What builds say must go out all the while: the one that is waited for may wait for that.
                // A worker that has gone may have said something before: `next` tells of it in its turn.
                flushed = self.transport.flush(), if unwritten && writable => writable = flushed.is_ok(),
                Some(order) = self.place.orders.recv() => self.core_says(order)?,
                Some(order) = self.orders.recv(), if !congested => self.build_says(order)?,
            }
        };
        // The worker was not heard because we did not listen.
        let paused = paused.elapsed();
        self.heard = Instant::now();
        self.pings.iter_mut().for_each(|ping| ping.until += paused);
        match permit {
            Ok(permit) => {
                permit.send(event);
                Ok(())
            }
            Err(_) => self.throw_away(command, event),
        }
    }

    /// An event that no build wants. The command is stopped, and let go on to its end.
    fn throw_away(&mut self, command: CommandId, event: CommandEvent) -> Result<(), Ending> {
        self.abandon(command)?;
        match event {
            CommandEvent::Write { ticket, .. } | CommandEvent::Unpack { ticket } => self
                .session
                .answer_write(self.transport.broker(), ticket)
                .map_err(|error| causes::in_a_line(&error)),
            CommandEvent::Read { ticket, .. } => self.answer_read(ticket, Bytes::new()),
            _ => Ok(()),
        }
    }

    /// Stops a command that no build wants any more, once.
    fn abandon(&mut self, command: CommandId) -> Result<(), Ending> {
        match self.commands.get_mut(&command) {
            Some(running) if !running.abandoned => running.abandoned = true,
            _ => return Ok(()),
        }
        self.session
            .interrupt(self.transport.broker(), command, "nobody listens any more")
            .map_err(|error| causes::in_a_line(&error))
    }

    fn over(&mut self, command: CommandId) -> Result<(), Ending> {
        self.commands.remove(&command);
        self.give_builders()
    }

    fn core_says(&mut self, order: Order) -> Result<(), Ending> {
        match order {
            Order::SetBuilders { builders } | Order::Admit { builders } => {
                self.builders = Some(builders);
                self.give_builders()
            }
            Order::Probe => self.ping("master got a duplicate connection", Asker::Core),
            Order::Disconnect { why } | Order::Refuse { why } => Err(why),
            Order::Shutdown => {
                info!("worker is told to end");
                self.deadline = Some((
                    Instant::now() + self.shared.limits.shutdown,
                    "it was told to end, and did not in time",
                ));
                self.session.shutdown(self.transport.broker()).map_err(|error| causes::in_a_line(&error))
            }
        }
    }

    fn build_says(&mut self, order: LinkOrder) -> Result<(), Ending> {
        let broker = self.transport.broker();
        match order {
            LinkOrder::Ping { reply } => self.ping("ping", Asker::Build(reply)),
            LinkOrder::StartBuild { builder } => match self.session.start_build(broker, &builder) {
                Ok(()) => Ok(()),
                Err(error) => {
                    debug!(error = &error as &dyn std::error::Error, "build not announced to the worker");
                    Ok(())
                }
            },
            LinkOrder::Start { builder, command, events, reply } => {
                let started = self.session.start_command(broker, &builder, &command);
                if let Ok(id) = &started {
                    self.commands.insert(*id, Running { events, abandoned: false });
                }
                match reply.send(started) {
                    // The build does not wait any more.
                    Err(Ok(id)) => self.abandon(id),
                    Ok(()) | Err(Err(_)) => Ok(()),
                }
            }
            LinkOrder::Interrupt { command, why } => {
                if self.commands.get(&command).is_some_and(|running| running.events.is_closed()) {
                    return self.abandon(command);
                }
                self.session.interrupt(broker, command, &why).map_err(|error| causes::in_a_line(&error))
            }
            LinkOrder::AnswerWrite { ticket } => {
                self.session.answer_write(broker, ticket).map_err(|error| causes::in_a_line(&error))
            }
            LinkOrder::AnswerRead { ticket, data } => self.answer_read(ticket, data),
        }
    }

    fn answer_read(&mut self, ticket: worker_protocol::ReadTicket, mut data: Bytes) -> Result<(), Ending> {
        data.truncate(ticket.max());
        self.session
            .answer_read(self.transport.broker(), ticket, data)
            .map_err(|error| format!("cannot answer its read: {error}"))
    }

    /// Gives the worker its builders, if it is to get new ones. While it runs a command for one that goes, they wait.
    fn give_builders(&mut self) -> Result<(), Ending> {
        let Some(builders) = &self.builders else { return Ok(()) };
        let list: Vec<(&str, &str)> =
            builders.iter().map(|builder| (&*builder.name, &*builder.dir)).collect();
        match self.session.set_builders(self.transport.broker(), &list) {
            Ok(()) => self.builders = None,
            Err(error @ (BuildersError::Busy { .. } | BuildersError::NotAttached)) => {
                debug!(error = &error as &dyn std::error::Error, "builders wait");
            }
            Err(error @ BuildersError::TooMany { .. }) if self.ready => {
                warn!(error = &error as &dyn std::error::Error, "worker keeps the builders it has");
                self.builders = None;
            }
            Err(error) => return Err(format!("cannot give it its builders: {error}")),
        }
        Ok(())
    }

    fn ping(&mut self, text: &str, asker: Asker) -> Result<(), Ending> {
        let limits = &self.shared.limits;
        let within = if matches!(asker, Asker::Core) { limits.probe } else { limits.pong };
        self.session.ping(self.transport.broker(), text).map_err(|error| causes::in_a_line(&error))?;
        self.pings.push_back(Ping { until: Instant::now() + within, asker });
        Ok(())
    }

    async fn pong(&mut self, well: bool) -> Result<(), Ending> {
        match self.pings.pop_front().map(|ping| ping.asker) {
            Some(Asker::Core) => {
                self.shared.report(Event::ProbeAnswered { session: self.place.id, alive: well }).await;
            }
            Some(Asker::Build(reply)) if well => {
                if reply.send(()).is_err() {
                    debug!("the build that asked does not wait any more");
                }
            }
            Some(Asker::Build(_) | Asker::Keepalive) if !well => {
                return Err("it answers a ping with an error".to_owned());
            }
            Some(Asker::Build(_) | Asker::Keepalive | Asker::Nobody) | None => {}
        }
        Ok(())
    }

    /// When something must be done even if nothing happens.
    fn wake(&self) -> Instant {
        let ping = self
            .pings
            .iter()
            .filter(|ping| !matches!(ping.asker, Asker::Nobody))
            .map(|ping| ping.until)
            .min();
        let keepalive = self.keepalive_at();
        let deadline = self.deadline.map(|(until, _)| until);
        [ping, keepalive, deadline]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + self.shared.limits.attach)
    }

    /// When the worker has been silent for so long that it is asked; not while it is being asked.
    fn keepalive_at(&self) -> Option<Instant> {
        if self.pings.iter().any(|ping| matches!(ping.asker, Asker::Keepalive)) {
            return None;
        }
        let interval = self.shared.credentials.borrow().keepalive(&self.identity)?;
        (!interval.is_zero()).then(|| self.heard + interval)
    }

    async fn look_at_the_clock(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if let Some((until, why)) = self.deadline
            && until <= now
        {
            return Err(why.to_owned());
        }
        let mut silent_probes = 0;
        for ping in &mut self.pings {
            if ping.until > now {
                continue;
            }
            match ping.asker {
                Asker::Core => {
                    ping.asker = Asker::Nobody;
                    silent_probes += 1;
                }
                Asker::Nobody => {}
                Asker::Keepalive | Asker::Build(_) => {
                    return Err(format!("no answer to a ping within {:?}", self.shared.limits.pong));
                }
            }
        }
        for _ in 0..silent_probes {
            self.shared.report(Event::ProbeAnswered { session: self.place.id, alive: false }).await;
        }
        if self.keepalive_at().is_some_and(|at| at <= now) {
            self.ping("keepalive", Asker::Keepalive)?;
        }
        Ok(())
    }
}

/// Why a connection ended by itself, for people.
fn ending(error: Option<TransportError>) -> Ending {
    match error {
        None => "it closed the connection".to_owned(),
        Some(error) => causes::in_a_line(&error),
    }
}
