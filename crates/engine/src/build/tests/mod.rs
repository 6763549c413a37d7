//! Whole builds on a played worker and a real store; what is checked is what a user finds in the tables.

mod control;
mod files;
mod locks;
mod logs;
mod master;
mod play;
mod shell;
mod trigger;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, Json, Properties, Results,
    SourceStamp, Time, WorkerId,
};
use storage::{Options, StepRow, Store, Write};
use tokio::sync::mpsc;

pub(crate) use self::play::{Act, Player};
use super::{Line, Means, run};
use crate::{
    BuildControl, BuildOrder, Clock, Notice, NoticeSender, Outcome, SessionId, clock::TestClock,
    notice::Heard,
};

const NOW: Time = Time::from_epoch_seconds(1_700_000_000);
const BUILD: BuildId = BuildId(1);

/// A build that is about to run.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) notices: NoticeSender,
    pub(crate) order: Box<BuildOrder>,
    /// Where relative paths of the master start.
    pub(crate) base_dir: PathBuf,
    clock: Arc<dyn Clock>,
}

/// What a build left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) steps: Vec<Did>,
    pub(crate) properties: Properties,
    pub(crate) notices: Vec<Notice>,
}

/// One step in the tables.
#[derive(Debug)]
pub(crate) struct Did {
    pub(crate) row: StepRow,
    /// Name, kind and text of each log, all of them complete.
    pub(crate) logs: Vec<(String, &'static str, String)>,
}

impl Did {
    /// The text of a log.
    pub(crate) fn log(&self, name: &str) -> &str {
        let found = self.logs.iter().find(|(known, ..)| known == name);
        found.map_or_else(|| panic!("no log {name:?} in {:?}", self.logs), |(.., text)| text)
    }
}

impl Ran {
    /// The step of this name.
    pub(crate) fn step(&self, name: &str) -> &Did {
        self.steps
            .iter()
            .find(|step| step.row.name == name)
            .unwrap_or_else(|| panic!("no step {name:?}: {self:#?}"))
    }

    /// Name, results and state string of each step but the preparation of the worker.
    pub(crate) fn said(&self) -> Vec<(&str, Results, &str)> {
        self.steps
            .iter()
            .skip(1)
            .map(|step| (step.row.name.as_str(), step.row.results.unwrap(), step.row.state_string.as_str()))
            .collect()
    }
}

/// A builder with these steps, in the words of the configuration file.
pub(crate) fn builder(directory: &Path, steps: &str) -> Arc<config::Builder> {
    let text = format!(
        r#"
        [master]
        listen = ["tcp:0"]
        secrets-directory = "secrets"
        [[worker]]
        name = "w"
        password = "pass"
        [[builder]]
        name = "b"
        workers = ["w"]
        env = {{ BENV = "1", X = "b" }}
        {steps}
        "#
    );
    let loaded =
        config::parse(&text, "ganger.toml", directory).unwrap_or_else(|errors| panic!("{errors:#?}"));
    Arc::clone(&loaded.config.builders[0])
}

impl Bench {
    pub(crate) async fn new(steps: &str) -> Self {
        Self::with_room(steps, 16 << 20).await
    }

    /// With a store that keeps at most so many bytes waiting.
    pub(crate) async fn with_room(steps: &str, queue_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("secrets")).unwrap();
        std::fs::write(directory.path().join("secrets/KEY"), "s3cr3t\n").unwrap();
        std::fs::write(directory.path().join("secrets/TOKEN"), "a b/c=\n").unwrap();
        let store = Store::open(
            directory.path().join("state.sqlite"),
            Options { queue_bytes, ..Options::new("host:/base", NOW) },
        )
        .unwrap();
        let builder = builder(directory.path(), steps);
        let worker = config::Worker {
            name: "w".into(),
            password: Some("pass".into()),
            local: None,
            max_builds: None,
            keepalive_interval: Duration::from_secs(3600),
            properties: Properties::new(),
            default_properties: Properties::new(),
        };
        let mut properties = Properties::new();
        properties.set("buildername", "b", "Builder");
        let order = Box::new(BuildOrder {
            build: BUILD,
            number: BuildNumber(1),
            builder,
            builder_id: BuilderId(1),
            worker: Arc::new(worker),
            worker_id: WorkerId(1),
            session: SessionId(1),
            requests: vec![BuildRequestId(1)],
            buildset: BuildsetId(1),
            sourcestamps: vec![SourceStamp::default()],
            changes: Vec::new(),
            properties,
            reason: "because".into(),
            owners: Vec::new(),
            started_at: NOW,
        });
        store.commit(rows()).await.unwrap();
        let clock = Arc::new(TestClock::starting_at(NOW));
        let base_dir = directory.path().to_owned();
        Self { directory, store, notices: NoticeSender::new(), order, base_dir, clock }
    }

    /// What is built.
    pub(crate) fn stamp(mut self, stamp: SourceStamp) -> Self {
        self.order.sourcestamps = vec![stamp];
        self
    }

    /// Changes that are built.
    pub(crate) fn change(mut self, change: Change) -> Self {
        self.order.changes.push(Arc::new(change));
        self
    }

    /// A property that the build starts with.
    pub(crate) fn property(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.order.properties.set(name, value, "test");
        self
    }

    /// Runs the build to its end.
    pub(crate) async fn run(self, player: &Arc<Player>) -> Ran {
        let (_stop, control) = mpsc::channel(1);
        self.run_with(player, control).await
    }

    /// Runs the build to its end; it can be stopped.
    pub(crate) async fn run_with(self, player: &Arc<Player>, control: mpsc::Receiver<BuildControl>) -> Ran {
        let ((triggers, _), (wishes, _unheard)) = (mpsc::channel(1), mpsc::channel(8));
        self.run_on(player, Line { control, triggers, wishes }).await
    }

    /// Runs the build to its end; a test plays the master.
    pub(crate) async fn run_on(self, player: &Arc<Player>, line: Line) -> Ran {
        let mut heard = self.notices.subscribe();
        let means = Means {
            worker: Arc::clone(player) as Arc<dyn super::Commander>,
            store: self.store.clone(),
            notices: self.notices.clone(),
            clock: Arc::clone(&self.clock),
            master_url: "http://m/".into(),
            base_dir: self.base_dir.clone(),
            log_compression: config::LogCompression::Zstd,
        };
        let outcome = run(self.order.clone(), means, line).await;
        let mut notices = Vec::new();
        drop(self.notices);
        while let Heard::Notice(notice) = heard.next().await {
            notices.push(Notice::clone(&notice));
        }
        let mut steps = Vec::new();
        for row in self.store.steps(BUILD).await.unwrap() {
            assert!(row.complete_at.is_some(), "step {:?} was left open", row.name);
            let mut logs = Vec::new();
            for log in self.store.logs(row.id).await.unwrap() {
                assert!(log.complete, "log {:?} was left open", log.name);
                let (mut text, mut at) = (String::new(), 0);
                // A long log is read in several goes.
                while at < log.num_lines {
                    let lines = self.store.log_lines(log.id, at, u32::MAX).await.unwrap();
                    assert!(lines.num_lines > 0, "log {:?} ends at line {at} of {}", log.name, log.num_lines);
                    at = lines.first_line + lines.num_lines;
                    text.push_str(&lines.text);
                }
                logs.push((log.name, log.kind.letter(), text));
            }
            steps.push(Did { row, logs });
        }
        let properties = self.store.build_properties(BUILD).await.unwrap();
        self.store.close().await;
        Ran { outcome, steps, properties, notices }
    }
}

fn rows() -> Vec<Write> {
    let builder = BuilderId(1);
    vec![
        Write::Builder { id: builder, name: "b".into(), description: None, tags: Vec::new() },
        Write::Worker { id: WorkerId(1), name: "w".into() },
        Write::Buildset {
            id: BuildsetId(1),
            external_id: None,
            reason: "because".into(),
            submitted_at: NOW,
            sourcestamps: vec![SourceStamp::default()],
            properties: Properties::new(),
            parent: None,
            rebuilt_build: None,
        },
        Write::Request {
            id: BuildRequestId(1),
            buildset: BuildsetId(1),
            builder,
            priority: 0,
            submitted_at: NOW,
            waited_for: false,
        },
        Write::Claim { request: BuildRequestId(1), at: NOW },
        Write::Build {
            id: BUILD,
            number: BuildNumber(1),
            builder,
            request: BuildRequestId(1),
            worker: Some(WorkerId(1)),
            started_at: NOW,
            state_string: "starting".into(),
        },
    ]
}
