//! A master of its own for each test: its directory, its process, and its command line.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::worker::{StockWorker, WorkerKind, WorkerOptions};

/// Long enough for a Python worker to start on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const PASSWORD: &str = "sekrit";

/// A master in a directory of its own. Both end with the value.
pub(crate) struct Farm {
    directory: tempfile::TempDir,
    port: u16,
    master: Option<Child>,
    /// The network that the master is in; `None` is the tests' own.
    network: Option<PathBuf>,
    /// What follows the first endpoint in `listen`.
    endpoints: String,
    /// What follows that in `[master]`.
    settings: String,
    objects: String,
}

impl Farm {
    /// Starts a master with these builders and schedulers, a worker `w1`, and a free port.
    pub(crate) fn start(objects: &str) -> Self {
        Self::new("", "", objects)
    }

    /// The same with more keys of `[master]`.
    pub(crate) fn start_with(settings: &str, objects: &str) -> Self {
        Self::new("", settings, objects)
    }

    /// The same with one more endpoint.
    pub(crate) fn listening_too(endpoint: &str, objects: &str) -> Self {
        Self::new(&format!(", {endpoint:?}"), "", objects)
    }

    /// The same with one more endpoint and more keys of `[master]`.
    #[cfg(feature = "ec2")]
    pub(crate) fn listening_too_with(endpoint: &str, settings: &str, objects: &str) -> Self {
        Self::new(&format!(", {endpoint:?}"), settings, objects)
    }

    /// A master in another network, with one more endpoint there.
    pub(crate) fn inside(network: PathBuf, endpoint: &str, objects: &str) -> Self {
        Self::placed(Some(network), &format!(", {endpoint:?}"), "", objects)
    }

    fn new(endpoints: &str, settings: &str, objects: &str) -> Self {
        Self::placed(None, endpoints, settings, objects)
    }

    fn placed(network: Option<PathBuf>, endpoints: &str, settings: &str, objects: &str) -> Self {
        let mut farm = Self::unstarted(objects);
        (farm.network, farm.endpoints, farm.settings) = (network, endpoints.to_owned(), settings.to_owned());
        farm.write_config("");
        farm.restart();
        farm
    }

    /// A directory with a configuration, in which no master was started yet.
    pub(crate) fn unstarted(objects: &str) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let [endpoints, settings] = [const { String::new() }; 2];
        let objects = objects.to_owned();
        let farm = Self { directory, port: 0, master: None, network: None, endpoints, settings, objects };
        farm.write_config("");
        farm
    }

    /// Writes the configuration again, with more objects.
    pub(crate) fn write_config(&self, more: &str) {
        let Self { port, endpoints, settings, objects, .. } = self;
        let text = format!(
            r#"
[master]
title = "End to end"
collapseRequests = false
listen = ["tcp:127.0.0.1:{port}"{endpoints}]
{settings}

[[worker]]
name = "w1"
password = "{PASSWORD}"
keepalive_interval = 2

{objects}
{more}
"#
        );
        fs::write(self.path("ganger.toml"), text).expect("a writable scratch directory");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the master (again), on the port it had before.
    pub(crate) fn restart(&mut self) {
        self.spawn(&[]);
        let status = self.eventually("the master answers", |farm| {
            if let Some(status) = farm.ended() {
                panic!("the master ended with {status}:\n{}", farm.log_text());
            }
            farm.try_json(&["status"])
        });
        if self.port == 0 {
            let listen = status["master"]["listen"][0].as_str().expect("an address").to_owned();
            self.port = listen.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
            self.write_config("");
        }
    }

    /// Starts the master's process, by way of another program if one is given, which becomes the master: signals find it.
    pub(crate) fn spawn(&mut self, under: &[&str]) {
        assert!(self.master.is_none(), "the master runs");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("master.log"))
            .expect("a writable scratch directory");
        let enter = self.network.as_ref().map(|network| format!("--net={}", network.display()));
        let enter = enter.iter().flat_map(|network| ["nsenter", network.as_str()]);
        let mut line = enter.chain(under.iter().copied()).chain([env!("CARGO_BIN_EXE_ganger")]);
        let master = Command::new(line.next().expect("the program, at least"))
            .args(line)
            .arg("start")
            .arg(self.directory.path())
            .env("GANGER_LOG", "debug,aws_smithy_runtime=info,aws_smithy_runtime_api=info,hyper_util=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program is built");
        self.master = Some(master);
    }

    /// How the master ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.master.as_mut()?.try_wait().expect("it is our child")
    }

    /// Ends the master as a power cut would end it.
    pub(crate) fn kill(&mut self) {
        let mut master = self.master.take().expect("the master runs");
        master.kill().expect("it can be killed");
        master.wait().expect("it ends");
    }

    /// Sends the master a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.master.as_ref().expect("the master runs").id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &process]).status();
        assert!(status.expect("kill can be run").success(), "cannot send {name}");
    }

    /// Waits until the master ends by itself.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let status = self.eventually("the master ends", Self::ended);
        self.master = None;
        status
    }

    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.path("master.log")).unwrap_or_default()
    }

    /// Runs a command of the program in the farm's directory.
    pub(crate) fn ganger(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ganger"))
            .args(args)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program is built")
    }

    pub(crate) fn try_json(&self, args: &[&str]) -> Option<Value> {
        let output = self.ganger(&[args, &["--json"]].concat());
        if !output.status.success() {
            return None;
        }
        serde_json::from_slice(&output.stdout).ok()
    }

    /// What a command prints with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.ganger(&[args, &["--json"]].concat());
        assert!(output.status.success(), "ganger {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON value")
    }

    /// Starts a stock worker as `w1` and waits until it is ready for builds.
    pub(crate) fn worker(&mut self, kind: WorkerKind) -> StockWorker {
        let worker = self.worker_with(kind, &WorkerOptions::new(self.port, "w1", PASSWORD));
        self.wait_connected("w1", true);
        worker
    }

    /// Starts a stock worker.
    pub(crate) fn worker_with(&self, kind: WorkerKind, options: &WorkerOptions) -> StockWorker {
        let venv = kind.venv().expect("its environment is made");
        StockWorker::start(kind, &venv, options).expect("a worker can be started")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_connected(&self, worker: &str) -> bool {
        let status = self.json(&["status"]);
        let workers = status["workers"].as_array().expect("a list");
        workers.iter().any(|row| row["name"] == worker && row["connected"] == true)
    }

    pub(crate) fn wait_connected(&mut self, worker: &str, connected: bool) {
        self.eventually("the worker's connection", |farm| {
            (farm.is_connected(worker) == connected).then_some(())
        });
    }

    /// Asks for a build and waits for its end.
    pub(crate) fn build(&mut self, builder: &str, args: &[&str]) -> Value {
        let before = self.newest(builder).map_or(0, |build| build["number"].as_i64().expect("a number"));
        let output = self.ganger(&[&["force", builder], args].concat());
        assert!(output.status.success(), "force: {}", String::from_utf8_lossy(&output.stderr));
        self.wait_complete(builder, before + 1)
    }

    /// The newest build of a builder.
    pub(crate) fn newest(&self, builder: &str) -> Option<Value> {
        self.json(&["builds", builder])["builds"].get(0).cloned()
    }

    /// The build of this number, once there is one.
    pub(crate) fn find(&self, builder: &str, number: i64) -> Option<Value> {
        let builds = self.json(&["builds", builder]);
        builds["builds"].as_array()?.iter().find(|build| build["number"] == number).cloned()
    }

    /// Waits until the build of this number is complete; everything that belongs to it.
    pub(crate) fn wait_complete(&mut self, builder: &str, number: i64) -> Value {
        self.eventually("the build is complete", |farm| {
            farm.find(builder, number).filter(|build| !build["complete_at"].is_null())
        });
        self.detail(builder, number)
    }

    /// Waits until a step of this build runs, and has at least this many lines of output.
    pub(crate) fn wait_lines(&mut self, builder: &str, number: i64, step: &str, lines: i64) -> Value {
        self.eventually("the step has output", |farm| {
            farm.find(builder, number)?;
            let build = farm.detail(builder, number);
            let log =
                build["steps"].as_array()?.iter().find(|row| row["name"] == step)?["logs"].get(0)?.clone();
            (log["num_lines"].as_i64()? >= lines).then_some(build)
        })
    }

    /// A build with its steps, logs and properties.
    pub(crate) fn detail(&self, builder: &str, number: i64) -> Value {
        self.json(&["build", builder, &number.to_string()])
    }

    /// What `ganger log` prints of a build.
    pub(crate) fn log_of(&self, builder: &str, number: i64, args: &[&str]) -> String {
        let output = self.ganger(&[&["log", builder, &number.to_string()], args].concat());
        assert!(output.status.success(), "log: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Asks until there is an answer.
    pub(crate) fn eventually<T>(&mut self, what: &str, mut ask: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: not within {LIMIT:?}; the master says:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        if let Some(mut master) = self.master.take() {
            master.kill().ok();
            master.wait().ok();
        }
        // Machines of pools outlive their master.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(provider_local::end_all(&self.path("machines"))).ok();
        }
    }
}

/// A Git repository with one commit on `master`.
pub(crate) struct Repository(tempfile::TempDir);

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self(tempfile::tempdir().expect("a scratch directory"));
        repository.git(&["init", "--quiet", "--initial-branch=master"]);
        repository.commit("Makefile", "all:\n\t@echo building\ncheck:\n\t@echo checking\n");
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Nobody",
                "-c",
                "user.email=nobody@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .current_dir(self.path())
            .output()
            .expect("git can be run");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    /// Commits a file; the new commit's hash.
    pub(crate) fn commit(&self, file: &str, text: &str) -> String {
        fs::write(self.path().join(file), text).expect("a writable scratch directory");
        self.git(&["add", file]);
        self.git(&["commit", "--quiet", "--message", &format!("Change {file}")]);
        self.git(&["rev-parse", "HEAD"])
    }
}

/// A force scheduler for these builders.
pub(crate) fn force(builders: &[&str]) -> String {
    let names = builders.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    format!("[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force\"\nbuilderNames = [{names}]\n")
}

/// A builder on `w1` that runs these shell commands, each a step of its own name.
pub(crate) fn shell_builder(name: &str, steps: &[(&str, &str)]) -> String {
    let mut text = format!("[[builder]]\nname = {name:?}\nworkers = [\"w1\"]\n");
    for (step, command) in steps {
        text.push_str(&format!(
            "[[builder.step]]\ntype = \"ShellCommand\"\nname = {step:?}\ncommand = '''{command}'''\n"
        ));
    }
    text + &force(&[name])
}

/// Results of each configured step, by name, in order.
pub(crate) fn step_results(build: &Value) -> Vec<(String, i64)> {
    let [preparation, steps @ ..] = &build["steps"].as_array().expect("a list")[..] else {
        return Vec::new();
    };
    assert_eq!(preparation["name"], "worker_preparation", "as Buildbot has it since 3.0");
    let row = |step: &Value| {
        (step["name"].as_str().unwrap_or_default().to_owned(), step["results"].as_i64().unwrap_or(-1))
    };
    steps.iter().map(row).collect()
}
