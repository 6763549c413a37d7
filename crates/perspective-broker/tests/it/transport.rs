//! The driver: what moves, what ends, and when.

use crate::peers::{self, LONG};
use perspective_broker::{Broker, Event, Limits, ProtocolError, Transport, TransportError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async { peers::serve(listener.accept().await.unwrap().0).await };
    let client = async { peers::visit(TcpStream::connect(address).await.unwrap()).await };
    assert_eq!(tokio::join!(server, client).0, 1);
}

#[tokio::test]
async fn over_a_unix_socket() {
    let (here, there) = UnixStream::pair().unwrap();
    assert_eq!(tokio::join!(peers::serve(here), peers::visit(there)).0, 1);
}

#[tokio::test(start_paused = true)]
async fn over_a_pipe_that_holds_one_byte() {
    let (here, there) = duplex(1);
    assert_eq!(tokio::join!(peers::serve(here), peers::visit(there)).0, 1);
}

#[tokio::test(start_paused = true)]
async fn two_peers_that_both_write_do_not_wait_for_each_other() {
    let (mut server, mut client) = peers::pair(4096, Limits::default()).await;
    let talk = async |transport: &mut Transport<_>| {
        for _ in 0..20 {
            peers::send(transport, 500_000);
        }
        let mut heard = 0;
        while heard < 20 || transport.broker().buffered() > 0 {
            match transport.next().await.unwrap() {
                Some(Event::Call { .. }) => heard += 1,
                other => assert!(matches!(other, Some(Event::Relieved)), "{other:?}"),
            }
        }
    };
    timeout(LONG, async { tokio::join!(talk(&mut server), talk(&mut client)) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn next_may_be_dropped_at_any_time() {
    let (mut server, mut client) = peers::pair(100, Limits::default()).await;
    for _ in 0..50 {
        peers::send(&mut client, 1000);
    }
    let mut received = 0;
    while received < 50 {
        // Each side is polled once, and its future dropped.
        tokio::select! {
            biased;
            event = server.next() => {
                assert!(matches!(event.unwrap(), Some(Event::Call { .. })));
                received += 1;
            }
            () = std::future::ready(()) => {}
        }
        tokio::select! {
            biased;
            event = client.next() => panic!("{event:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_between_messages_and_one_that_leaves_within() {
    let (mut server, client) = peers::pair(4096, Limits::default()).await;
    drop(client);
    assert!(server.next().await.unwrap().is_none());
    assert!(server.next().await.unwrap().is_none());

    for within in [&b"\x03"[..], b"\x03\x80", b"\x01\x80\x0a\x82abc"] {
        let (here, mut there) = duplex(4096);
        let mut client = Transport::new(here, Broker::client(Limits::default()));
        there.write_all(within).await.unwrap();
        drop(there);
        let error = client.next().await.unwrap_err();
        assert!(matches!(error, TransportError::Truncated), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_before_an_error_are_delivered() {
    let (here, mut there) = duplex(4096);
    let mut server = Transport::new(here, Broker::server(Limits::default()));
    // The dialect, and then a type byte that there is not.
    there.write_all(b"\x02\x82pb\xff").await.unwrap();
    assert!(matches!(server.next().await.unwrap(), Some(Event::Ready { .. })));
    for _ in 0..2 {
        let error = server.next().await.unwrap_err();
        assert!(matches!(error, TransportError::Protocol(ProtocolError::Decode(_))), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_has_a_minute_to_log_in() {
    // Nothing, half a word, a word byte by byte for ever, the dialect and no more, a login without a response.
    let login = b"\x02\x82pb\x07\x80\x1a\x87\x01\x81\x04\x82root\x14\x87\x01\x81\x02\x80\x0b\x87\x01\x82x\x01\x80\x05\x87";
    for said in [&b""[..], b"\x02\x82p", b"\x02\x82pb", login] {
        let (here, mut there) = duplex(4096);
        let mut server = Transport::new(here, Broker::server(Limits::default()));
        there.write_all(said).await.unwrap();
        let start = Instant::now();
        let error = loop {
            match server.next().await {
                Ok(event) => assert!(matches!(event, Some(Event::Ready { .. })), "{event:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, TransportError::HandshakeTimeout(_)), "{error:?}");
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    let (here, mut there) = duplex(4096);
    let mut server = Transport::new(here, Broker::server(Limits::default()));
    let trickle = async {
        loop {
            there.write_all(b"\x00").await.unwrap();
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    };
    let error = tokio::select! {
        result = server.next() => result.unwrap_err(),
        () = trickle => unreachable!(),
    };
    assert!(matches!(error, TransportError::HandshakeTimeout(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_in_may_be_silent() {
    let (here, there) = duplex(4096);
    let server = tokio::spawn(peers::serve(here));
    let mut client = Transport::new(there, Broker::client(Limits::default()));
    let perspective = peers::log_in(&mut client).await;
    timeout(Duration::from_secs(1_000_000), client.next()).await.unwrap_err();
    client.broker().call(perspective, "still there", vec![], vec![]).unwrap();
    assert!(matches!(client.next().await.unwrap(), Some(Event::Answered { .. })));
    drop(client);
    assert_eq!(server.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_has_its_minute_again() {
    let (here, there) = duplex(4096);
    let mut server = Transport::new(here, Broker::server(Limits::default()));
    let mut client = Transport::new(there, Broker::client(Limits::default()));
    let stranger = tokio::spawn(async move {
        client.broker().login("x", b"wrong", None).unwrap();
        while client.next().await.is_ok_and(|event| event.is_some()) {}
    });
    let login = loop {
        match server.next().await.unwrap() {
            Some(Event::Login { login, .. }) => break login,
            other => assert!(matches!(other, Some(Event::Ready { .. })), "{other:?}"),
        }
    };
    // The time that the owner takes is not the peer's.
    timeout(Duration::from_secs(1000), server.next()).await.unwrap_err();
    server.broker().refuse_login(login).unwrap();
    let start = Instant::now();
    let error = server.next().await.unwrap_err();
    assert!(matches!(error, TransportError::HandshakeTimeout(_)), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 60);
    drop(server);
    stranger.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_given_up() {
    let limits = Limits { high_water: 100_000, outgoing: 1_000_000, ..Limits::default() };
    let (mut server, client) = peers::pair(1000, limits).await;
    let mut sent = 0;
    while !server.is_congested() {
        peers::send(&mut server, 10_000);
        sent += 1;
    }
    assert_eq!(sent, 10);
    // An owner that does not mind the congestion.
    let refused = std::iter::from_fn(|| {
        let args = vec![perspective_broker::Value::bytes(vec![b'x'; 10_000])];
        Some(server.broker().send(perspective_broker::Callee::Root, "take", args, vec![]))
    });
    assert!(refused.take(100).any(|sent| sent.is_err()));
    assert!(server.broker().buffered() <= 1_000_000);
    let error = server.next().await.unwrap_err();
    assert!(matches!(error, TransportError::Protocol(ProtocolError::NotReading { .. })), "{error:?}");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_congested_owner_goes_on_when_the_peer_reads() {
    let limits = Limits { high_water: 10_000, ..Limits::default() };
    let (mut server, mut client) = peers::pair(1000, limits).await;
    let produce = async {
        let mut left = 200;
        while left > 0 {
            tokio::select! {
                event = server.next() => assert!(matches!(event.unwrap(), Some(Event::Relieved))),
                () = std::future::ready(()), if !server.is_congested() => {
                    peers::send(&mut server, 5000);
                    left -= 1;
                }
            }
        }
        server.close(LONG).await
    };
    let consume = async {
        let mut received = 0;
        while client.next().await.unwrap().is_some() {
            received += 1;
        }
        drop(client);
        received
    };
    let both = async { tokio::join!(produce, consume) };
    assert_eq!(timeout(LONG, both).await.unwrap(), (true, 200));
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_says_before_it_goes_is_heard() {
    let (mut server, mut client) = peers::pair(100_000, Limits::default()).await;
    peers::send(&mut server, 1000);
    peers::send(&mut client, 1000);
    client.flush().await.unwrap();
    drop(client);
    // Writing fails, but there is something to read.
    let heard = server.next().await.unwrap();
    assert!(matches!(heard, Some(Event::Call { .. })), "{heard:?}");
    assert!(matches!(server.next().await, Ok(None)));
}

#[tokio::test(start_paused = true)]
async fn room_for_what_a_slow_peer_did_not_read_is_given_back() {
    let (mut server, mut client) = peers::pair(4096, Limits::default()).await;
    for _ in 0..20 {
        peers::send(&mut server, 500_000);
    }
    let heard = async {
        for _ in 0..20 {
            assert!(client.next().await.unwrap().is_some())
        }
    };
    let (flushed, ()) = tokio::join!(server.flush(), heard);
    flushed.unwrap();
    assert!(!server.broker().outgoing().try_reclaim(Limits::default().high_water));
}

#[tokio::test(start_paused = true)]
async fn closing_takes_no_longer_than_its_grace() {
    let (mut server, client) = peers::pair(1000, Limits::default()).await;
    peers::send(&mut server, 5000);
    let start = Instant::now();
    assert!(!server.close(Duration::from_secs(5)).await);
    assert_eq!(start.elapsed().as_secs(), 5);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn flushing_writes_without_reading() {
    let (here, mut there) = duplex(100_000);
    let mut server = Transport::new(here, Broker::server(Limits::default()));
    there.write_all(b"\xff").await.unwrap();
    server.flush().await.unwrap();
    let mut offer = [0; 12];
    there.read_exact(&mut offer).await.unwrap();
    assert_eq!(&offer, b"\x02\x80\x02\x82pb\x04\x82none");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_half_open_connections() {
    let before = resident();
    let mut peers = Vec::new();
    let mut servers = JoinSet::new();
    for number in 0..10_000 {
        let (here, mut there) = duplex(64);
        // Most announce about the longest string that they may, and then say nothing more.
        let said: &[u8] = if number % 4 == 0 { b"" } else { b"\x02\x82pb\x01\x80\x00\x00\x0f\x82x" };
        there.write_all(said).await.unwrap();
        peers.push(there);
        servers.spawn(async {
            let mut server = Transport::new(here, Broker::server(Limits::default()));
            loop {
                match server.next().await {
                    Ok(event) => assert!(matches!(event, Some(Event::Ready { .. })), "{event:?}"),
                    Err(error) => break error,
                }
            }
        });
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let each = resident().saturating_sub(before) / 10_000;
    assert!(each < 8 * 1024, "{each} bytes for each");
    let start = Instant::now();
    while let Some(error) = servers.join_next().await {
        assert!(matches!(error.unwrap(), TransportError::HandshakeTimeout(_)));
    }
    assert!(start.elapsed().as_secs() <= 60);
}

/// The memory that this process occupies, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
