//! From the machine's first look at its metadata to its end.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use tokio::{
    process::Child,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep, timeout},
};

use crate::{
    document::{Clean, Document, DocumentError, LIMIT, Worker},
    enroll::{self, EnrollError},
    guard::{self, GuardError},
    metadata::{Metadata, MetadataError},
    options::Options,
    power,
    report::Reports,
    say,
    user::{User, UserError},
    watch::Watch,
    worker::{self, WorkerError},
};

/// How long a worker may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(20);

/// How long a worker is left alone that ended right after its start.
const PAUSE: Duration = Duration::from_secs(10);

/// Why this machine is no worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("cannot read {0}")]
    File(String, #[source] io::Error),
    #[error("the document in {0} is longer than {LIMIT} bytes")]
    Long(String),
    #[error("the instance has no user data: only its pool can start it")]
    NoUserData,
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// Makes this machine a worker, and watches it until it is to end.
pub(crate) async fn run(options: &Options) -> Result<(), Trouble> {
    let mut end = Ends::new().map_err(Trouble::Signals)?;
    let made = tokio::select! {
        made = prepare(options) => made,
        () = end.any() => return Ok(()),
    };
    let (user, document, worker, mut machine) = match made {
        Ok(made) => made,
        Err(error) => return Err(give_up(options, error).await),
    };
    let reports = document.enroll.clone().map(|enroll| Reports { enroll, worker: worker.clone() });
    let mut watch = Watch::new(options, user, &document, reports);
    loop {
        if document.settings.clean != Clean::Never {
            watch.empty().await;
        }
        let mut child = match worker::start(options, user) {
            Ok(child) => child,
            Err(error) => return Err(give_up(options, error.into()).await),
        };
        let pid = child.id().unwrap_or_default();
        say::line(format_args!("the worker {} runs, as process {pid}", worker.name));
        ready();
        let begun = Instant::now();
        tokio::select! {
            status = child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                say::line(format_args!("the worker ended: {status}; it is started again"));
                sleep(if begun.elapsed() < Duration::from_secs(60) { PAUSE } else { Duration::from_secs(1) }).await;
            }
            why = watch.until_gone(pid, machine.as_mut()) => {
                stop(&mut child).await;
                power::off(&options.power_off, why);
                return Ok(());
            }
            () = end.any() => {
                stop(&mut child).await;
                return Ok(());
            }
        }
    }
}

/// Learns who this machine is, and makes everything ready for its worker.
/// A machine that cannot become a worker only costs.
async fn give_up(options: &Options, trouble: Trouble) -> Trouble {
    say::line(format_args!("{}", say::causes(&trouble)));
    sleep(Duration::from_secs(options.linger)).await;
    power::off(&options.power_off, "it cannot become a worker");
    trouble
}

async fn prepare(options: &Options) -> Result<(User, Document, Worker, Option<Metadata>), Trouble> {
    let user = User::named(&options.user)?;
    let (document, mut metadata, machine) = match &options.document {
        Some(path) => {
            let shown = path.display().to_string();
            let failed = |error| Trouble::File(shown.clone(), error);
            if std::fs::metadata(path).map_err(failed)?.len() > LIMIT as u64 {
                return Err(Trouble::Long(shown));
            }
            let text = std::fs::read(path).map_err(failed)?;
            let machine = std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned();
            (Document::parse(&text)?, None, machine)
        }
        None => {
            let mut metadata = Metadata::new(&options.metadata)?;
            metadata.wait().await?;
            let machine = metadata.text("meta-data/instance-id").await?.unwrap_or_default();
            let data = metadata.get("user-data").await?.ok_or(Trouble::NoUserData)?;
            (Document::parse(&data)?, Some(metadata), machine.trim().to_owned())
        }
    };
    say::line(format_args!("{machine} is a machine of the pool {}", document.pool));
    let worker = match (&document.worker, &document.enroll) {
        (Some(worker), _) => worker.clone(),
        (None, Some(to)) => match enroll::kept(&options.state, &machine, &document) {
            Some(worker) => worker,
            None => {
                let within = Duration::from_secs(options.enroll_within);
                let worker = enroll::enroll(&document, to, Some(&machine), metadata.as_mut(), within).await?;
                enroll::keep(&options.state, &machine, &document, &worker)?;
                say::line(format_args!("enrolled as {}", worker.name));
                worker
            }
        },
        // `Document::parse` takes none like that.
        (None, None) => return Err(DocumentError::Nothing.into()),
    };
    if let Some(metadata) = &metadata
        && !options.allow_metadata
    {
        guard::forbid(user, metadata.address())?;
    }
    worker::furnish(&options.directory, user, &document, &worker, &machine)?;
    Ok((user, document, worker, metadata))
}

async fn stop(child: &mut Child) {
    if let Some(pid) = child.id() {
        // `kill` of the system: this program has no unsafe code.
        std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status().ok();
    }
    if timeout(GRACE, child.wait()).await.is_err() {
        child.kill().await.ok();
    }
}

/// Tells systemd that the worker runs, where it wants to know.
fn ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let Some(path) = path.to_str() else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    };
    let sent = address.and_then(|address| {
        UnixDatagram::unbound()?.send_to_addr(b"READY=1\nSTATUS=the worker runs", &address)
    });
    if let Err(error) = sent {
        say::line(format_args!("systemd cannot be told that the worker runs: {error}"));
    }
}

/// The signals that end this program; the machine goes on.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
