//! The program as machines have it: real processes, a real worker, real TLS. The metadata service and the master's answers
//! are made here, as neither can be had on demand with the faults that matter.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod guard;
mod site;

use std::{fs, net::TcpListener};

use serde_json::{Value, json};

use crate::site::{Asked, Machine, Server, document, metadata};

const WORKER: &str = r#"{"version":1,"instance":17,"name":"linux@17","password":"s3kr1t"}"#;

/// A worker of which only the process counts.
const IDLE: &str = "#!/bin/sh\nexec sleep 1000\n";

/// Lets everybody enroll, and sees an idle machine.
fn lets_in(asked: &Asked, _: &[Asked]) -> (u16, String) {
    match &*asked.line {
        "POST /enroll" => (200, WORKER.into()),
        "GET /machine" => (200, r#"{"version":1,"state":"idle","builds":3}"#.into()),
        _ => (204, String::new()),
    }
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// User data, and the identity that every instance has.
fn instance(data: Value) -> impl Fn(&str, &[Asked]) -> Option<String> + Send + Sync + 'static {
    move |path, _| match path {
        "user-data" => Some(data.to_string()),
        "meta-data/instance-id" => Some("i-0abc".into()),
        "dynamic/instance-identity/document" => Some("{\n \"a\" : 1 }".into()),
        "dynamic/instance-identity/signature" => Some("c2ln\nbmF0".into()),
        "dynamic/instance-identity/rsa2048" => Some("cGtj\nczc=".into()),
        _ => None,
    }
}

#[test]
fn an_instance_enrolls_by_its_identity_and_its_worker_logs_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Not yet at first; whoever is turned away like that asks again.
    let master = Server::tls(|asked, before| match &*asked.line {
        "POST /enroll" if before.is_empty() => (503, r#"{"error":"unknown","message":"not yet"}"#.into()),
        _ => lets_in(asked, before),
    });
    let enroll =
        json!({"address": master.address, "fingerprint": master.fingerprint, "ticket": "the-ticket"});
    let imds = metadata(instance(document(&listener.local_addr().unwrap().to_string(), enroll)));
    let machine = Machine::start(&["--metadata", &url(&imds)]);
    machine.wait("enrolled", || master.got("POST /enroll").len() == 2);
    // The stock worker, as it was told.
    let _worker = listener.accept().unwrap();

    let claim = master.got("POST /enroll")[1].json();
    assert_eq!(
        (&claim["pool"], &claim["token"], &claim["ticket"]),
        (&json!("linux"), &json!("t-1"), &json!("the-ticket"))
    );
    assert_eq!(
        claim["identity"],
        json!({"kind": "aws", "document": "{\n \"a\" : 1 }", "signature": "c2ln\nbmF0", "rsa2048": "cGtj\nczc="})
    );
    assert_eq!(fs::read_to_string(machine.path("worker/info/host")).unwrap(), "i-0abc\n");
    for secret in ["s3kr1t", "the-ticket"] {
        assert!(!machine.console().contains(secret), "{}", machine.console());
    }
    assert!(!machine.is_off());
}

#[test]
fn a_machine_alone_in_its_call_enrolls_by_a_secret_of_user_data_or_of_its_tags() {
    for tags in [false, true] {
        let master = Server::tls(lets_in);
        let mut enroll = json!({"address": master.address, "fingerprint": master.fingerprint});
        let mut data = document("127.0.0.1:1", Value::Null);
        if !tags {
            enroll["secret"] = "once".into();
            data["instance"] = 17.into();
        }
        data["enroll"] = enroll;
        let others = instance(data);
        let imds = metadata(move |path, before| match path {
            // Tags come a moment after the instance.
            "meta-data/tags/instance/ganger:secret"
                if before.iter().any(|asked| asked.line.ends_with(path)) =>
            {
                Some("once".into())
            }
            "meta-data/tags/instance/ganger:instance" => Some("17".into()),
            _ => others(path, before),
        });
        let machine = Machine::start_with(IDLE, &["--metadata", &url(&imds)]);
        machine.wait("enrolled", || !master.got("POST /enroll").is_empty());
        let claim = master.got("POST /enroll")[0].json();
        assert_eq!(
            (&claim["instance"], &claim["secret"], &claim["machine"]),
            (&json!(17), &json!("once"), &json!("i-0abc"))
        );
        assert!(claim.get("ticket").is_none() && claim.get("identity").is_none(), "{claim}");
        machine.wait("running", || machine.console().contains("the worker linux@17 runs"));
    }
}

#[test]
fn a_certificate_that_is_not_the_masters_gets_no_secret() {
    let (master, other) = (Server::tls(lets_in), Server::tls(lets_in));
    let enroll = json!({"address": other.address, "fingerprint": master.fingerprint, "secret": "once"});
    let imds = metadata(instance(document("127.0.0.1:1", enroll)));
    let machine = Machine::start_with(IDLE, &["--metadata", &url(&imds), "--enroll-within", "0"]);
    machine.wait("given up", || machine.is_off());
    assert!(machine.console().contains("the certificate is not the master's"), "{}", machine.console());
    assert!(other.asked().is_empty() && master.asked().is_empty());
}

#[test]
fn a_machine_that_is_refused_says_why_and_ends() {
    let master = Server::tls(|_, _| (403, r#"{"error":"stale","message":"it took too\nlong"}"#.into()));
    let enroll = json!({"address": master.address, "fingerprint": master.fingerprint, "secret": "once"});
    let imds = metadata(instance(document("127.0.0.1:1", enroll)));
    let machine = Machine::start_with(IDLE, &["--metadata", &url(&imds)]);
    machine.wait("off", || machine.is_off());
    assert!(machine.console().contains("it took too long (stale)"), "{}", machine.console());
    assert_eq!(master.asked().len(), 1);
}

#[test]
fn user_data_that_no_master_wrote_ends_the_machine() {
    for data in ["#!/bin/sh\nreboot".to_owned(), "x".repeat(100_000), String::new()] {
        let imds = metadata(move |path, _| (path == "user-data").then(|| data.clone()));
        let machine = Machine::start_with(IDLE, &["--metadata", &url(&imds)]);
        machine.wait("off", || machine.is_off());
    }
}

/// The document in a file: who the worker is stands in it.
fn told(silence: u32, clean: &str) -> (tempfile::NamedTempFile, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut told = document(&listener.local_addr().unwrap().to_string(), Value::Null);
    told["worker"] = json!({"name": "linux@17", "password": "s3kr1t"});
    told["settings"] = json!({"silence": silence, "clean": clean});
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), told.to_string()).unwrap();
    (file, listener)
}

#[test]
fn a_worker_that_ends_is_started_again_and_a_machine_that_has_no_master_ends() {
    let (file, _listener) = told(2, "never");
    let machine = Machine::start_with(
        "#!/bin/sh\nif [ -e again ]; then exec sleep 1000; fi\ntouch again\n",
        &["--document", file.path().to_str().unwrap()],
    );
    machine.wait("started again", || machine.console().matches("the worker linux@17 runs").count() == 2);
    machine.wait("off", || machine.is_off());
    assert!(machine.console().contains("no master for too long"), "{}", machine.console());
}

#[test]
fn a_build_keeps_a_machine_that_has_no_master() {
    let (file, _listener) = told(1, "never");
    // Ends its command when it is told to.
    let machine = Machine::start_with(
        "#!/bin/sh\nsh -c 'while [ ! -e stop ]; do sleep 0.1; done' &\nwait\nexec sleep 1000\n",
        &["--document", file.path().to_str().unwrap()],
    );
    machine.wait("running", || machine.path("worker/worker.json").exists());
    let begun = std::time::Instant::now();
    machine.wait("older than its silence", || begun.elapsed().as_secs() >= 4);
    assert!(!machine.is_off(), "{}", machine.console());
    fs::write(machine.path("worker/stop"), "").unwrap();
    machine.wait("off", || machine.is_off());
}

#[test]
fn a_connected_worker_keeps_its_machine() {
    let (file, listener) = told(2, "never");
    let machine = Machine::start(&["--document", file.path().to_str().unwrap()]);
    let (stream, _) = listener.accept().unwrap();
    let begun = std::time::Instant::now();
    machine.wait("older than its silence", || begun.elapsed().as_secs() >= 5);
    assert!(!machine.is_off(), "{}", machine.console());
    drop((stream, listener));
    machine.wait("off", || machine.is_off());
}

#[test]
fn what_the_market_says_is_told_once_and_until_it_is_heard() {
    let master = Server::tls(|asked, before| match &*asked.line {
        "POST /machine/warning" if !before.iter().any(|before| before.line == asked.line) => {
            (503, String::new())
        }
        _ => lets_in(asked, before),
    });
    let enroll = json!({"address": master.address, "fingerprint": master.fingerprint, "secret": "once"});
    let others = instance(document("127.0.0.1:1", enroll));
    let imds = metadata(move |path, before| match path {
        "meta-data/spot/instance-action" => {
            Some(r#"{"action":"terminate","time":"2026-11-30T12:00:00Z"}"#.into())
        }
        _ => others(path, before),
    });
    let machine = Machine::start_with(IDLE, &["--metadata", &url(&imds)]);
    machine.wait("told twice", || master.got("POST /machine/warning").len() == 2);
    let looks = || imds.got("GET /latest/meta-data/events/recommendations/rebalance").len();
    let seen = looks();
    machine.wait("watching on", || looks() > seen + 2);
    let warnings = master.got("POST /machine/warning");
    assert_eq!(warnings.len(), 2);
    assert_eq!(warnings[1].json(), json!({"kind": "interruption", "at": "2026-11-30T12:00:00Z"}));
    // linux@17:s3kr1t
    assert_eq!(warnings[1].authorization.as_deref(), Some("Basic bGludXhAMTc6czNrcjF0"));
}

#[test]
fn a_machine_that_is_not_expected_any_more_ends() {
    let master = Server::tls(|asked, before| match &*asked.line {
        "GET /machine" => (401, String::new()),
        _ => lets_in(asked, before),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let enroll = json!({"address": master.address, "fingerprint": master.fingerprint, "secret": "once"});
    let mut data = document(&listener.local_addr().unwrap().to_string(), enroll);
    data["settings"]["silence"] = 5.into();
    let imds = metadata(instance(data));
    // It is let connect again and again, as by a master that then refuses its password.
    let machine = Machine::start(&["--metadata", &url(&imds)]);
    let _stream = listener.accept().unwrap();
    machine.wait("off", || machine.is_off());
    assert!(machine.console().contains("does not expect"), "{}", machine.console());
}

#[test]
fn an_idle_machine_is_cleaned_between_builds_and_links_are_not_followed() {
    let master = Server::tls(lets_in);
    let enroll = json!({"address": master.address, "fingerprint": master.fingerprint, "secret": "once"});
    let mut data = document("127.0.0.1:1", enroll);
    data["settings"]["clean"] = "idle".into();
    let imds = metadata(instance(data));
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "").unwrap();
    // Its first build leaves something.
    let machine = Machine::start_with(
        &format!(
            "#!/bin/sh\nmkdir -p linux/build\nln -s {} linux/build/out\nexec sleep 1000\n",
            outside.path().display()
        ),
        &["--metadata", &url(&imds)],
    );
    machine.wait("cleaned", || !master.got("POST /machine/resume").is_empty());
    assert!(!machine.path("worker/linux").exists() && machine.path("worker/worker.json").exists());
    assert!(outside.path().join("precious").exists());
    let lines: Vec<_> = master
        .asked()
        .into_iter()
        .map(|asked| asked.line)
        .filter(|line| line.starts_with("POST /machine/"))
        .collect();
    assert_eq!(lines, ["POST /machine/pause", "POST /machine/resume"]);
}

#[test]
fn a_machine_that_starts_again_is_the_worker_that_it_was() {
    let master = Server::tls(lets_in);
    let enroll = json!({"address": master.address, "fingerprint": master.fingerprint, "secret": "once"});
    let imds = metadata(instance(document("127.0.0.1:1", enroll)));
    let state = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let machine = Machine::start_with(
            IDLE,
            &["--metadata", &url(&imds), "--state", state.path().to_str().unwrap()],
        );
        machine.wait("running", || machine.console().contains("the worker linux@17 runs"));
    }
    assert_eq!(master.got("POST /enroll").len(), 1);
}
