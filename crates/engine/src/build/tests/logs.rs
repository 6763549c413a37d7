//! The log path: any pieces of text give the same lines, viewers hear of them soon, secrets never get there.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use proptest::prelude::*;
use storage::log::Stream;
use tokio::sync::{Notify, mpsc};

use super::{Act, Bench, Player};
use crate::{BuildControl, Notice, notice::Heard};

const STEP: &str = "[[builder.step]]\ntype = 'ShellCommand'\ncommand = 'make'";

fn act(stream: Stream, text: &str) -> Act {
    match stream {
        Stream::Stdout => Act::out(text),
        Stream::Stderr => Act::err(text),
        Stream::Header => Act::header(text),
    }
}

/// The log of a command that says these things.
async fn logged(said: Vec<(Stream, String)>) -> String {
    let mut acts: Vec<Act> = said.iter().map(|(stream, text)| act(*stream, text)).collect();
    acts.push(Act::Tell(crate::build::Report::Complete(None)));
    let ran = Bench::new(STEP).await.run(&Player::of(vec![acts])).await;
    ran.step("shell").log("stdio").to_owned()
}

/// Cuts a text at characters.
fn cut(text: &str, sizes: &[usize]) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut rest = &characters[..];
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece.iter().collect());
        rest = more;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn however_the_text_is_cut_the_lines_are_the_same(
        text in r"([a-zé\x1b\[0-9;m]{0,12}(\n|\r\n|\r|)){0,12}",
        sizes in proptest::collection::vec(1usize..20, 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let whole = logged(vec![(Stream::Stdout, text.clone())]).await;
            let pieces = cut(&text, &sizes).into_iter().map(|piece| (Stream::Stdout, piece)).collect();
            assert_eq!(logged(pieces).await, whole);
        });
    }
}

#[tokio::test]
async fn streams_are_kept_apart_and_lines_end_with_the_command() {
    let said = [
        (Stream::Header, "make\n in dir build\n"),
        (Stream::Stdout, "one\ntw"),
        (Stream::Stderr, "oops"),
        (Stream::Stdout, "o\n\x1b[31mred\x1b[0m\nla"),
        (Stream::Stdout, "st"),
    ];
    let log = logged(said.map(|(stream, text)| (stream, text.to_owned())).into()).await;
    assert_eq!(log, "hmake\nh in dir build\noone\notwo\no\x1b[31mred\x1b[0m\nolast\neoops\n");
}

#[tokio::test]
async fn a_very_long_line_and_very_many_lines_arrive_whole() {
    let long = "0123456789".repeat(300_000);
    let mut said = vec![(Stream::Stdout, long.clone()), (Stream::Stdout, "\n".to_owned())];
    for number in 0..20_000 {
        said.push((Stream::Stdout, format!("{number}\n")));
    }
    let log = logged(said).await;
    let mut text = String::with_capacity(log.len());
    for line in log.lines() {
        let line = line.strip_prefix('o').unwrap();
        text.push_str(line);
        // Beyond a bound of the store the long line is cut into several.
        if line.len() < 100_000 {
            text.push('\n');
        }
    }
    let numbers: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    assert!(text.starts_with(&long) && text.ends_with(&numbers), "{} bytes", text.len());
}

#[tokio::test]
async fn a_viewer_sees_lines_while_the_command_runs() {
    let [rc, end] = Act::end(0);
    let player = Player::of(vec![vec![Act::out("first\nsec"), Act::UntilInterrupted, rc, end]]);
    let bench = Bench::new(STEP).await;
    let store = bench.store.clone();
    let mut heard = bench.notices.subscribe();
    let (stop, control) = mpsc::channel(1);
    let watch = async {
        loop {
            if let Heard::Notice(notice) = heard.next().await
                && let Notice::LogAppended { log, lines, .. } = &*notice
            {
                // Only what has its end is there.
                assert_eq!(*lines, 1);
                assert_eq!(store.log_lines(*log, 0, 10).await.unwrap().text, "ofirst\n");
                break;
            }
        }
        let reason = "seen".to_owned();
        stop.send(BuildControl::Stop { reason, results: model::Results::Cancelled }).await.unwrap();
    };
    let watched = tokio::time::timeout(Duration::from_secs(20), watch);
    let (ran, watched) = tokio::join!(bench.run_with(&player, control), watched);
    watched.expect("the line was never shown");
    let finished: Vec<_> = ran.notices.iter().filter(|it| matches!(it, Notice::LogFinished { .. })).collect();
    assert_eq!(finished.len(), 2, "{:?}", ran.notices);
}

#[tokio::test]
async fn a_secret_is_shown_by_its_name_only() {
    let steps = "[[builder.step]]\ntype = 'ShellCommand'\ncommand = 'login %(secret:KEY)s'\n\
                 [[builder.step]]\ntype = 'SetProperty'\nproperty = 'p'\nvalue = ['%(secret:KEY)s']\n\
                 [[builder.step]]\ntype = 'ShellCommand'\ncommand = 'again %(prop:p)s'";
    let [rc, end] = Act::end(0);
    let player =
        Player::of(vec![vec![Act::header("login s3c"), Act::header("r3t\n"), Act::out("s3cr3t\n"), rc, end]]);
    let ran = Bench::new(steps).await.run(&player).await;
    assert_eq!(player.seen()[0], "shell login s3cr3t env=BENV=1,X=b");
    assert_eq!(ran.step("shell").log("stdio"), "hlogin <KEY>\no<KEY>\nhprogram finished with exit code 0\n");
    // A property keeps it for the build, and shows it to nobody.
    assert_eq!(ran.properties.get("p"), Some(&serde_json::json!(["<KEY>"])));
    assert_eq!(player.seen()[1], "shell again ['s3cr3t'] env=BENV=1,X=b");
    assert!(!format!("{ran:?}").contains("s3cr3t"));
}

/// Text that does not get shorter by compression.
fn noise(mut seed: u64, length: usize) -> String {
    let mut text = String::with_capacity(length + 1);
    while text.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push(char::from(b'!' + (seed >> 33) as u8 % 90));
    }
    text.push('\n');
    text
}

#[tokio::test]
async fn a_store_that_stands_still_makes_the_worker_wait_and_nothing_is_lost() {
    const LINES: usize = 300;
    let gate = Arc::new(Notify::new());
    let mut acts = vec![Act::Gate(Arc::clone(&gate))];
    acts.extend((0..LINES).map(|number| Act::out(&noise(number as u64, 60_000))));
    acts.extend(Act::end(0));
    let player = Player::of(vec![acts]);
    let bench = Bench::with_room(STEP, 512 << 10).await;
    let (store, database) = (bench.store.clone(), bench.directory.path().join("state.sqlite"));
    let (_stop, control) = mpsc::channel(1);
    let stand_still = async {
        player.started().await;
        let other = rusqlite::Connection::open(&database).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        gate.notify_one();
        // Nothing fits any more.
        while store.submit(Vec::new()).now_or_never().is_some() {
            tokio::task::yield_now().await;
        }
        let told = player.told();
        assert!(told < LINES / 4, "{told} reports were taken while nothing was stored");
        other.execute_batch("ROLLBACK").unwrap();
    };
    let stand_still = tokio::time::timeout(Duration::from_secs(20), stand_still);
    let (ran, stood) = tokio::join!(bench.run_with(&player, control), stand_still);
    stood.expect("the store took everything");
    let log = &ran.steps[1].row;
    assert_eq!(log.state_string, "'make'");
    let lines = ran.notices.iter().find_map(|notice| match notice {
        Notice::LogFinished { lines, .. } => Some(*lines),
        _ => None,
    });
    assert_eq!(lines, Some(LINES as i64 + 1));
}
