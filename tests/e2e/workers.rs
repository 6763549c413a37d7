//! Workers that are not as they should be.

use testkit::{
    venv::{Found, Venv},
    worker::{Signal, StockWorker, WorkerKind, WorkerOptions},
};

use crate::farm::{Farm, PASSWORD, force, shell_builder};

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

/// The process of the local worker `here`, and its files.
fn local_pid(farm: &Farm) -> Option<i32> {
    let record = std::fs::read(farm.path("workers/here/worker.process")).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
    let pid = i32::try_from(record["pid"].as_i64()?).ok()?;
    is_alive(pid).then_some(pid)
}

/// Nobody may wait for a process whose parent was killed: without a program it has ended.
fn is_alive(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok()
}

fn kill(pid: i32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.expect("a `kill`").success());
}

#[test]
fn a_local_worker_lives_beside_its_master_and_as_long() {
    let program = WorkerKind::NEWEST.venv().expect("its environment is made").program("buildbot-worker");
    let objects = format!(
        "[[worker]]\nname = \"here\"\ntype = \"LocalWorker\"\nprogram = {program:?}\n\
         [[builder]]\nname = \"b\"\nworkers = [\"here\"]\n\
         [[builder.step]]\ntype = \"ShellCommand\"\nname = \"run\"\ncommand = \"echo x >> times; wc -l < times\"\n{}",
        force(&["b"])
    );
    let mut farm = Farm::start(&objects);
    assert_eq!(farm.build("b", &[])["results"], 0);
    let first = local_pid(&farm).expect("it runs");

    // It dies, and comes back to what it had.
    kill(first);
    let second = farm.eventually("another process", |farm| local_pid(farm).filter(|pid| *pid != first));
    assert_eq!(farm.build("b", &[])["results"], 0);
    let log = farm.log_of("b", 2, &[]);
    assert!(log.lines().any(|line| line.trim() == "2"), "its directory is the same: {log}");

    // A reload lets it be; what it needs to know stays the same.
    farm.write_config("[[lock]]\ntype = \"MasterLock\"\nname = \"l\"\n");
    let output = farm.ganger(&["reload"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(local_pid(&farm), Some(second));

    // The master dies: the next one ends what is left, and starts its own.
    farm.kill();
    assert_eq!(local_pid(&farm), Some(second));
    farm.restart();
    let third = farm.eventually("another process", |farm| local_pid(farm).filter(|pid| *pid != second));
    assert!(!is_alive(second));
    assert_eq!(farm.build("b", &[])["results"], 0);

    // It ends with the master.
    farm.signal("TERM");
    assert!(farm.wait_for_end().success());
    assert_eq!(local_pid(&farm), None);
    assert!(!is_alive(third));
}
