//! A master of either kind with its stock worker, and what they leave behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use regex::Regex;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};
use testkit::venv::{Found, Venv};
use testkit::worker::{StockWorker, WorkerKind, WorkerOptions};

use crate::cases::{Cases, PASSWORD, directory};
use crate::observed::Observer;
use crate::repository::home;
use crate::tables;

/// Long enough for a program to start on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A master that runs, with a worker. They end with the value.
pub(crate) struct Master {
    name: &'static str,
    directory: PathBuf,
    process: Child,
    worker: Option<StockWorker>,
}

impl Master {
    /// A stock Buildbot, which forces the builds by itself.
    pub(crate) fn buildbot(scratch: &Path, cases: &Cases) -> anyhow::Result<Self> {
        let Found::Ready(venv) = Venv::find("master-4.3.0")? else { bail!("no stock master") };
        let directory = scratch.join("buildbot");
        let made = venv
            .command("buildbot")
            .args(["create-master", "--quiet", "--relocatable", "--no-logrotate"])
            .arg(&directory)
            .output()?;
        ensure!(made.status.success(), "create-master: {}", String::from_utf8_lossy(&made.stderr));
        fill(&directory)?;
        fs::copy(crate::cases::directory().join("buildbot/master.cfg"), directory.join("master.cfg"))?;
        fs::write(directory.join("cases.json"), cases.for_buildbot().to_string())?;
        let mut command = venv.command("twistd");
        command.args(["--nodaemon", "--python=buildbot.tac", "--pidfile=", "--logfile=twistd.log"]);
        let mut master = Self::start("Buildbot", directory, command)?;
        let port = Regex::new(r"PBServerFactory starting on (\d+)")?;
        let port = master.eventually("it listens", START, |master| {
            let log = fs::read_to_string(master.directory.join("twistd.log")).unwrap_or_default();
            ensure!(!log.contains("Configuration Errors"), "its configuration is refused");
            Ok(port.captures(&log).and_then(|found| found[1].parse().ok()))
        })?;
        master.work(scratch, port)?;
        Ok(master)
    }

    /// Ganger, told by its command line to build.
    pub(crate) fn ganger(scratch: &Path, cases: &Cases) -> anyhow::Result<Self> {
        let directory = scratch.join("ganger");
        fs::create_dir(&directory)?;
        fill(&directory)?;
        fs::write(directory.join("ganger.toml"), cases.for_ganger())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
        command.args(["start", "."]);
        let mut master = Self::start("Ganger", directory, command)?;
        let port = master.eventually("it listens", START, |master| {
            let output = master.command(&["status", "--json"])?;
            if !output.status.success() {
                return Ok(None);
            }
            let status: Value = serde_json::from_slice(&output.stdout)?;
            let address =
                status["master"]["listen"][0].as_str().and_then(|address| address.rsplit(':').next());
            Ok(address.and_then(|port| port.parse().ok()))
        })?;
        for (builder, build) in cases.builds() {
            master.force(builder, build)?;
        }
        for change in &cases.changes {
            master.change(change)?;
        }
        master.work(scratch, port)?;
        Ok(master)
    }

    fn start(name: &'static str, directory: PathBuf, mut command: Command) -> anyhow::Result<Self> {
        let output = File::create(directory.join("output"))?;
        let process = command
            .current_dir(&directory)
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name, directory, process, worker: None })
    }

    fn work(&mut self, scratch: &Path, port: u16) -> anyhow::Result<()> {
        let options = WorkerOptions {
            environment: vec![("HOME".into(), home(scratch)?.into())],
            hook: Some(directory().join("record.py")),
            ..WorkerOptions::new(port, "w", PASSWORD)
        };
        let kind = WorkerKind::NEWEST;
        self.worker = Some(StockWorker::start(kind, &kind.venv()?, &options)?);
        Ok(())
    }

    fn command(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
        Ok(command.args(args).current_dir(&self.directory).stdin(Stdio::null()).output()?)
    }

    fn force(&self, builder: &str, build: &Map<String, Value>) -> anyhow::Result<()> {
        let args = ["force".into(), builder.into(), "--owner=tester".into()];
        self.told(args.into_iter().chain(build.iter().flat_map(|(key, value)| options(key, value))).collect())
    }

    fn change(&self, change: &Map<String, Value>) -> anyhow::Result<()> {
        let args = change.iter().flat_map(|(key, value)| options(key, value));
        self.told(std::iter::once("change".to_owned()).chain(args).collect())
    }

    fn told(&self, args: Vec<String>) -> anyhow::Result<()> {
        let output = self.command(&args.iter().map(|arg| &**arg).collect::<Vec<_>>())?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Waits until so many buildsets are complete.
    pub(crate) fn wait_complete(&mut self, count: usize, limit: Duration) -> anyhow::Result<()> {
        let waited = self.eventually("all is built", limit, |master| {
            let rows = "SELECT count(*) FROM buildsets WHERE complete = 1";
            let complete: i64 = master.database()?.query_row(rows, [], |row| row.get(0))?;
            Ok((usize::try_from(complete)? >= count).then_some(()))
        });
        waited.with_context(|| format!("not built: {}", self.incomplete().unwrap_or_default().join(", ")))
    }

    /// Builders with requests that are not complete.
    fn incomplete(&self) -> anyhow::Result<Vec<String>> {
        let database = self.database()?;
        let mut builders = database.prepare(
            "SELECT name FROM buildrequests JOIN builders ON builderid = builders.id WHERE complete = 0",
        )?;
        let names = builders.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(names)
    }

    /// What is left behind, by builder.
    pub(crate) fn observed(&self, scratch: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
        self.observer(scratch)?.observe(&self.database()?)
    }

    /// All rows of all tables.
    pub(crate) fn tables(&self, scratch: &Path) -> anyhow::Result<Value> {
        let observer = self.observer(scratch)?;
        tables::read(&self.database()?, &|text| observer.normalize(text))
    }

    fn observer(&self, scratch: &Path) -> anyhow::Result<Observer> {
        let worker = self.worker.as_ref().context("it has a worker")?;
        Observer::new(scratch, &self.directory, worker.basedir())
    }

    fn database(&self) -> anyhow::Result<Connection> {
        let file = self.directory.join("state.sqlite");
        let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(Duration::from_secs(30))?;
        Ok(database)
    }

    fn eventually<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ask: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let asked = match self.process.try_wait()? {
                Some(status) => Err(anyhow::anyhow!("it ended with {status}")),
                None if Instant::now() > deadline => Err(anyhow::anyhow!("not within {limit:?}")),
                None => ask(self),
            };
            if let Some(answer) =
                asked.with_context(|| format!("{}: {what}; it says:\n{}", self.name, self.log()))?
            {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of what it has written.
    fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        let text = read("output") + &read("twistd.log");
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // The worker first, whose commands end with it.
        self.worker = None;
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A key of a build or a change as the command line has it.
fn options(key: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Object(properties) => {
            let text = |name: &str, value: &Value| match value.as_str() {
                // A parameter is given as it is; the value of a property is JSON.
                Some(text) if name.starts_with("patch_") => text.to_owned(),
                _ => value.to_string(),
            };
            properties
                .iter()
                .map(|(name, value)| format!("--property={name}={}", text(name, value)))
                .collect()
        }
        Value::Array(files) => files.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(text) => vec![format!("--{key}={text}")],
        other if key == "when_timestamp" => vec![format!("--when={other}")],
        other => vec![format!("--{key}={other}")],
    }
}

/// Files on the master that steps use.
fn fill(directory: &Path) -> anyhow::Result<()> {
    let secrets = directory.join("secrets");
    fs::create_dir(&secrets)?;
    let secret = secrets.join("token");
    fs::write(&secret, "swordfish")?;
    // Buildbot refuses secrets that others may read.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o700))?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    }
    let files = directory.join("files");
    fs::create_dir(&files)?;
    fs::write(files.join("text.txt"), "one\ntwo\n")?;
    fs::write(files.join("large.bin"), (0..70_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>())?;
    fs::create_dir(directory.join("uploads"))?;
    Ok(())
}
