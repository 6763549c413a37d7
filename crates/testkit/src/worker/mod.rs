//! Stock Buildbot workers of every generation, as processes.

mod kind;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

pub use self::kind::{Selected, WorkerKind};
use crate::venv::Venv;

/// How a worker process is set up.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The master's host.
    pub host: String,
    /// The master's port.
    pub port: u16,
    /// Name it logs in with.
    pub name: String,
    /// Password it logs in with.
    pub password: String,
    /// Seconds between its keepalives.
    pub keepalive: u32,
    /// It may be asked to shut down by SIGHUP; not before 0.8.3.
    pub graceful_shutdown: bool,
    /// A Twisted endpoint in place of host and port, for TLS; since 1.0.
    pub connection_string: Option<String>,
    /// Files of its `info` directory: name and contents.
    pub info: Vec<(String, Vec<u8>)>,
    /// More environment variables.
    pub environment: Vec<(String, OsString)>,
    /// A Python file that its configuration runs last.
    pub hook: Option<PathBuf>,
}

impl WorkerOptions {
    /// A worker of the master at this port of the local machine.
    pub fn new(port: u16, name: &str, password: &str) -> Self {
        Self {
            host: "127.0.0.1".into(),
            port,
            name: name.into(),
            password: password.into(),
            keepalive: 600,
            graceful_shutdown: false,
            connection_string: None,
            info: vec![
                ("admin".into(), b"Ganger's tests <tests@example.org>\n".to_vec()),
                ("host".into(), b"made for one test\n".to_vec()),
            ],
            environment: Vec::new(),
            hook: None,
        }
    }
}

/// A stock worker that runs. It is stopped, with its commands, when this is dropped; its files go away too.
#[derive(Debug)]
pub struct StockWorker {
    kind: WorkerKind,
    child: Child,
    basedir: TempDir,
}

impl StockWorker {
    /// Starts a worker. It connects by itself, again and again, until a master takes it.
    ///
    /// # Errors
    ///
    /// Its files cannot be written or its process cannot be started.
    pub fn start(kind: WorkerKind, venv: &Venv, options: &WorkerOptions) -> anyhow::Result<Self> {
        let basedir = tempfile::Builder::new()
            .prefix(&format!("{}-", kind.name))
            .tempdir()
            .context("no directory for a worker")?;
        let child = Self::spawn(kind, venv, options, basedir.path())?;
        Ok(Self { kind, child, basedir })
    }

    fn spawn(
        kind: WorkerKind,
        venv: &Venv,
        options: &WorkerOptions,
        basedir: &Path,
    ) -> anyhow::Result<Child> {
        let info = basedir.join("info");
        fs::create_dir_all(&info).context("no info directory for a worker")?;
        for (name, contents) in &options.info {
            fs::write(info.join(name), contents).with_context(|| format!("cannot write info/{name}"))?;
        }
        fs::write(basedir.join("buildbot.tac"), configuration(kind, options, basedir)?)
            .context("cannot write a worker's configuration")?;
        let output = File::create(basedir.join("output")).context("no file for a worker's output")?;
        venv.command("twistd")
            .args(["-ny", "buildbot.tac", "--pidfile=", "--logfile=twistd.log"])
            .current_dir(basedir)
            .envs(options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(output.try_clone().context("no second handle of a worker's output")?)
            .stdout(output)
            // A signal for the tests must not reach the worker before they are done with it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start a worker: {}", venv.program("twistd").display()))
    }

    /// Which release it is.
    pub fn kind(&self) -> WorkerKind {
        self.kind
    }

    /// Its base directory.
    pub fn basedir(&self) -> &Path {
        self.basedir.path()
    }

    /// All it has written: its log, and what went to its output.
    pub fn log(&self) -> String {
        let mut text = String::new();
        for name in ["output", "twistd.log"] {
            // A file that is not there yet is an empty log.
            let bytes = fs::read(self.log_path(name)).unwrap_or_default();
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        text
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.basedir.path().join(name)
    }

    /// Its exit status, when it has ended.
    ///
    /// # Errors
    ///
    /// The system cannot say.
    pub fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("a worker cannot be waited for")
    }

    /// Waits until it has ended by itself; blocks the thread.
    ///
    /// # Errors
    ///
    /// It still runs after `limit`; the message holds its log.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "the worker still runs after {limit:?}; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends its process a signal: SIGHUP asks for a graceful shutdown, SIGSTOP freezes it, SIGCONT wakes it,
    /// SIGKILL ends it at once.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a strange process id")?;
        kill_process(pid, signal).context("cannot signal a worker")
    }

    /// Stops it as its owner would, and kills it when that takes too long.
    fn stop(&mut self) -> anyhow::Result<()> {
        if self.exited()?.is_none() {
            // A frozen one would not hear the signal. It kills the commands it runs before it ends.
            self.signal(Signal::CONT)?;
            self.signal(Signal::TERM)?;
            if self.wait(Duration::from_secs(5)).is_err() {
                self.child.kill().context("cannot kill a worker")?;
                self.child.wait().context("a worker cannot be waited for")?;
            }
        }
        Ok(())
    }
}

impl Drop for StockWorker {
    fn drop(&mut self) {
        let stopped = self.stop();
        // A test that fails already says more than this would.
        if !std::thread::panicking() {
            assert!(stopped.is_ok(), "a worker could not be stopped: {stopped:?}");
        }
    }
}

/// The text of `buildbot.tac`.
fn configuration(kind: WorkerKind, options: &WorkerOptions, basedir: &Path) -> anyhow::Result<String> {
    let basedir = basedir.to_str().context("a directory whose name is not UTF-8")?;
    let (module, class) =
        if kind.is_slave() { ("buildslave.bot", "BuildSlave") } else { ("buildbot_worker.bot", "Worker") };
    let mut text = format!("from twisted.application import service\nfrom {module} import {class}\n");
    let (host, port) = match &options.connection_string {
        Some(_) => ("None".to_owned(), "None".to_owned()),
        None => (python_string(&options.host)?, options.port.to_string()),
    };
    write!(
        text,
        "application = service.Application('worker')\nworker = {class}({host}, {port}, {}, {}, {}, {}",
        python_string(&options.name)?,
        python_string(&options.password)?,
        python_string(basedir)?,
        options.keepalive,
    )?;
    if kind.is_slave() {
        // The oldest drop a silent connection, and insist on a grace that is shorter than the interval.
        write!(text, ", False, keepaliveTimeout={}", (options.keepalive / 2).min(30))?;
    }
    if options.graceful_shutdown {
        text.push_str(", allow_shutdown='signal'");
    }
    if let Some(endpoint) = &options.connection_string {
        write!(text, ", connection_string={}", python_string(endpoint)?)?;
    }
    text.push_str(")\nworker.setServiceParent(application)\n");
    if let Some(hook) = &options.hook {
        let hook = hook.to_str().context("a hook whose name is not UTF-8")?;
        writeln!(text, "exec(compile(open({0}).read(), {0}, 'exec'))", python_string(hook)?)?;
    }
    Ok(text)
}

/// The same literal for Python 2 and 3, so ASCII only.
fn python_string(text: &str) -> anyhow::Result<String> {
    ensure!(
        text.is_ascii(),
        "{text:?} is not ASCII, which no worker's configuration of both Pythons can hold"
    );
    let mut literal = String::from("'");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_./:= ,@%+~".contains(&byte) {
            literal.push(byte.into());
        } else {
            write!(literal, "\\x{byte:02x}")?;
        }
    }
    literal.push('\'');
    Ok(literal)
}
