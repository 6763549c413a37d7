//! Master and worker are killed in the middle of things.

use testkit::worker::{Signal, WorkerKind};

use crate::farm::{Farm, shell_builder};

/// Prints a line each twentieth of a second, for as long as it takes; ends at once when there is a file `go`.
fn slow(farm_file: &str) -> String {
    format!(
        "for i in $(seq 1 2000); do [ -e {farm_file} ] && break; echo line $i; sleep 0.05; done; echo done"
    )
}

fn slow_farm() -> (Farm, std::path::PathBuf, tempfile::TempDir) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let go = scratch.path().join("go");
    let farm = Farm::start(&shell_builder("b", &[("slow", &slow(&go.display().to_string()))]));
    (farm, go, scratch)
}

#[test]
fn a_killed_master_loses_no_request_and_no_line_it_has_shown() {
    let (mut farm, go, _scratch) = slow_farm();
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b", "--reason", "survive"]);
    farm.wait_lines("b", 1, "slow", 3);
    let shown = farm.log_of("b", 1, &[]);
    farm.kill();
    std::fs::write(&go, "").expect("a writable scratch directory");
    farm.restart();

    let interrupted = farm.wait_complete("b", 1);
    assert_eq!(interrupted["results"], 5, "{interrupted}");
    let kept = farm.log_of("b", 1, &[]);
    assert!(kept.starts_with(shown.trim_end()), "shown before:\n{shown}\nkept:\n{kept}");
    let again = farm.wait_complete("b", 2);
    assert_eq!(again["results"], 0, "{again}");
    assert!(farm.find("b", 3).is_none(), "the request is built again once");
}

#[test]
fn a_killed_worker_has_its_build_done_again() {
    let (mut farm, go, _scratch) = slow_farm();
    let worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b"]);
    farm.wait_lines("b", 1, "slow", 1);
    worker.signal(Signal::KILL).expect("it runs");
    let lost = farm.wait_complete("b", 1);
    assert_eq!(lost["results"], 5, "{lost}");
    std::fs::write(&go, "").expect("a writable scratch directory");
    let _worker = farm.worker(WorkerKind::NEWEST);
    let again = farm.wait_complete("b", 2);
    assert_eq!(again["results"], 0, "{again}");
}

#[test]
fn a_pending_request_survives_many_crashes() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "echo once")]));
    farm.ganger(&["force", "b"]);
    for _ in 0..3 {
        farm.kill();
        farm.restart();
    }
    let _worker = farm.worker(WorkerKind::NEWEST);
    let build = farm.wait_complete("b", 1);
    assert_eq!(build["results"], 0, "{build}");
    assert!(farm.find("b", 2).is_none(), "the request is built once");
}
