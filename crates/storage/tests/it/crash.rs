//! Whatever was said to be durable is there after a kill at any moment.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use model::Results;
use serde_json::json;
use storage::{Write, log::Compression};

use crate::{
    farm::{Farm, at},
    place,
};

const CHILD: &str = "GANGER_STORAGE_CRASH_TEST";

/// Not a test of its own: the process that [`nothing_durable_is_lost_by_a_kill`] kills. It writes without end, and prints
/// the number of each batch once that is durable.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let farm = Farm::open(Path::new(&directory)).await;
    let (_, request) = farm.request("linux").await;
    let number = farm.restored.builders["linux"].1.0;
    let build = farm.build(request, "linux", number).await;
    let (_, log) = farm.step(build, 0, "s", "").await;
    say("log", log.0);
    let mut under_way = std::collections::VecDeque::new();
    for line in 0.. {
        let chunk = Write::LogChunk {
            log,
            first_line: line,
            last_line: line,
            content: Bytes::from(format!("o{line}")),
            compression: Compression::None,
        };
        let state = Write::ObjectState {
            object: "o".into(),
            class: "c".into(),
            key: "line".into(),
            value: json!([log.0, line]),
        };
        // Half a batch must never be seen.
        under_way.push_back((line, farm.store.enqueue(vec![chunk, state])));
        if under_way.len() > 50
            && let Some((line, committed)) = under_way.pop_front()
        {
            committed.await.unwrap();
            say("durable", line);
        }
    }
}

/// To the parent, past the test harness, which would keep it.
fn say(what: &str, number: i64) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {number}").and_then(|()| out.flush()).unwrap();
}

#[tokio::test]
async fn nothing_durable_is_lost_by_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    // As many lines as differ from round to round, so that the kill falls on different moments.
    for rounds in [1, 60, 7, 333, 150] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
            .env(CHILD, directory.path())
            .envs(place::environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let (mut log, mut durable, mut heard) = (0, -1, 0);
        let mut take = |line: &str| {
            let mut words = line.split_whitespace().rev();
            let number = words.next().and_then(|word| word.parse().ok());
            match (words.next(), number) {
                (Some("log"), Some(number)) => log = number,
                (Some("durable"), Some(number)) => durable = number,
                _ => return false,
            }
            true
        };
        let mut line = String::new();
        while heard < rounds {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "the child ended by itself");
            heard += u32::from(take(&line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said in its last moments counts, too, but for a line cut in two.
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            take(line);
        }

        let farm = Farm::open(directory.path()).await;
        let log = model::LogId(log);
        let row = farm.store.log(log).await.unwrap().unwrap();
        assert!(row.num_lines > durable, "line {durable} was durable, and {} are there", row.num_lines);
        assert!(row.complete);
        let mut next = 0;
        while next < row.num_lines {
            let text = farm.store.log_lines(log, next, 1000).await.unwrap();
            for line in text.text.lines() {
                assert_eq!(line, format!("o{next}"));
                next += 1;
            }
        }
        assert_eq!(next, row.num_lines);
        if row.num_lines > 0 {
            let state = farm.store.object_state("o", "c", "line").await.unwrap();
            assert_eq!(state, Some(json!([log.0, row.num_lines - 1])), "a batch is there as a whole");
        }
        let interrupted = &farm.restored.interrupted;
        assert_eq!(interrupted.len(), 1);
        let build = farm.store.build(interrupted[0].build).await.unwrap().unwrap();
        assert_eq!(build.results, Some(Results::Retry));
        assert!(farm.restored.requests.iter().any(|open| open.id == build.request));
        // The next round's request is another one.
        let cancel =
            Write::CompleteRequest { request: build.request, results: Results::Cancelled, at: at(9) };
        farm.store.commit(vec![cancel]).await.unwrap();
        farm.store.close().await;
    }
    place::check(directory.path());
}
