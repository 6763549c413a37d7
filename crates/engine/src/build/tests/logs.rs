//! The log path: any pieces of text give the same lines, viewers hear of them soon, secrets never get there.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use storage::log::Stream;
use tokio::sync::mpsc;

use super::{Act, BUILD, Bench, Player};
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
    let mut acts: Vec<Act> = said.iter().map(|(stream, text)| act(*stream, text)).collect();
    acts.push(Act::Tell(crate::build::Report::Complete(None)));
    let bench = Bench::new(STEP).await;
    let store = bench.store.clone();
    let directory = bench.directory.path().to_owned();
    let (_stop, control) = mpsc::channel(1);
    let player = Player::of(vec![acts]);
    let means = super::Means {
        worker: player as Arc<dyn crate::build::Commander>,
        store: store.clone(),
        notices: bench.notices.clone(),
        clock: Arc::new(crate::SystemClock::new()),
        base_dir: directory,
        log_compression: config::LogCompression::Gz,
    };
    crate::build::run(bench.order.clone(), means, control).await;
    let step = store.steps(BUILD).await.unwrap().remove(1);
    let log = store.logs(step.id).await.unwrap().remove(0);
    let mut text = String::new();
    let mut at = 0;
    while at < log.num_lines {
        let lines = store.log_lines(log.id, at, 100_000).await.unwrap();
        for line in lines.text.lines() {
            let line = line.strip_prefix('o').unwrap();
            text.push_str(line);
            if line.len() < 100_000 {
                text.push('\n');
            }
        }
        at = lines.first_line + lines.num_lines;
    }
    let numbers: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    assert!(text.starts_with(&long) && text.ends_with(&numbers), "{} bytes", text.len());
    store.close().await;
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
    let steps = "[[builder.step]]\ntype = 'ShellCommand'\ncommand = 'login %(secret:KEY)s'";
    let [rc, end] = Act::end(0);
    let player =
        Player::of(vec![vec![Act::header("login s3c"), Act::header("r3t\n"), Act::out("s3cr3t\n"), rc, end]]);
    let ran = Bench::new(steps).await.run(&player).await;
    assert_eq!(player.seen()[0], "shell login s3cr3t env=BENV=1,X=b");
    assert_eq!(ran.step("shell").log("stdio"), "hlogin <KEY>\no<KEY>\nhprogram finished with exit code 0\n");
    assert!(!format!("{ran:?}").contains("s3cr3t"));
}
