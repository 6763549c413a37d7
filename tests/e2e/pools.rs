//! Pools of real workers on this machine.

mod crashes;
mod limits;
mod logins;
mod machines;
mod scaling;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use testkit::worker::WorkerKind;

use crate::farm::{Farm, force};

/// A pool `p` of so many machines, each with one build at a time, with more keys of `[[pool]]` and `[pool.local]`.
fn pool(max: u32, keys: &str, local: &str) -> String {
    let venv = WorkerKind::NEWEST.venv().expect("its environment is made");
    let program = venv.program("buildbot-worker");
    format!(
        "[[pool]]\nname = \"p\"\nmax = {max}\nmax_builds = 1\n{keys}\n\
         [pool.local]\nprogram = {program:?}\n{local}\n"
    )
}

/// A builder on the pool that runs this shell command.
pub(crate) fn builder(name: &str, command: &str) -> String {
    format!(
        "[[builder]]\nname = {name:?}\nworkers = [\"p\"]\n\
         [[builder.step]]\ntype = \"ShellCommand\"\nname = \"run\"\ncommand = '''{command}'''\n{}",
        force(&[name])
    )
}

/// A command that says that it runs, in a file of its worker's own, and waits for the file `go`.
fn gate(scratch: &Path) -> String {
    let at = scratch.display();
    format!("touch {at}/runs-$$; until [ -e {at}/go ]; do sleep 0.05; done")
}

/// How many commands have come to the gate.
pub(crate) fn at_gate(scratch: &Path) -> usize {
    let entries = fs::read_dir(scratch).expect("a scratch directory");
    entries
        .filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("runs-"))
        })
        .count()
}

impl Farm {
    /// What `ganger pool show` says of the pool.
    pub(crate) fn pool(&self) -> Value {
        self.json(&["pool", "show", "p"])
    }

    /// Asks for builds.
    pub(crate) fn ask(&self, builder: &str, times: usize, args: &[&str]) {
        for _ in 0..times {
            let output = self.ganger(&[&["force", builder], args].concat());
            assert!(output.status.success(), "force: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// All builds of a builder, by number.
    pub(crate) fn builds(&self, builder: &str) -> Vec<Value> {
        let found = self.json(&["builds", builder, "-n", "1000"]);
        let mut builds = found["builds"].as_array().expect("a list").clone();
        builds.sort_by_key(|build| build["number"].as_i64());
        builds
    }

    /// Waits until so many builds of a builder succeeded; all of its builds.
    pub(crate) fn wait_succeeded(&mut self, builder: &str, count: usize) -> Vec<Value> {
        self.eventually("the builds succeed", |farm| {
            let builds = farm.builds(builder);
            let good = builds.iter().filter(|build| build["results"] == 0).count();
            (good >= count && builds.iter().all(|build| !build["complete_at"].is_null())).then_some(builds)
        })
    }

    /// Waits until nothing is left of the pool: no instance, no process, no directory.
    fn wait_for_nothing(&mut self) {
        self.eventually("the pool has no machine", |farm| (farm.pool()["live"] == 0).then_some(()));
        assert_eq!(self.processes(), BTreeSet::new(), "processes are left");
        assert_eq!(self.directories(), BTreeSet::new(), "directories are left");
    }

    /// Workers of the pool's machines that run: the processes that lead a session.
    fn processes(&self) -> BTreeSet<i32> {
        let machines = self.path("machines").canonicalize().unwrap_or_else(|_| self.path("machines"));
        let home = format!("HOME={}/", machines.display());
        let numbers = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
            entry.expect("an entry").file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        });
        let belongs = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let session =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(3)?.parse().ok());
            session == Some(*pid)
                && environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(home.as_bytes()))
        };
        numbers.filter(belongs).collect()
    }

    /// Directories of the pool's machines.
    fn directories(&self) -> BTreeSet<String> {
        let Ok(entries) = fs::read_dir(self.path("machines")) else { return BTreeSet::new() };
        let entries = entries.map(|entry| entry.expect("an entry"));
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The process of an instance's worker.
    fn pid(&self, instance: i64) -> i32 {
        let record = self.path("machines").join(format!("instance-{instance}.json"));
        let record: Value =
            serde_json::from_slice(&fs::read(record).expect("it is there")).expect("it is JSON");
        i32::try_from(record["boot"]["pid"].as_i64().expect("it was started")).expect("a process id")
    }

    /// The instance that a build ran on.
    fn instance_of(&self, builder: &str, build: &Value) -> i64 {
        let machine = self.property(builder, build, "instance_id");
        let id = machine.as_str().and_then(|machine| machine.strip_prefix("instance-")?.parse().ok());
        id.expect("the provider's name of the machine")
    }

    /// A property of a build.
    pub(crate) fn property(&self, builder: &str, build: &Value, name: &str) -> Value {
        self.detail(builder, build["number"].as_i64().expect("a number"))["properties"][name]["value"].clone()
    }
}
