//! Workers that are not as they should be.

use testkit::worker::WorkerKind;

use crate::farm::{Farm, PASSWORD, shell_builder, signal};

#[test]
fn a_wrong_password_is_refused_and_the_worker_goes_on_trying() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let mut worker = farm.worker_process(WorkerKind::newest(), "w1", "wrong");
    farm.eventually("the refusal is logged", |farm| farm.log_text().contains("w1").then_some(()));
    assert!(!farm.is_connected("w1"));
    assert!(worker.is_running(), "a refused worker must not end:\n{}", worker.log_text());
    assert!(!farm.log_text().contains(PASSWORD), "passwords are never logged");
}

#[test]
fn an_unknown_worker_is_refused_and_goes_on_trying() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let mut worker = farm.worker_process(WorkerKind::newest(), "nobody", PASSWORD);
    farm.eventually("the refusal is logged", |farm| farm.log_text().contains("nobody").then_some(()));
    assert!(worker.is_running(), "a refused worker must not end:\n{}", worker.log_text());
}

#[test]
fn a_second_worker_of_the_same_name_waits_for_the_first_to_go() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let first = farm.worker(WorkerKind::newest(), "w1");
    let mut second = farm.worker_process(WorkerKind::newest(), "w1", PASSWORD);
    farm.eventually("the second is refused", |farm| farm.log_text().contains("duplicate").then_some(()));
    assert!(farm.is_connected("w1"));
    assert!(second.is_running(), "a refused worker must not end:\n{}", second.log_text());
    assert_eq!(farm.build("b", &[])["results"], 0);

    first.kill();
    farm.eventually("the second takes its place", |farm| {
        (farm.is_connected("w1") && second.is_running()).then_some(())
    });
    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 0, "{build}");
}

#[test]
fn a_worker_that_stops_answering_is_noticed() {
    let mut farm = Farm::start(&shell_builder("b", &[("long", "sleep 1000")]));
    let worker = farm.worker(WorkerKind::newest(), "w1");
    farm.ganger(&["force", "b"]);
    farm.eventually("the build runs", |farm| farm.find("b", 1));
    signal(worker.process_id(), "STOP");
    let build = farm.wait_complete("b", 1);
    assert_eq!(build["results"], 5, "{build}");
    assert!(!farm.is_connected("w1"));
    signal(worker.process_id(), "CONT");
}

#[test]
fn a_worker_may_ask_to_leave() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let mut worker = farm.worker(WorkerKind::newest(), "w1");
    signal(worker.process_id(), "HUP");
    farm.eventually("the worker ends", |_| (!worker.is_running()).then_some(()));
    farm.wait_connected("w1", false);
}
