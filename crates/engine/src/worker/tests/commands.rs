//! What builds do on a worker.

use bytes::Bytes;
use worker_protocol::{Command, Program, Shell, UploadFile};

use super::*;
use crate::worker::{CommandError, CommandEvent, RunningCommand};

fn shell(words: &[&str]) -> Command {
    Command::Shell(Box::new(Shell::new("build", Program::words(words.iter().map(|word| (*word).to_owned())))))
}

/// Reads a command to its end: what it printed, and how it ended.
async fn output(command: &mut RunningCommand) -> (String, CommandEvent) {
    let mut text = String::new();
    loop {
        match timeout(LIMIT, command.next()).await.expect("an event in time") {
            CommandEvent::Update(worker_protocol::Update::Stdout(piece)) => text.push_str(&piece),
            CommandEvent::Update(_) => {}
            end => return (text, end),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_tells_all_it_prints_and_then_its_end() {
    let mut house = House::new();
    let _worker = house.worker(options("w1", PASSWORD));
    let (_session, link) = house.attach("w1", &["b1"]).await;
    link.ping().await.expect("it answers");
    link.start_build("b1").await;
    let mut command = link.command("b1", shell(&["echo", "hello", "there"])).await.expect("it starts");
    let (text, end) = output(&mut command).await;
    assert_eq!(text.trim_end(), "hello there");
    assert!(matches!(end, CommandEvent::Complete(None)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dropped_when_the_build_is_slow() {
    let mut house = House::with_limits(Limits { command_events: 2, ..Limits::default() });
    let worker = house.worker(options("w1", PASSWORD));
    let (session, link) = house.attach("w1", &["b1"]).await;
    let mut command = link.command("b1", shell(&["hang"])).await.expect("it starts");
    let lines = 500;
    worker
        .does(move |worker, broker| {
            for line in 0..lines {
                worker.print(broker, "b1", "stdout", format!("{line} {}\n", "x".repeat(1000)));
            }
            worker.complete(broker, "b1", None);
        })
        .await;
    // The build sleeps for longer than any worker may be silent.
    tokio::time::sleep(Duration::from_secs(5000)).await;
    assert!(house.reports.try_recv().is_err(), "the silence is ours, not the worker's");
    let (text, end) = output(&mut command).await;
    assert_eq!(text.lines().count(), lines);
    assert!(text.lines().enumerate().all(|(n, line)| line.starts_with(&format!("{n} "))));
    assert!(matches!(end, CommandEvent::Complete(None)), "{end:?}");
    assert!(house.sessions.link(session).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_command_can_be_interrupted_while_its_output_waits() {
    let mut house = House::with_limits(Limits { command_events: 1, ..Limits::default() });
    let mut worker = house.worker(options("w1", PASSWORD));
    let (_session, link) = house.attach("w1", &["b1"]).await;
    let mut command = link.command("b1", shell(&["hang"])).await.expect("it starts");
    worker
        .does(|worker, broker| (0..10).for_each(|n| worker.print(broker, "b1", "stdout", format!("{n}\n"))))
        .await;
    command.interrupt("enough").await;
    while !matches!(worker.event().await, FakeEvent::Interrupted { .. }) {}
    let (text, end) = output(&mut command).await;
    assert_eq!(text.lines().count(), 10);
    assert!(matches!(end, CommandEvent::Complete(_)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_ends_its_commands() {
    let mut house = House::new();
    let worker = house.worker(options("w1", PASSWORD));
    let (session, link) = house.attach("w1", &["b1"]).await;
    let mut command = link.command("b1", shell(&["hang"])).await.expect("it starts");
    drop(worker);
    let (_, end) = output(&mut command).await;
    assert!(matches!(&end, CommandEvent::Lost(why) if why == "it closed the connection"), "{end:?}");
    assert!(matches!(command.next().await, CommandEvent::Lost(_)), "again and again");
    house.lost(session).await;
    let again = link.command("b1", shell(&["echo"])).await;
    assert!(matches!(again, Err(CommandError::Lost(_))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_nobody_listens_to_is_stopped_and_its_builder_free_again() {
    let mut house = House::new();
    let mut worker = house.worker(options("w1", PASSWORD));
    let (_session, link) = house.attach("w1", &["b1"]).await;
    let command = link.command("b1", shell(&["hang"])).await.expect("it starts");
    // It says nothing more by itself.
    drop(command);
    while !matches!(worker.event().await, FakeEvent::Interrupted { .. }) {}
    let started = async {
        loop {
            match link.command("b1", shell(&["echo", "free"])).await {
                Ok(command) => break command,
                Err(CommandError::NotStarted(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let mut command = timeout(LIMIT, started).await.expect("free in time");
    assert_eq!(output(&mut command).await.0.trim_end(), "free");
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_start_nobody_waits_for_is_stopped() {
    let mut house = House::new();
    let mut worker = house.worker(options("w1", PASSWORD));
    let (_session, link) = house.attach("w1", &["b1"]).await;
    {
        let mut starting = std::pin::pin!(link.command("b1", shell(&["hang"])));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(starting.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "the connection has not looked at it yet");
    }
    while !matches!(worker.event().await, FakeEvent::Interrupted { .. }) {}
}

#[tokio::test(start_paused = true)]
async fn a_builder_that_is_taken_away_finishes_its_command() {
    let mut house = House::new();
    let mut worker = house.worker(options("w1", PASSWORD));
    let (session, link) = house.attach("w1", &["b1", "b2"]).await;
    let mut command = link.command("b1", shell(&["hang"])).await.expect("it starts");
    house.sessions.set_builders(session, builders(&["b2"]));
    link.ping().await.expect("the order was looked at before");
    worker
        .does(|worker, broker| {
            worker.print(broker, "b1", "stdout", "whole\n");
            worker.complete(broker, "b1", None);
        })
        .await;
    assert_eq!(output(&mut command).await.0, "whole\n");
    loop {
        if let FakeEvent::Builders(names) = worker.event().await
            && names == ["b2"]
        {
            break;
        }
    }
    let gone = link.command("b1", shell(&["echo"])).await;
    assert!(matches!(gone, Err(CommandError::NotStarted(_))), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_waits_for_each_block_to_be_consumed() {
    let mut house = House::new();
    let mut with_file = options("w1", PASSWORD);
    let content = Bytes::from(vec![7; 100_000]);
    with_file.files.insert("out.bin".to_owned(), content.clone());
    let _worker = house.worker(with_file);
    let (_session, link) = house.attach("w1", &["b1"]).await;
    let upload = Command::UploadFile(UploadFile::new("build", "out.bin"));
    let mut command = link.command("b1", upload).await.expect("it starts");
    let mut received = Vec::new();
    loop {
        match timeout(LIMIT, command.next()).await.expect("an event in time") {
            CommandEvent::Write { data, ticket } => {
                received.extend_from_slice(&data);
                command.answer_write(ticket).await;
            }
            CommandEvent::Complete(failure) => {
                assert!(failure.is_none(), "{failure:?}");
                break;
            }
            CommandEvent::Lost(why) => panic!("{why}"),
            _ => {}
        }
    }
    assert_eq!(received, content);
}
