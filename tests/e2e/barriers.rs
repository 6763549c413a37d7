//! The master ends at each commit of a run that has something of everything, and the next one goes on.
//!
//! It is the program as it ships that ends: strace kills it inside a system call, as no timing of a test could. Killed as it
//! syncs, it has written a transaction and told nobody of it. Killed as it writes to the database next, it has told of all
//! that is durable, and the next transaction is in pieces.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::ExitStatus,
};

use rusqlite::{Connection, config::DbConfig};
use testkit::worker::{StockWorker, WorkerKind, WorkerOptions};

use crate::farm::{Farm, PASSWORD};

/// With this variable, the run ends at every barrier and not at a few of them.
const ALL: &str = "GANGER_BARRIERS";

/// How many barriers of each kind are enough otherwise.
const SOME: usize = 6;

/// While this file is in the scratch directory, the log of `top` has three lines.
pub(crate) const HOLD: &str = "hold";

/// A change is built by a buildset of two builders once the tree is stable, and `after` follows; `top` writes a log, is to be
/// tried again the first time, and triggers the same two builders.
pub(crate) fn objects(scratch: &Path) -> String {
    let (ran, tried) = (scratch.join("ran"), scratch.join("tried"));
    let builder = |name: &str, command: &str, more: &str| {
        format!(
            r#"
[[builder]]
name = "{name}"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "say"
command = '''echo {name} %(prop:buildnumber)s >> {}; {command}'''
{more}
"#,
            ran.display()
        )
    };
    let hold = scratch.join(HOLD);
    let lines = format!(
        "for i in $(seq 1 12); do echo line $i; sleep 0.05; while test $i = 3 -a -e {}; do sleep 0.05; done; done",
        hold.display()
    );
    let top = format!(
        r#"
[[builder.step]]
type = "ShellCommand"
name = "once more"
command = "test -e {tried} || {{ touch {tried}; exit 3; }}"
decodeRC = {{ 0 = "SUCCESS", 3 = "RETRY" }}
[[builder.step]]
type = "Trigger"
schedulerNames = ["parts"]
waitForFinish = true
"#,
        tried = tried.display()
    );
    let mut objects = builder("top", &lines, &top);
    for name in ["left", "right", "after"] {
        objects += &builder(name, "true", "");
    }
    objects
        + r#"
[[scheduler]]
type = "SingleBranchScheduler"
name = "tree"
branch = "main"
treeStableTimer = 1
builderNames = ["left", "right"]
[[scheduler]]
type = "Dependent"
name = "after"
upstream = "tree"
builderNames = ["after"]
[[scheduler]]
type = "Triggerable"
name = "parts"
builderNames = ["left", "right"]
[[scheduler]]
type = "ForceScheduler"
name = "force"
builderNames = ["top", "after"]
"#
}

/// What users ask for: commands, each with a query that counts how often it was heard.
pub(crate) const ASKED: [(&[&str], &str); 2] = [
    (&["change", "--author=Ann", "--branch=main", "--revision=1111", "file"], "SELECT count(*) FROM changes"),
    (
        &["force", "top", "--reason=asked for"],
        "SELECT count(*) FROM buildset_properties WHERE property_name = 'reason' AND property_value LIKE '%asked for%'",
    ),
];

/// Schedulers whose buildsets there must be one of each.
const ONE_EACH: [&str; 3] = ["tree", "after", "force"];

/// Where the master ends.
#[derive(Clone, Copy, Debug)]
enum Barrier {
    /// As it syncs for this time.
    Sync(usize),
    /// As it writes to the database for this time.
    Write(usize),
}

impl Barrier {
    fn injection(self) -> String {
        match self {
            Self::Sync(when) => format!("inject=fsync,fdatasync:signal=KILL:when={when}"),
            Self::Write(when) => format!("inject=pwrite64:signal=KILL:when={when}"),
        }
    }
}

/// Starts the master to end at a barrier; what it did is written to `trace`.
fn start(farm: &mut Farm, trace: &Path, end: Option<Barrier>) {
    let (trace, injection) = (trace.display().to_string(), end.map(Barrier::injection));
    // The tracer is a grandchild, and the threads are traced one by one.
    let mut under = vec!["strace", "-D", "-f", "-qq", "-o", &*trace];
    under.extend(["-e", "trace=fsync,fdatasync,pwrite64", "-e", "signal=none"]);
    under.extend(injection.iter().flat_map(|injection| ["-e", &**injection]));
    under.push("--");
    farm.spawn(&under);
}

/// The barriers that a trace shows: each sync, and each first write that follows one. They are counted in each thread.
fn barriers(trace: &Path) -> (Vec<Barrier>, Vec<Barrier>) {
    let text = fs::read_to_string(trace).expect("strace wrote it");
    let (mut syncs, mut writes) = (Vec::new(), Vec::new());
    let mut counted: BTreeMap<&str, (usize, usize, bool)> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let (synced, written, was_synced) = counted.entry(thread).or_default();
        let call = call.trim_start();
        if call.starts_with("pwrite64(") {
            *written += 1;
            if std::mem::take(was_synced) {
                writes.push(Barrier::Write(*written));
            }
        } else if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            *synced += 1;
            *was_synced = true;
            syncs.push(Barrier::Sync(*synced));
        }
    }
    (syncs, writes)
}

/// A farm, what was asked of it, and what it has shown.
struct Run {
    farm: Farm,
    scratch: tempfile::TempDir,
    worker: Option<StockWorker>,
    /// The places in [`ASKED`] that were answered well.
    accepted: BTreeSet<usize>,
    /// What was seen of the log of the first build of `top`.
    shown: String,
}

impl Run {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let mut farm = Farm::start(&objects(scratch.path()));
        farm.kill();
        Self { farm, scratch, worker: None, accepted: BTreeSet::new(), shown: String::new() }
    }

    /// The whole life of a master that ends at a barrier, or in good order when there is nothing left to do. How it ended.
    fn first_life(&mut self, end: Option<Barrier>) -> ExitStatus {
        let trace = self.trace();
        start(&mut self.farm, &trace, end);
        let options = WorkerOptions::new(self.farm.port(), "w1", PASSWORD);
        self.worker = Some(self.farm.worker_with(WorkerKind::NEWEST, &options));
        let ended = self.farm.eventually("the master answers or ends", |farm| {
            farm.ended().map(|_| true).or_else(|| farm.ganger(&["status"]).status.success().then_some(false))
        });
        if !ended {
            self.ask();
            let (database, shown) = (self.database(), &mut self.shown);
            let is_left = self.farm.eventually("all is built or the master ends", |farm| {
                let log = farm.ganger(&["log", "top", "1"]);
                if log.status.success() {
                    *shown = String::from_utf8(log.stdout).expect("UTF-8");
                }
                farm.ended().map(|_| false).or_else(|| is_done(&database).then_some(true))
            });
            if is_left {
                self.farm.ganger(&["shutdown"]);
            }
        }
        self.farm.wait_for_end()
    }

    /// A master that ends when it has cleaned up after the one before, and has told nobody.
    fn short_life(&mut self) {
        let trace = self.trace();
        start(&mut self.farm, &trace, Some(Barrier::Sync(1)));
        let ended = self.farm.wait_for_end();
        assert!(is_killed(ended), "{ended}: {}", self.farm.log_text());
    }

    /// The life of the last master, which has to finish everything.
    fn last_life(&mut self) {
        self.farm.restart();
        for (at, (_, count)) in ASKED.iter().enumerate() {
            match number(&self.database(), count) {
                // Nobody was told; so it is asked for again.
                0 => assert!(!self.accepted.contains(&at), "{:?} was accepted, and is lost", ASKED[at].0),
                _ => drop(self.accepted.insert(at)),
            }
        }
        self.ask();
        assert_eq!(self.accepted.len(), ASKED.len(), "all was asked for: {}", self.farm.log_text());
        let database = self.database();
        self.farm.eventually("all is built", |_| is_done(&database).then_some(()));
        self.check(&database);
        let kept = self.farm.log_of("top", 1, &[]);
        assert!(kept.starts_with(self.shown.trim_end()), "shown:\n{}\nkept:\n{kept}", self.shown);
    }

    fn ask(&mut self) {
        for (at, (command, _)) in ASKED.iter().enumerate() {
            if !self.accepted.contains(&at) && self.farm.ganger(command).status.success() {
                self.accepted.insert(at);
            }
        }
    }

    fn check(&self, database: &Connection) {
        for (_, count) in ASKED {
            assert_eq!(number(database, count), 1, "{count}");
        }
        for name in ONE_EACH {
            assert_eq!(buildsets(database, name), 1, "buildsets of {name}");
        }
        // Each build that came so far has triggered once.
        let triggered = "SELECT count(*) FROM buildsets WHERE parent_buildid IS NOT NULL";
        let parents = "SELECT count(DISTINCT parent_buildid) FROM buildsets";
        assert_eq!(number(database, triggered), buildsets(database, "parts"));
        assert_eq!(number(database, triggered), number(database, parents));
        for (what, left) in [
            (
                "requests of two builders",
                "SELECT count(*) FROM buildrequests GROUP BY buildsetid, builderid HAVING count(*) > 1",
            ),
            ("requests", "SELECT count(*) FROM buildrequests WHERE complete = 0 OR results <> 0"),
            ("builds", "SELECT count(*) FROM builds WHERE complete_at IS NULL OR results NOT IN (0, 5)"),
            ("steps", "SELECT count(*) FROM steps WHERE complete_at IS NULL OR results NOT IN (0, 5)"),
            ("logs", "SELECT count(*) FROM logs WHERE complete = 0"),
            ("changes", "SELECT count(*) FROM scheduler_changes"),
            (
                "claims",
                "SELECT count(*) FROM buildrequests WHERE id NOT IN (SELECT brid FROM buildrequest_claims)",
            ),
        ] {
            assert_eq!(number(database, left), 0, "{what}");
        }
        // A request is built once; it was tried again once for the crash, and `top` once because it said so.
        for (builder, built, tried) in rows::<(String, i64, i64)>(
            database,
            "SELECT name, (SELECT count(*) FROM builds WHERE buildrequestid = buildrequests.id AND results = 0),
                    (SELECT count(*) FROM builds WHERE buildrequestid = buildrequests.id AND results = 5)
             FROM buildrequests JOIN builders ON builders.id = builderid",
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        ) {
            let most = if builder == "top" { 2 } else { 1 };
            assert_eq!(built, 1, "builds of {builder}");
            assert!(tried <= most, "{builder} was tried again {tried} times");
        }
        self.check_logs(database);
        self.check_work(database);
        let sound: Vec<String> = rows(database, "PRAGMA integrity_check", |row| row.get(0));
        assert_eq!(sound, ["ok"]);
    }

    /// Lines follow each other without a gap, and are as many as the log says.
    fn check_logs(&self, database: &Connection) {
        let logs = "SELECT logs.id, num_lines, first_line, last_line FROM logs \
                    LEFT JOIN logchunks ON logid = logs.id ORDER BY logs.id, first_line";
        let mut ends: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for (log, lines, first, last) in rows::<(i64, i64, Option<i64>, Option<i64>)>(database, logs, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        }) {
            let (next, _) = *ends.entry(log).or_insert((0, lines));
            if let (Some(first), Some(last)) = (first, last) {
                assert_eq!(first, next, "a chunk of log {log}");
                ends.insert(log, (last + 1, lines));
            }
        }
        for (log, (next, lines)) in ends {
            assert_eq!(next, lines, "lines of log {log}");
        }
    }

    /// What workers did was for builds that are known, and for each of them once.
    fn check_work(&self, database: &Connection) {
        let known =
            "SELECT builders.name || ' ' || number FROM builds JOIN builders ON builders.id = builderid";
        let known: BTreeSet<String> = rows(database, known, |row| row.get(0)).into_iter().collect();
        let ran = fs::read_to_string(self.scratch.path().join("ran")).expect("something was built");
        let mut once = BTreeSet::new();
        for build in ran.lines() {
            assert!(known.contains(build), "a worker built {build}, which nobody knows of");
            assert!(once.insert(build), "{build} was built twice");
        }
    }

    fn trace(&self) -> std::path::PathBuf {
        self.scratch.path().join("trace")
    }

    /// It does no work for the master when it is closed.
    fn database(&self) -> Connection {
        let database = Connection::open(self.farm.path("state.sqlite")).expect("a database");
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("SQLite knows it");
        database
    }
}

/// It has ended where it was to end, and not by itself.
fn is_killed(ended: ExitStatus) -> bool {
    ended.signal() == Some(9)
}

fn is_done(database: &Connection) -> bool {
    let open = "SELECT (SELECT count(*) FROM buildsets WHERE complete = 0) + \
                (SELECT count(*) FROM builds WHERE complete_at IS NULL)";
    ONE_EACH.iter().all(|name| buildsets(database, name) > 0) && number(database, open) == 0
}

fn buildsets(database: &Connection, scheduler: &str) -> i64 {
    let of =
        "SELECT count(*) FROM buildset_properties WHERE property_name = 'scheduler' AND property_value LIKE";
    number(database, &format!("{of} '[\"{scheduler}\"%'"))
}

/// The number that a query finds; none is 0.
fn number(database: &Connection, query: &str) -> i64 {
    rows(database, query, |row| row.get(0)).first().copied().unwrap_or_default()
}

fn rows<T>(
    database: &Connection,
    query: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let found = database.prepare(query).and_then(|mut query| query.query_map([], read)?.collect());
    found.unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// Ends a run at each of some barriers of a kind, or at all of them.
#[expect(clippy::print_stderr, reason = "a failure is of the barrier that was named last")]
fn ends_everywhere(choose: impl Fn((Vec<Barrier>, Vec<Barrier>)) -> Vec<Barrier>) {
    let mut whole = Run::new();
    let ended = whole.first_life(None);
    assert!(ended.success(), "{ended}: {}", whole.farm.log_text());
    let barriers = choose(barriers(&whole.trace()));
    whole.last_life();
    assert!(barriers.len() >= SOME, "a run has more commits: {barriers:?}");
    let all = std::env::var_os(ALL).is_some();
    let step = if all { 1 } else { barriers.len().div_ceil(SOME) };
    let barriers: Vec<Barrier> = barriers.into_iter().step_by(step).collect();
    let mut reached = 0;
    for barrier in &barriers {
        eprintln!("the master ends at {barrier:?}");
        let mut run = Run::new();
        // No two runs have quite the same commits: the last of one may not be in the next.
        if is_killed(run.first_life(Some(*barrier))) {
            reached += 1;
        } else {
            eprintln!("{barrier:?} was not reached");
        }
        run.short_life();
        run.last_life();
    }
    assert!(reached * 2 >= barriers.len(), "only {reached} of {} barriers were reached", barriers.len());
}

#[test]
fn a_master_that_ends_before_it_tells_of_a_commit_loses_and_doubles_nothing() {
    ends_everywhere(|(syncs, _)| syncs);
}

#[test]
fn a_master_that_ends_inside_the_next_transaction_loses_and_doubles_nothing() {
    ends_everywhere(|(_, writes)| writes);
}

#[test]
fn a_database_that_is_half_made_is_made_by_the_next_master() {
    let mut when = 1;
    loop {
        let mut farm = Farm::unstarted("");
        let trace = farm.path("trace");
        start(&mut farm, &trace, Some(Barrier::Sync(when)));
        let ended = farm.eventually("the master answers or ends", |farm| {
            farm.ended().map(|_| true).or_else(|| farm.ganger(&["status"]).status.success().then_some(false))
        });
        if !ended {
            assert!(when > 3, "a database is made by more than {when} commits");
            return;
        }
        let ended = farm.wait_for_end();
        assert!(is_killed(ended), "{ended}: {}", farm.log_text());
        farm.restart();
        when += 1;
    }
}
