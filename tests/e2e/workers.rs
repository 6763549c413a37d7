//! Workers that are not as they should be.

use testkit::{
    venv::{Found, Venv},
    worker::{Signal, StockWorker, WorkerKind, WorkerOptions},
};

use crate::farm::{Farm, PASSWORD, shell_builder};

fn is_running(worker: &mut StockWorker) -> bool {
    worker.exited().expect("it is our child").is_none()
}

#[test]
fn a_wrong_password_is_refused_and_the_worker_goes_on_trying() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let mut worker = farm.worker_with(WorkerKind::NEWEST, &WorkerOptions::new(farm.port(), "w1", "wrong"));
    farm.eventually("the refusal is logged", |farm| farm.log_text().contains("w1").then_some(()));
    assert!(!farm.is_connected("w1"));
    assert!(is_running(&mut worker), "a refused worker must not end:\n{}", worker.log());
    assert!(!farm.log_text().contains(PASSWORD), "passwords are never logged");
}

#[test]
fn an_unknown_worker_is_refused_and_goes_on_trying() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let mut worker =
        farm.worker_with(WorkerKind::NEWEST, &WorkerOptions::new(farm.port(), "nobody", PASSWORD));
    farm.eventually("the refusal is logged", |farm| farm.log_text().contains("nobody").then_some(()));
    assert!(is_running(&mut worker), "a refused worker must not end:\n{}", worker.log());
}

#[test]
fn a_second_worker_of_the_same_name_waits_for_the_first_to_go() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let first = farm.worker(WorkerKind::NEWEST);
    let mut second = farm.worker_with(WorkerKind::NEWEST, &WorkerOptions::new(farm.port(), "w1", PASSWORD));
    farm.eventually("the second is refused", |farm| farm.log_text().contains("turned away").then_some(()));
    assert!(farm.is_connected("w1"));
    assert!(is_running(&mut second), "a refused worker must not end:\n{}", second.log());
    assert_eq!(farm.build("b", &[])["results"], 0);

    drop(first);
    farm.eventually("the second takes its place", |farm| {
        let attached = farm.log_text().matches("worker attached").count();
        (attached == 2 && farm.is_connected("w1")).then_some(())
    });
    assert!(is_running(&mut second), "{}", second.log());
    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 0, "{build}");
}

#[test]
fn a_worker_that_stops_answering_is_noticed() {
    let mut farm = Farm::start(&shell_builder("b", &[("long", "sleep 1000")]));
    let worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b"]);
    farm.eventually("the build runs", |farm| farm.find("b", 1));
    worker.signal(Signal::STOP).expect("it runs");
    let build = farm.wait_complete("b", 1);
    assert_eq!(build["results"], 5, "{build}");
    farm.wait_connected("w1", false);
    worker.signal(Signal::CONT).expect("it runs");
}

#[test]
fn a_worker_may_ask_to_leave() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let options =
        WorkerOptions { graceful_shutdown: true, ..WorkerOptions::new(farm.port(), "w1", PASSWORD) };
    let mut worker = farm.worker_with(WorkerKind::NEWEST, &options);
    farm.wait_connected("w1", true);
    worker.signal(Signal::HUP).expect("it runs");
    farm.eventually("the worker ends", |_| (!is_running(&mut worker)).then_some(()));
    farm.wait_connected("w1", false);
}

#[test]
fn a_worker_comes_in_over_tls() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let roots = scratch.path().join("roots");
    std::fs::create_dir(&roots).expect("a writable scratch directory");
    std::fs::write(roots.join("master.pem"), made.cert.pem()).expect("a writable scratch directory");
    let key = scratch.path().join("master.key");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a writable scratch directory");
    let endpoint = format!("tls:127.0.0.1:0:cert={}/master.pem:key={}", roots.display(), key.display());
    let mut farm = Farm::listening_too(&endpoint, &shell_builder("b", &[("one", "echo over TLS")]));
    let address = farm.json(&["status"])["master"]["listen"][1].as_str().expect("an address").to_owned();
    let port = address.rsplit(':').next().expect("a port");

    // Stock workers need pyOpenSSL for it, which this environment has.
    let Found::Ready(venv) = Venv::find("master-4.3.0").expect("its environment is made") else {
        panic!("it needs no Python 2.7")
    };
    let options = WorkerOptions {
        connection_string: Some(format!("tls:host=localhost:port={port}:trustRoots={}", roots.display())),
        ..WorkerOptions::new(0, "w1", PASSWORD)
    };
    let _worker = StockWorker::start(WorkerKind::NEWEST, &venv, &options).expect("a worker can be started");
    farm.wait_connected("w1", true);
    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 0, "{build}");
}
