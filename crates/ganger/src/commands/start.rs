//! `ganger start`: the master itself, with its signals.

use std::{
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use change_sources::ChangeSources;
use clap::Args;
use config::{Config, Database, Diagnostics, PoolProvider, Severity};
use engine::{
    Clock, NoticeSender, SystemClock,
    enroll::Registrar,
    master::{self, Limits, Parts, Workshop},
    worker::{self, Credentials, Sessions},
};
use pools::{Origin, State, pools::InstanceStatus};
use storage::Store;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use super::{LogFormat, check::configuration_file, log_to_stderr};
use crate::{
    control::{Ending, House, Server},
    desk::ChangeDesk,
    enrollment,
    exit::{Exit, Failure},
    janitor,
    local_workers::{self, LocalWorkers},
    output,
    providers::{EnrollPoint, Suppliers},
};

/// What connections may have to tell before they wait for the master.
const REPORTS: usize = 1024;

/// How long connections may take over their end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Run the master of a directory in the foreground.
///
/// HUP reads the configuration again. TERM and INT start no more builds, wait for those that run and end; the second one
/// ends at once. A build that is cut off is built again by the next master.
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// The directory with the ganger.toml, or the file itself.
    #[arg(value_name = "DIR", default_value = ".")]
    path: PathBuf,

    /// How log lines on standard error look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,

    /// How many seconds running builds have after TERM or INT.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    grace: u64,

    /// End at once when standard input does: for a program that starts a master and may be killed.
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

impl Start {
    /// Runs until it is told to end.
    pub(crate) fn run(&self, verbose: u8) -> Result<Exit, Failure> {
        log_to_stderr(verbose, self.log_format, "info");
        let file = std::path::absolute(configuration_file(&self.path))?;
        let config = match config::load(&file) {
            Ok(loaded) => {
                self.tell(&loaded.warnings)?;
                loaded.config
            }
            Err(errors) => {
                self.tell(&errors.errors)?;
                self.tell(&errors.warnings)?;
                return Err(Failure::text(Exit::Usage, errors).advise(match file.try_exists() {
                    Ok(true) => "mend it and start again; `ganger check` says what is left".to_owned(),
                    _ => format!("make one with `ganger new {}`", self.path.display()),
                }));
            }
        };
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.serve(file, config))
    }

    /// Says what is wrong with the configuration: over its lines for people, as log lines for programs.
    fn tell(&self, found: &Diagnostics) -> Result<(), Failure> {
        if found.is_empty() {
            return Ok(());
        }
        match self.log_format {
            LogFormat::Text => output::note(found.render(output::stderr_has_colours()).trim_end())?,
            LogFormat::Json => {
                for one in found {
                    let (file, line, column, help) = (&one.file, one.line, one.column, one.help.as_deref());
                    match one.severity {
                        Severity::Error => error!(file, line, column, help, "{}", one.message),
                        Severity::Warning => warn!(file, line, column, help, "{}", one.message),
                    }
                }
            }
        }
        Ok(())
    }

    async fn serve(&self, file: PathBuf, mut config: Config) -> Result<Exit, Failure> {
        let local_workers = LocalWorkers::default();
        local_workers.let_in(&mut config)?;
        let config = Arc::new(config);
        // First of all, so that no signal finds the usual, sudden end.
        let signals = Signals::new()?;
        // A second master of the same directory ends here, before it touches anything.
        let control = Server::bind(&config.master.control_socket).map_err(|error| {
            Failure::new(Exit::TryAgain, error)
                .advise("`ganger status` and `ganger shutdown` talk to a master that runs")
        })?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let started_at = clock.now();
        let store = open(&config, &clock).await?;

        let (credentials, known) = watch::channel(Arc::new(Credentials::new(&config)));
        let (in_force, current) = watch::channel(Arc::clone(&config));
        let (sender, reports) = mpsc::channel(REPORTS);
        let (connections, stop) = (Workers::new(), CancellationToken::new());
        let limits = worker::Limits::default();
        let (sessions, doors, listen) = Sessions::bind(
            &config.master.listen,
            known,
            sender,
            limits,
            &connections.tasks,
            connections.stop.clone(),
        )
        .await
        .map_err(cannot_listen)?;
        let web = match &config.master.web {
            Some(at) => Some(web::Server::bind(&at.host, at.port).await.map_err(cannot_listen)?),
            None => None,
        };
        let (enroll, point) = match &config.master.enroll {
            Some(at) => {
                let face = enrollment::face(&config, at)?;
                let keys = enrollment::keys(at)?;
                let server = web::Server::bind(&at.host, at.port).await.map_err(cannot_listen)?;
                let bound = server.address();
                let bound = (!bound.ip().is_unspecified()).then(|| bound.to_string());
                let address = at.address.clone().or(bound);
                info!(address, fingerprint = face.fingerprint, "machines are told to enroll here");
                let fingerprint = face.fingerprint;
                let point = address.map(|address| EnrollPoint { address, fingerprint });
                (Some((server, face.tls, keys, at.aws_accounts.clone())), point)
            }
            None => (None, None),
        };
        let registering = sessions.clone();
        let notices = NoticeSender::new();
        let runner = Workshop {
            sessions: sessions.clone(),
            store: store.clone(),
            notices: notices.clone(),
            clock: Arc::clone(&clock),
            config: current.clone(),
        };
        let suppliers =
            Suppliers { deployment: store.deployment().to_owned(), listen: listen.clone(), enroll: point };
        let here = suppliers.here();
        let parts = Parts {
            config: Arc::clone(&config),
            clock: Arc::clone(&clock),
            reports,
            connections: Arc::new(sessions),
            runner: Arc::new(runner),
            providers: Arc::new(suppliers),
            notices,
            tasks: connections.tasks.clone(),
            stop: stop.clone(),
            limits: Limits::default(),
        };
        let (master, owner) = master::start(&store, parts).await.map_err(|error| {
            Failure::new(
                Exit::TryAgain,
                anyhow::Error::new(error).context("cannot take up what the database holds"),
            )
        })?;
        let mut owner = tokio::spawn(owner.run());
        // Machines of pools come back as soon as they can: what they have to prove is known once this is answered.
        if master.pools().await.is_ok() {
            doors.open();
        }

        let (ending, mut wishes) = watch::channel(Ending::Not);
        let web_address = web.as_ref().map(|server| format!("http://{}/", server.address()));
        let stop_control = CancellationToken::new();
        let enroll = enroll.map(|(server, tls, keys, accounts)| {
            let registrar = Registrar { master: master.clone(), sessions: registering, keys, accounts };
            tokio::spawn(server.enroll(registrar, tls, stop_control.clone()))
        });
        let telling = web::House { master: master.clone(), version: env!("CARGO_PKG_VERSION"), started_at };
        let desk = Arc::new(ChangeDesk { master: master.clone(), store: store.clone() });
        let sources = tokio::spawn(ChangeSources::new(desk).run(current, stop_control.clone()));
        let house = House {
            master,
            store: store.clone(),
            config: in_force,
            credentials,
            local_workers,
            clock,
            file,
            listen,
            web: web_address,
            started_at,
            ending,
        };
        let house = Arc::new(house);
        let control = tokio::spawn(control.serve(Arc::clone(&house), stop_control.clone()));
        let web = web.map(|server| tokio::spawn(server.serve(telling, stop_control.clone())));
        let (stop_local, in_force) = (CancellationToken::new(), house.config.subscribe());
        let local = tokio::spawn(local_workers::run(in_force, here, stop_local.clone()));
        let janitor = tokio::spawn(janitor::run(Arc::clone(&house), house.config.subscribe()));
        let listener = tokio::spawn(signals.listen(Arc::clone(&house)));
        if self.end_with_stdin {
            end_with_stdin(Arc::clone(&house));
        }
        info!(
            title = config.master.title,
            version = house.version(),
            control = %config.master.control_socket.display(),
            "the master runs"
        );

        let mut left = Vec::new();
        let ended = tokio::select! {
            () = self.wait_for_end(&house, &mut wishes) => {
                left = left_behind(&house).await;
                stop.cancel();
                owner.await
            }
            ended = &mut owner => ended,
        };
        connections.end().await;
        stop_local.cancel();
        local.await?;
        listener.abort();
        janitor.abort();
        stop_control.cancel();
        sources.await?;
        control.await?;
        for server in web.into_iter().chain(enroll) {
            server.await?;
        }
        store.close().await;
        ended??;
        info!("the master has ended");
        for machines in left {
            info!("{machines}");
        }
        Ok(Exit::Ok)
    }

    /// Waits until the master is to end, and then for running builds, as long as that is wanted.
    async fn wait_for_end(&self, house: &House, wishes: &mut watch::Receiver<Ending>) {
        if wishes.wait_for(|ending| *ending != Ending::Not).await.is_err() || *wishes.borrow() == Ending::Now
        {
            return;
        }
        info!(grace_s = self.grace, "ending: no build is started any more, and those that run may finish");
        let drained = async {
            house.master.drain().await?;
            house.master.drained().await
        };
        tokio::select! {
            drained = timeout(Duration::from_secs(self.grace), drained) => match drained {
                Ok(Ok(())) => {}
                Ok(Err(error)) => error!(error = &error as &dyn std::error::Error, "cannot wait for running builds"),
                Err(_) => warn!("builds that still run are cut off, and built again by the next master"),
            },
            _ = wishes.wait_for(|ending| *ending == Ending::Now) => info!("ending at once"),
        }
    }
}

/// What is to be said of machines that go on without a master: a line for each pool that has some.
async fn left_behind(house: &House) -> Vec<String> {
    let config = Arc::clone(&house.config.borrow());
    // A master that does not answer says nothing of machines either.
    let pools = house.master.pools().await.unwrap_or_default();
    let lines = pools.iter().filter_map(|status| {
        let silence = match &config.pools.iter().find(|pool| pool.spec.name == status.name)?.provider {
            PoolProvider::Local(local) => local.silence,
            PoolProvider::Docker(template) => template.silence,
            PoolProvider::Ec2(template) => template.silence,
        };
        let goes_on = |one: &&InstanceStatus| {
            let is_ending = matches!(one.state, State::Terminating | State::Stopping | State::Stopped);
            one.origin == Origin::Hired && one.provider_id.is_some() && !is_ending
        };
        let name = &status.name;
        let (machines, end, taken_up) = match status.instances.iter().filter(goes_on).count() {
            0 => return None,
            1 => (format!("1 machine of pool {name} goes on"), "it ends by itself", "is taken up"),
            n => (format!("{n} machines of pool {name} go on"), "they end by themselves", "are taken up"),
        };
        if silence.is_zero() {
            return Some(format!("{machines}, to be taken up at the next start"));
        }
        let silence = output::span(i64::try_from(silence.as_secs()).unwrap_or(i64::MAX));
        Some(format!("{machines}; {end} after {silence} without a master, or {taken_up} at the next start"))
    });
    lines.collect()
}

/// Connections, which outlive the master: builds that are cut off still have to tell their workers.
struct Workers {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Workers {
    fn new() -> Self {
        Self { tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(CLOSE_WITHIN, self.tasks.wait()).await.is_err() {
            warn!(tasks = self.tasks.len(), "connections are still open, and are cut off");
        }
    }
}

/// An address cannot be had.
fn cannot_listen(error: impl Into<anyhow::Error>) -> Failure {
    let failure = Failure::new(Exit::TryAgain, error);
    if failure.is_io(io::ErrorKind::AddrInUse) {
        failure.advise("is the port in use by another master?")
    } else {
        failure
    }
}

/// Opens the database. Its master is named as Buildbot would name it.
async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Store, Failure> {
    let location = location(&config.master);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let options = storage::Options::new(format!("{host}:{}", config.base_dir.display()), clock.now());
    let shown = location.to_string();
    tokio::task::spawn_blocking(move || Store::open(location, options))
        .await?
        .with_context(|| format!("cannot open the database {shown}"))
        .map_err(|error| Failure::new(Exit::TryAgain, error))
}

fn location(master: &config::Master) -> storage::Location {
    match master.database.clone() {
        Database::Sqlite(path) => path.into(),
        Database::Server(server) => storage::Server {
            host: server.host,
            port: server.port,
            user: server.user,
            database: server.database,
            password: master.database_password.clone(),
            root_certificate: server.root_certificate,
        }
        .into(),
    }
}

/// The signals that the master listens to.
struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn listen(mut self, house: Arc<House>) {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => reload(&house).await,
                Some(()) = self.interrupt.recv() => end(&house),
                Some(()) = self.terminate.recv() => end(&house),
                else => return,
            }
        }
    }
}

fn end(house: &House) {
    let already = *house.ending.borrow() != Ending::Not;
    house.end(if already { Ending::Now } else { Ending::Drain });
}

async fn reload(house: &House) {
    match house.reload().await {
        Ok(reloaded) => {
            if !reloaded.warnings.is_empty() {
                warn!("{}", reloaded.warnings);
            }
            info!(changes = reloaded.changes.len(), "the configuration was read again and is in use");
            for change in reloaded.changes {
                info!(change, "configuration changed");
            }
        }
        Err(refusal) => error!("{}", refusal.message),
    }
}

/// Ends the master when whoever started it is gone. Reading standard input cannot be given up, so a thread of its own
/// does it.
fn end_with_stdin(house: Arc<House>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        house.end(Ending::Now);
    });
}
