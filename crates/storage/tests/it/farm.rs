//! A small farm to write about.

use std::{path::Path, sync::Arc, time::Duration};

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, LogId, Patch, Properties, Results,
    SourceStamp, StepId, Time, WorkerId,
};
use serde_json::json;
use storage::{
    Identities, Options, Restored, Store, Write,
    log::{ChunkBuilder, Compression, LogKind, Stream},
};

use crate::place::location;

/// Seconds since the epoch at which everything starts.
pub(crate) const START: i64 = 1_700_000_000;

pub(crate) fn at(seconds: i64) -> Time {
    Time::from_epoch_seconds(START + seconds)
}

pub(crate) struct Farm {
    pub(crate) store: Store,
    pub(crate) restored: Restored,
}

pub(crate) fn identities() -> Identities {
    Identities {
        builders: vec!["linux".into(), "wörld".into()],
        workers: vec!["w1".into(), "w2".into()],
        schedulers: vec!["all".into(), "nightly".into()],
    }
}

pub(crate) fn options() -> Options {
    Options::new("host:/srv/ganger", at(0))
}

impl Farm {
    pub(crate) async fn open(directory: &Path) -> Self {
        let store = Store::open(location(directory), options()).unwrap();
        let restored = store.restore(identities(), at(0)).await.unwrap();
        Self { store, restored }
    }

    pub(crate) fn builder(&self, name: &str) -> BuilderId {
        self.restored.builders[name].0
    }

    pub(crate) fn worker(&self, name: &str) -> WorkerId {
        self.restored.workers[name].id
    }

    /// A buildset with one request for `builder`.
    pub(crate) async fn request(&self, builder: &str) -> (BuildsetId, BuildRequestId) {
        let (buildset, request) = (self.store.ids().next_buildset(), self.store.ids().next_request());
        let writes = vec![
            Write::Buildset {
                id: buildset,
                external_id: Some("ext-1".into()),
                reason: "because".into(),
                submitted_at: at(1),
                sourcestamps: vec![stamp()],
                properties: properties(),
                parent: None,
                rebuilt_build: None,
            },
            Write::Request {
                id: request,
                buildset,
                builder: self.builder(builder),
                priority: 7,
                submitted_at: at(1),
                waited_for: true,
            },
        ];
        self.store.commit(writes).await.unwrap();
        (buildset, request)
    }

    /// Takes a request and starts its build.
    pub(crate) async fn build(&self, request: BuildRequestId, builder: &str, number: i64) -> BuildId {
        let build = self.store.ids().next_build();
        let writes = vec![
            Write::Claim { request, at: at(2) },
            Write::Build {
                id: build,
                number: BuildNumber(number),
                builder: self.builder(builder),
                request,
                worker: Some(self.worker("w1")),
                started_at: at(2),
                state_string: "building".into(),
            },
        ];
        self.store.commit(writes).await.unwrap();
        build
    }

    /// Starts a step with an open log that has these lines.
    pub(crate) async fn step(&self, build: BuildId, number: i64, name: &str, text: &str) -> (StepId, LogId) {
        let (step, log) = (self.store.ids().next_step(), self.store.ids().next_log());
        let mut writes = vec![
            Write::Step {
                id: step,
                number,
                build,
                name: name.into(),
                started_at: Some(at(3)),
                state_string: "running".into(),
            },
            Write::Log { id: log, step, name: "stdio".into(), slug: "stdio".into(), kind: LogKind::Stdio },
        ];
        writes.extend(chunks(log, text, Compression::Gz));
        self.store.commit(writes).await.unwrap();
        (step, log)
    }
}

/// The chunks of a log of standard output.
pub(crate) fn chunks(log: LogId, text: &str, compression: Compression) -> Vec<Write> {
    let mut builder = ChunkBuilder::new(LogKind::Stdio, compression);
    builder.push(Stream::Stdout, text.as_bytes());
    builder.finish();
    std::iter::from_fn(|| builder.next_chunk()).map(|chunk| chunk.into_write(log)).collect()
}

pub(crate) fn stamp() -> SourceStamp {
    SourceStamp {
        branch: Some("main".into()),
        revision: Some("abc2".into()),
        repository: "http://repo".into(),
        ..SourceStamp::default()
    }
}

pub(crate) fn patched_stamp() -> SourceStamp {
    SourceStamp {
        codebase: "lib".into(),
        patch: Some(Patch {
            level: 1,
            body: b"--- a\n+++ b\n\xff".to_vec(),
            subdir: "src".into(),
            author: "me".into(),
            comment: "try it".into(),
        }),
        ..stamp()
    }
}

pub(crate) fn properties() -> Properties {
    let mut properties = Properties::new();
    properties.set("scheduler", "all", "Scheduler");
    properties.set("f", json!(1e20), "Scheduler");
    properties.set("é", json!(["ü", null, {"a": 1.5}]), "Scheduler");
    properties
}

pub(crate) fn change(revision: &str) -> Arc<Change> {
    let mut properties = Properties::new();
    properties.set("a", "b", "Change");
    Arc::new(Change {
        author: "Jöe <j@x>".into(),
        comments: "mess é".into(),
        files: vec!["f1.c".into(), "f2.c".into()],
        branch: Some("main".into()),
        revision: Some(revision.into()),
        when: at(-100),
        repository: "http://repo".into(),
        properties,
        ..Change::default()
    })
}

/// A build of `builder` with a step and a log, from request to end. Gives back the build and its log.
pub(crate) async fn whole_build(farm: &Farm, builder: &str, text: &str) -> (BuildId, LogId) {
    let (buildset, request) = farm.request(builder).await;
    let build = farm.build(request, builder, 1).await;
    let (step, log) = farm.step(build, 0, "compile", text).await;
    let lines = farm.store.log(log).await.unwrap().unwrap().num_lines;
    let results = Results::Warnings;
    let writes = vec![
        Write::BuildProperty {
            build,
            name: "got_revision".into(),
            value: json!({"": "abc2", "é": [1, 2.5, null]}),
            source: "Git".into(),
        },
        Write::LogFinished { log, num_lines: lines },
        Write::StepUrl { step, name: "coverage".into(), url: "http://cov/é".into() },
        Write::StepFinished {
            step,
            results,
            at: at(9),
            hidden: false,
            state_string: "compiled warnings".into(),
        },
        Write::BuildFinished {
            build,
            results,
            at: at(10),
            state_string: "warnings compiled".into(),
            locks_duration: Duration::from_millis(2900),
        },
        Write::CompleteRequest { request, results, at: at(10) },
        Write::CompleteBuildset { buildset, results, at: at(10) },
    ];
    farm.store.commit(writes).await.unwrap();
    (build, log)
}
