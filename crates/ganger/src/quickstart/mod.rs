//! The first five minutes: everything that a build needs, in one directory, and one build. Or a pool, and many builds.
//!
//! The master and the worker are processes as a user would start them. They are told to end when this one does, also when
//! it is killed: each has a pipe as standard input that ends with us. The machines of a pool outlive their master, so they
//! are ended by name; if this process is killed, they end by themselves soon.

mod pool;
mod process;
mod project;
mod python;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use model::Results;
use secrecy::ExposeSecret;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};

use self::process::Child;
use crate::{
    commands::{CONFIGURATION, builds, log::Printer, new::write_new},
    control::{
        Build, BuildSelector, Builds, BuildsFilter, ChangeAdded, Client, LogEnd, LogSelector, NewChange,
        Nothing, Notification, Request, Shutdown, Status,
    },
    exit::{Exit, Failure},
    output::{self, faint, strong},
    password,
};

/// The name of the builder.
const BUILDER: &str = "hello";

/// How long the master may take to answer, and the worker to connect.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How often to look whether something has happened.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the user asks for.
pub(crate) struct Wishes {
    /// Show a pool, with so many requests.
    pub(crate) pool: Option<u32>,
    /// What the pool is, in place of processes of this machine.
    pub(crate) site: Option<PathBuf>,
    /// Where; a new directory when it does not matter.
    pub(crate) directory: Option<PathBuf>,
    /// End after the build.
    pub(crate) once: bool,
    /// The Python that the worker runs on.
    pub(crate) python: PathBuf,
    /// The version of buildbot-worker.
    pub(crate) worker_version: String,
}

/// Sets everything up, builds, and stops everything that it started.
pub(crate) async fn run(wishes: Wishes) -> Result<Exit, Failure> {
    let mut end = Signals::new()?;
    let mut running = Running::default();
    let once = wishes.once || wishes.pool.is_some();
    let show = async {
        match wishes.pool {
            Some(requests) => pool::show(wishes, requests, &mut running).await,
            None => show(wishes, &mut running).await,
        }
    };
    let outcome = tokio::select! {
        outcome = show => outcome,
        () = end.any() => Err(Failure::text(Exit::TryAgain, "interrupted")),
    };
    let outcome = match outcome {
        Ok(exit) if !once => tokio::select! {
            failure = running.watch() => Err(failure),
            () = end.any() => Ok(exit),
        },
        outcome => outcome,
    };
    running.stop().await?;
    outcome
}

/// The signals that end it: the terminal that is closed (HUP) like the others.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            // `nohup` means that all of this goes on without its terminal.
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// Waits for one of them.
    async fn any(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether this was started with HUP ignored, as Linux tells it.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// The processes that were started, and what is to be removed with them.
#[derive(Default)]
struct Running {
    directory: PathBuf,
    master: Option<Child>,
    worker: Option<Child>,
    /// Where machines live.
    machines: Option<PathBuf>,
    /// Nobody is to find the directory afterwards.
    remove: bool,
}

async fn show(wishes: Wishes, running: &mut Running) -> Result<Exit, Failure> {
    python::require_tools(&wishes.python, true).await?;
    let directory = scratch(wishes.directory)?;
    running.directory.clone_from(&directory);
    output::text(format_args!("{} {}", strong("Everything is made in"), directory.display()))?;

    step(1, 5, &format!("a virtual environment with buildbot-worker {} from PyPI", wishes.worker_version))?;
    let venv = python::make_venv(&directory, &wishes.python, &wishes.worker_version).await?;

    step(2, 5, "a Git repository with a small project")?;
    let project = project::make(&directory).await?;
    // A path is looked up from here, a bare name by the worker.
    let python = if wishes.python.components().count() > 1 {
        std::path::absolute(&wishes.python)?
    } else {
        wishes.python
    };

    step(3, 5, "a master")?;
    let port = free_port()?;
    let password = password::random::<16>()?;
    write_new(
        &directory.join(CONFIGURATION),
        &configuration(port, password.expose_secret(), &project.directory, &python),
    )?;
    running.master = Some(process::start_master(&directory)?);
    let mut client = wait_for_master(running).await?;

    step(4, 5, "a stock worker")?;
    python::make_worker(&venv, &directory, port, password.expose_secret()).await?;
    running.worker = Some(process::start_worker(&venv, &directory)?);
    wait_for_worker(running, &mut client).await?;

    step(5, 5, &format!("a change: commit {}", project.revision.get(..10).unwrap_or(&project.revision)))?;
    let change = NewChange {
        author: project.author.clone(),
        comments: project.comments.clone(),
        files: project.files.clone(),
        branch: Some(project::BRANCH.to_owned()),
        revision: Some(project.revision.clone()),
        repository: project.directory.display().to_string(),
        ..NewChange::default()
    };
    let _: ChangeAdded = client.call(&Request::ChangeAdd(Box::new(change))).await?;
    wait_for_build(running, &mut client).await?;

    let mut printer = Printer::new(true);
    let selector = LogSelector {
        build: BuildSelector::Number(BUILDER.to_owned(), 1),
        step: None,
        log: None,
        follow: true,
    };
    let end: LogEnd = client
        .stream(&Request::Log(selector), |notification| match notification {
            Notification::LogText(text) => printer.print(&text),
            Notification::Progress(_) | Notification::Decision(_) => Ok(()),
        })
        .await?;
    say_where(&directory, &end.build, wishes.once)?;
    match end.build.results.and_then(Results::from_code) {
        Some(Results::Success) => Ok(Exit::Ok),
        _ => Ok(Exit::NotSuccessful),
    }
}

fn step(number: u32, of: u32, what: &str) -> Result<(), Failure> {
    output::text(format_args!("{} {what}", strong(format!("[{number}/{of}]"))))
}

/// The directory to work in: new, or empty.
fn scratch(wanted: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let cannot = |error: anyhow::Error| Failure::new(Exit::CannotCreate, error);
    let Some(directory) = wanted else {
        let made = tempfile::Builder::new().prefix("ganger-quickstart-").tempdir();
        return Ok(made.context("cannot make a directory for temporary files").map_err(cannot)?.keep());
    };
    let shown = directory.display();
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {shown}")).map_err(cannot)?;
    let mut entries =
        std::fs::read_dir(&directory).with_context(|| format!("cannot read {shown}")).map_err(cannot)?;
    if entries.next().is_some() {
        return Err(Failure::text(Exit::CannotCreate, format!("{shown} is not empty"))
            .advise("name a directory that is not there yet, or none"));
    }
    Ok(directory.canonicalize()?)
}

/// A port that nobody listens on. It stays in the configuration, so that the worker finds the next master too.
fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port of 127.0.0.1 can be listened on")?;
    Ok(listener.local_addr()?.port())
}

fn configuration(port: u16, password: &str, project: &Path, python: &Path) -> String {
    // TOML's basic strings take what JSON's do.
    let quoted = |text: &Path| serde_json::Value::from(text.display().to_string()).to_string();
    let (project, python) = (quoted(project), quoted(python));
    format!(
        r#"# Made by `ganger quickstart`. `ganger check` says whether what you change is right, `ganger reload` makes it count.

[master]
title = "Quickstart"
listen = ["tcp:127.0.0.1:{port}"]

[[worker]]
name = "worker-1"
password = "{password}"

[[builder]]
name = "{BUILDER}"
workers = ["worker-1"]

[[builder.step]]
type = "Git"
repourl = {project}
branch = "{branch}"
mode = "incremental"
logEnviron = false

[[builder.step]]
type = "Compile"
command = [{python}, "-m", "compileall", "-f", "greeting"]
logEnviron = false

[[builder.step]]
type = "Test"
command = [{python}, "-m", "unittest", "--verbose"]
logEnviron = false

# Builds every change of the branch.
[[scheduler]]
type = "SingleBranchScheduler"
name = "changes"
branch = "{branch}"
builderNames = ["{BUILDER}"]

# Builds when somebody asks: `ganger force`.
[[scheduler]]
type = "ForceScheduler"
name = "force"
builderNames = ["{BUILDER}"]
"#,
        branch = project::BRANCH,
    )
}

async fn wait_for_master(running: &mut Running) -> Result<Client, Failure> {
    let socket = crate::commands::control_socket(&running.directory)?;
    let until = Instant::now() + START_WITHIN;
    loop {
        running.still_there()?;
        match Client::connect(&socket).await {
            Ok(client) => return Ok(client),
            Err(failure) if Instant::now() > until => return Err(failure),
            Err(_) => sleep(LOOK_AGAIN).await,
        }
    }
}

async fn wait_for_worker(running: &mut Running, client: &mut Client) -> Result<(), Failure> {
    let until = Instant::now() + START_WITHIN;
    loop {
        running.still_there()?;
        let status: Status = client.call(&Request::Status(Nothing {})).await?;
        if status.workers.iter().any(|worker| worker.connected) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Failure::text(Exit::Internal, "the worker does not connect")
                .advise(format!("its log is {}", running.directory.join("worker/twistd.log").display())));
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn wait_for_build(running: &mut Running, client: &mut Client) -> Result<(), Failure> {
    let until = Instant::now() + START_WITHIN;
    let filter = BuildsFilter { builder: Some(BUILDER.to_owned()), complete: None, limit: 1 };
    loop {
        running.still_there()?;
        let found: Builds = client.call(&Request::Builds(filter.clone())).await?;
        if !found.builds.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Failure::text(Exit::Internal, "the change is not built")
                .advise(format!("the master's log is {}", running.directory.join("master.log").display())));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn say_where(directory: &Path, build: &Build, once: bool) -> Result<(), Failure> {
    let at = directory.display();
    output::text("")?;
    output::text(builds::line(build, build.complete_at.unwrap_or(build.started_at)))?;
    output::text("")?;
    output::text(strong("Where everything is"))?;
    for (path, what) in [
        ("ganger.toml", "the configuration"),
        ("master.log", "what the master logs"),
        ("project", "the Git repository"),
        ("worker", "the worker's directory; its log is twistd.log"),
        ("venv", "the Python environment with the stock worker"),
    ] {
        output::text(format_args!("  {at}/{path:<12} {}", faint(what)))?;
    }
    output::text("")?;
    output::text(strong("What to try next"))?;
    let ganger = program();
    if once {
        output::text(format_args!("  {ganger} start {at} &  {}", faint("# the master again")))?;
        output::text(format_args!("  {at}/venv/bin/buildbot-worker start {at}/worker"))?;
    } else {
        output::text(faint("  in another terminal, as long as this one runs:"))?;
    }
    for (command, what) in [
        ("status", "workers, builders and what runs"),
        ("force --wait hello", "ask for a build and see how it goes"),
        ("log -f hello", "the log of the newest build"),
        ("build hello --properties", "all about it"),
        ("builds", "all builds"),
    ] {
        output::text(format_args!("  {ganger} {command} -C {at}  {}", faint(format!("# {what}"))))?;
    }
    output::text(format_args!("  $EDITOR {at}/{CONFIGURATION} && {ganger} reload -C {at}"))?;
    if !once {
        output::text("")?;
        output::text(format_args!("Master and worker run until {}.", strong("Ctrl-C")))?;
    }
    Ok(())
}

/// What to type to run this program.
fn program() -> String {
    let typed = std::env::args().next().unwrap_or_else(|| "ganger".to_owned());
    // `cargo run` hands over a path below the directory it was run in.
    if Path::new(&typed).components().count() > 1 {
        std::path::absolute(&typed).map_or(typed, |path| path.display().to_string())
    } else {
        typed
    }
}

impl Running {
    fn still_there(&mut self) -> Result<(), Failure> {
        for (child, what, log) in
            [(&mut self.master, "master", "master.log"), (&mut self.worker, "worker", "worker/twistd.log")]
        {
            if let Some(child) = child
                && let Some(status) = child.ended()?
            {
                let log = self.directory.join(log);
                let text = process::tail(&log);
                return Err(Failure::text(Exit::Internal, format!("the {what} ended with {status}\n{text}"))
                    .advise(format!("its log is {}", log.display())));
            }
        }
        Ok(())
    }

    /// Waits until one of the processes ends by itself.
    async fn watch(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.still_there() {
                return failure;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Stops what was started, the worker first and machines last.
    async fn stop(&mut self) -> Result<(), Failure> {
        let stopped = self.stop_processes().await;
        // A master that has ended starts no more of them; one that has not could.
        let ended = match self.machines.take() {
            Some(machines) => provider_local::end_all(&machines).await.map(drop),
            None => Ok(()),
        };
        if self.remove {
            let gone = std::fs::remove_dir_all(&self.directory);
            gone.with_context(|| format!("cannot remove {}", self.directory.display()))?;
        }
        ended.context("the machines of the pool cannot be ended")?;
        stopped
    }

    async fn stop_processes(&mut self) -> Result<(), Failure> {
        if self.master.is_none() && self.worker.is_none() {
            return Ok(());
        }
        let what = if self.worker.is_some() { "the worker and the master" } else { "the master" };
        // Perhaps nobody can read it any more, because the terminal is gone: all the more has to end.
        output::text(faint(format!("stopping {what}"))).ok();
        let worker = match self.worker.take() {
            Some(worker) => worker.stop().await,
            None => Ok(()),
        };
        if let Some(master) = self.master.take() {
            if let Ok(socket) = crate::commands::control_socket(&self.directory)
                && let Ok(mut client) = Client::connect(&socket).await
            {
                // A build that the worker took with it must not hold us up. When the master does not answer, the end
                // of its standard input tells it.
                let told: Result<Nothing, Failure> =
                    client.call(&Request::Shutdown(Shutdown { now: true })).await;
                tracing::debug!(told = told.is_ok(), "the master was told to end");
            }
            master.stop().await?;
        }
        worker
    }
}
