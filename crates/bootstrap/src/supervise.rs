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
    time::{Instant, interval, sleep, timeout},
};

use crate::{
    clean,
    document::{Clean, Document, DocumentError, LIMIT, Worker, split},
    enroll::{self, EnrollError},
    guard::{self, GuardError},
    metadata::{Metadata, MetadataError},
    options::Options,
    power, process,
    report::{ReportError, Reports},
    say,
    user::{User, UserError},
    worker::{self, WorkerError},
};

/// How long a worker may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(20);

/// How long the machine stays for somebody to read its console, once it is of no use.
const LINGER: Duration = Duration::from_secs(10);

/// How often the master is asked how it sees this machine.
const ASK: Duration = Duration::from_secs(30);

/// The most time that the workspace is emptied for.
const CLEANING: Duration = Duration::from_secs(300);

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
    let user = User::named(&options.user)?;
    let mut end = Ends::new().map_err(Trouble::Signals)?;
    let made = tokio::select! {
        made = prepare(options, user) => made,
        () = end.any() => return Ok(()),
    };
    let (document, worker, mut machine) = match made {
        Ok(made) => made,
        Err(error) => {
            // A machine that cannot become a worker only costs.
            say::line(format_args!("{}", say::causes(&error)));
            sleep(LINGER).await;
            power::off(&options.power_off, "it cannot become a worker");
            return Err(error);
        }
    };
    let reports = document.enroll.clone().map(|enroll| Reports { enroll, worker: worker.clone() });
    let mut watch = Watch::new(options, &document, reports);
    loop {
        if document.settings.clean != Clean::Never {
            empty(options).await;
        }
        let mut child = worker::start(options, user)?;
        let pid = child.id().unwrap_or_default();
        say::line(format_args!("the worker {} runs, as process {pid}", worker.name));
        ready();
        let begun = Instant::now();
        tokio::select! {
            status = child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                say::line(format_args!("the worker ended: {status}; it is started again"));
                sleep(if begun.elapsed() < Duration::from_secs(60) { LINGER } else { Duration::from_secs(1) }).await;
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
async fn prepare(options: &Options, user: User) -> Result<(Document, Worker, Option<Metadata>), Trouble> {
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
    Ok((document, worker, metadata))
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

/// Empties the workspace; what cannot be removed is told, and stays.
async fn empty(options: &Options) {
    let directory = options.directory.clone();
    let done = tokio::task::spawn_blocking(move || clean::remove(&clean::put_aside(&directory)?));
    match timeout(CLEANING, done).await {
        Ok(Ok(Ok(()))) => say::line(format_args!("the workspace is empty")),
        Ok(Ok(Err(error))) => say::line(format_args!("the workspace cannot be emptied: {error}")),
        Ok(Err(error)) => say::line(format_args!("the workspace cannot be emptied: {error}")),
        Err(_) => say::line(format_args!("the workspace is still being emptied")),
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

/// What the market says of this machine, by the path where it says it.
const NOTICES: [&str; 2] = ["meta-data/spot/instance-action", "meta-data/events/recommendations/rebalance"];

/// Looks at the machine while its worker runs.
struct Watch<'a> {
    options: &'a Options,
    port: u16,
    silence: Option<Duration>,
    clean: Clean,
    reports: Option<Reports>,
    /// When the master was last heard, or a build last ran.
    heard: Instant,
    /// When the master was last asked how it sees this machine.
    asked: Instant,
    /// Notices that the master was told.
    told: [bool; NOTICES.len()],
    /// Builds that had ended when the workspace was last emptied.
    cleaned_at: u64,
}

impl<'a> Watch<'a> {
    fn new(options: &'a Options, document: &Document, reports: Option<Reports>) -> Self {
        let silence = document.settings.silence;
        Self {
            options,
            port: split(&document.master.address).map_or(0, |(_, port)| port),
            silence: (silence > 0).then(|| Duration::from_secs(silence.into())),
            clean: document.settings.clean,
            reports,
            heard: Instant::now(),
            asked: Instant::now(),
            told: [false; NOTICES.len()],
            cleaned_at: 0,
        }
    }

    /// Waits until the machine is to end; says why.
    async fn until_gone(&mut self, pid: u32, mut metadata: Option<&mut Metadata>) -> &'static str {
        let mut looks = interval(Duration::from_secs(self.options.look));
        loop {
            looks.tick().await;
            if let Some(metadata) = metadata.as_deref_mut() {
                self.notices(metadata).await;
            }
            // Time that passes while the machine is suspended does not count: `Instant` stands still then.
            if process::is_connected(pid, self.port) || process::has_children(pid) {
                self.heard = Instant::now();
            } else if self.silence.is_some_and(|silence| self.heard.elapsed() > silence) {
                return "it has had no master for too long, and nothing is built";
            }
            if self.wants_cleaning()
                && self.asked.elapsed() > ASK.min(Duration::from_secs(6 * self.options.look))
            {
                self.asked = Instant::now();
                if let Err(error) = self.clean_when_idle().await {
                    say::line(format_args!("{}", say::causes(&error)));
                }
            }
        }
    }

    fn wants_cleaning(&self) -> bool {
        self.clean == Clean::Idle || self.options.min_free > 0
    }

    /// Empties the workspace when there is reason to, and no build.
    async fn clean_when_idle(&mut self) -> Result<(), ReportError> {
        let Some(reports) = &self.reports else { return Ok(()) };
        let Some(seen) = reports.seen().await? else { return Ok(()) };
        let is_full = self.options.min_free > 0
            && process::free(&self.options.directory).is_some_and(|free| free < self.options.min_free);
        let is_used = self.clean == Clean::Idle && seen.builds > self.cleaned_at;
        if seen.state != "idle" || !(is_full || is_used) {
            return Ok(());
        }
        if !reports.pause(CLEANING + ASK, "its workspace is emptied").await? {
            return Ok(());
        }
        empty(self.options).await;
        self.cleaned_at = seen.builds;
        reports.resume().await
    }

    /// Passes on what the market says.
    async fn notices(&mut self, metadata: &mut Metadata) {
        let Some(reports) = &self.reports else { return };
        for (path, told) in NOTICES.iter().zip(&mut self.told) {
            if *told {
                continue;
            }
            // That it cannot be asked now is nothing to act on.
            let Ok(Some(text)) = metadata.text(path).await else { continue };
            let Some(warning) = warning(&text) else { continue };
            say::line(format_args!("the market warns: {warning}"));
            match reports.warn(warning).await {
                Ok(()) => *told = true,
                Err(error) => say::line(format_args!("the master is not told: {}", say::causes(&error))),
            }
        }
    }
}

/// What the master is told of a notice.
fn warning(notice: &str) -> Option<serde_json::Value> {
    let notice: serde_json::Value = serde_json::from_str(notice).ok()?;
    match (notice.get("action"), notice.get("time"), notice.get("noticeTime")) {
        (Some(_), Some(serde_json::Value::String(time)), _) => {
            Some(serde_json::json!({"kind": "interruption", "at": time}))
        }
        (_, _, Some(_)) => Some(serde_json::json!({"kind": "rebalance"})),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_of_the_market_become_warnings() {
        let spot = r#"{"action": "terminate", "time": "2026-11-30T12:00:00Z"}"#;
        assert_eq!(warning(spot).unwrap()["at"], "2026-11-30T12:00:00Z");
        assert_eq!(warning(r#"{"noticeTime": "2026-11-30T12:00:00Z"}"#).unwrap()["kind"], "rebalance");
        assert_eq!(warning("<html>"), None);
        assert_eq!(warning("{}"), None);
    }
}
