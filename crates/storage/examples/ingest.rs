//! Measures what storage costs: `cargo run --release -p ganger-storage --example ingest [DIRECTORY]`.
//!
//! CPU time is that of all threads (Linux only), the writer's included.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use model::{BuildNumber, BuilderId, LogId, Results, SourceStamp, Time, WorkerId};
use serde_json::json;
use storage::{
    Identities, Options, Store, Write,
    log::{ChunkBuilder, Compression, LogKind, Stream},
};

const LINES: usize = 100_000;
const BUILDS: usize = 1000;
const NOW: Time = Time::from_epoch_seconds(1_700_000_000);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::Builder::new()
        .prefix("ingest")
        .tempdir_in(std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into))?;
    let mut report = String::new();
    lines(directory.path(), &mut report).await?;
    builds(directory.path(), &mut report).await?;
    std::io::stdout().write_all(report.as_bytes())?;
    Ok(())
}

async fn lines(directory: &Path, report: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let text = compiler_output();
    for compression in [Compression::None, Compression::Gz, Compression::Lz4, Compression::Zstd] {
        let database = directory.join(format!("{compression:?}.sqlite"));
        let store = Store::open(&database, Options::new("host:dir", NOW))?;
        let log = prepare(&store).await?;
        let begin = Mark::now();
        let mut builder = ChunkBuilder::new(LogKind::Stdio, compression);
        let mut packing = Duration::ZERO;
        let mut bytes = 0;
        for piece in text.as_bytes().chunks(16 << 10) {
            let before = Instant::now();
            builder.push(Stream::Stdout, piece);
            packing += before.elapsed();
            while let Some(chunk) = builder.next_chunk() {
                bytes += chunk.content.len();
                store.submit(vec![chunk.into_write(log)]).await?;
            }
        }
        builder.finish();
        while let Some(chunk) = builder.next_chunk() {
            bytes += chunk.content.len();
            store.submit(vec![chunk.into_write(log)]).await?;
        }
        store.commit(vec![Write::LogFinished { log, num_lines: builder.num_lines() }]).await?;
        writeln!(
            report,
            "{} lines of {} bytes, {compression:?}: {begin}, of it {:.1} ms packing; {:.2} MB in the database",
            builder.num_lines(),
            text.len() / LINES,
            packing.as_secs_f64() * 1e3,
            bytes as f64 / 1e6
        )?;
        store.close().await;
    }
    Ok(())
}

async fn builds(directory: &Path, report: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(directory.join("builds.sqlite"), Options::new("host:dir", NOW))?;
    let (builder, worker) = identities(&store).await?;
    for concurrent in [1, 20, 200] {
        let begin = Mark::now();
        let share = BUILDS / concurrent;
        let tasks: Vec<_> = (0..concurrent)
            .map(|task| {
                let (store, first) = (store.clone(), 1_000_000 * (concurrent * 1000 + task) as i64);
                tokio::spawn(async move {
                    for number in 0..share {
                        build(&store, builder, worker, first + number as i64).await?;
                    }
                    Ok::<_, storage::StorageError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let cpu = begin.cpu().as_secs_f64() * 1e3 / (share * concurrent) as f64;
        writeln!(
            report,
            "{} builds of 5 steps, {concurrent} at a time: {begin}; {cpu:.3} ms CPU each",
            share * concurrent
        )?;
    }
    store.close().await;
    Ok(())
}

/// What an engine writes for a build, waiting where a real one has to.
async fn build(
    store: &Store,
    builder: BuilderId,
    worker: WorkerId,
    number: i64,
) -> Result<(), storage::StorageError> {
    let ids = store.ids();
    let (buildset, request, build) = (ids.next_buildset(), ids.next_request(), ids.next_build());
    let stamp = SourceStamp { revision: Some(format!("{number:040x}")), ..SourceStamp::default() };
    let asked = Write::Buildset {
        id: buildset,
        external_id: None,
        reason: "The SingleBranchScheduler scheduler named 'all' triggered this build".into(),
        submitted_at: NOW,
        sourcestamps: vec![stamp],
        properties: [("scheduler", "all")]
            .map(|(name, value)| {
                (name.to_owned(), model::Property { value: value.into(), source: "Scheduler".into() })
            })
            .into_iter()
            .collect(),
        parent: None,
        rebuilt_build: None,
    };
    let wanted =
        Write::Request { id: request, buildset, builder, priority: 0, submitted_at: NOW, waited_for: false };
    store.commit(vec![asked, wanted]).await?;
    let mut writes = vec![
        Write::Claim { request, at: NOW },
        Write::Build {
            id: build,
            number: BuildNumber(number),
            builder,
            request,
            worker: Some(worker),
            started_at: NOW,
            state_string: "building".into(),
        },
    ];
    writes.extend((0..14).map(|n| Write::BuildProperty {
        build,
        name: format!("property{n}"),
        value: json!(format!("value {n}")),
        source: "Build".into(),
    }));
    store.commit(writes).await?;
    for number in 0..5 {
        let (step, log) = (ids.next_step(), ids.next_log());
        let start = vec![
            Write::Step {
                id: step,
                number,
                build,
                name: format!("step{number}"),
                started_at: Some(NOW),
                state_string: "running".into(),
            },
            Write::Log { id: log, step, name: "stdio".into(), slug: "stdio".into(), kind: LogKind::Stdio },
        ];
        store.commit(start).await?;
        let mut lines = ChunkBuilder::new(LogKind::Stdio, Compression::Gz);
        lines.push(Stream::Stdout, "a line of output of the command\n".repeat(50).as_bytes());
        lines.finish();
        let mut end: Vec<Write> =
            std::iter::from_fn(|| lines.next_chunk()).map(|chunk| chunk.into_write(log)).collect();
        end.push(Write::LogFinished { log, num_lines: 50 });
        let state_string = "'make all'".to_owned();
        end.push(Write::StepFinished {
            step,
            results: Results::Success,
            at: NOW,
            hidden: false,
            state_string,
        });
        store.submit(end).await?;
    }
    let results = Results::Success;
    let end = vec![
        Write::BuildFinished {
            build,
            results,
            at: NOW,
            state_string: "build successful".into(),
            locks_duration: Duration::ZERO,
        },
        Write::CompleteRequest { request, results, at: NOW },
        Write::CompleteBuildset { buildset, results, at: NOW },
    ];
    store.commit(end).await
}

async fn identities(store: &Store) -> Result<(BuilderId, WorkerId), storage::StorageError> {
    let identities = Identities { builders: vec!["b".into()], workers: vec!["w".into()], schedulers: vec![] };
    let restored = store.restore(identities, NOW).await?;
    Ok((restored.builders["b"].0, restored.workers["w"].id))
}

/// An open log.
async fn prepare(store: &Store) -> Result<LogId, storage::StorageError> {
    let (builder, worker) = identities(store).await?;
    build(store, builder, worker, 1).await?;
    let log = store.ids().next_log();
    let step = model::StepId(1);
    let open = Write::Log { id: log, step, name: "big".into(), slug: "big".into(), kind: LogKind::Stdio };
    store.commit(vec![open]).await?;
    Ok(log)
}

/// Lines of 80 bytes that look like a compiler's, with enough in them that differs.
fn compiler_output() -> String {
    let mut text = String::with_capacity(LINES * 80);
    let mut seed = 1_u32;
    for line in 0..LINES {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words = ["-Wall", "-O2", "-fPIC", "-DNDEBUG", "-Iinclude", "-std=c++20", "-pthread", "-g"];
        let word = |shift: u32| words[(seed >> shift) as usize % words.len()];
        let start = text.len();
        write!(text, "[{line:6}/{LINES}] CXX {} {} {} src/{:08x}.cc", word(5), word(11), word(17), seed)
            .expect("writing to memory does not fail");
        let end = start + 79;
        while text.len() < end {
            text.push('.');
        }
        text.truncate(end);
        text.push('\n');
    }
    text
}

/// A moment, in wall and CPU time.
struct Mark(Instant, Duration);

impl Mark {
    fn now() -> Self {
        Self(Instant::now(), cpu_time())
    }

    fn cpu(&self) -> Duration {
        cpu_time().saturating_sub(self.1)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:.1} ms CPU, {:.1} ms in all", ms(self.cpu()), ms(self.0.elapsed()))
    }
}

/// Time on a CPU of all threads that live.
fn cpu_time() -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let spent = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    });
    spent.sum()
}
