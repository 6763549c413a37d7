//! What commands print arrives whole.

use testkit::worker::WorkerKind;

use crate::farm::{Farm, force, shell_builder};

#[test]
fn many_lines_arrive_whole_and_in_order() {
    let mut farm = Farm::start(&shell_builder("b", &[("many", "seq 1 100000")]));
    let _worker = farm.worker(WorkerKind::NEWEST);
    assert_eq!(farm.build("b", &[])["results"], 0);
    let log = farm.log_of("b", 1, &[]);
    let numbers: Vec<u32> = log.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers.len(), 100_000);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn text_of_any_kind_is_kept() {
    let script = r#"printf 'gr\303\274n \342\230\203\n'; printf '\033[31mred\033[0m\n'; printf 'bad \377 byte\n'; printf 'error\n' >&2; printf 'no end'"#;
    let mut farm = Farm::start(&shell_builder("b", &[("print", script)]));
    let _worker = farm.worker(WorkerKind::NEWEST);
    assert_eq!(farm.build("b", &[])["results"], 0);
    let log = farm.log_of("b", 1, &[]);
    for expect in ["grün ☃\n", "\u{1b}[31mred\u{1b}[0m\n", "bad \u{fffd} byte\n", "error\n", "no end\n"] {
        assert!(log.contains(expect), "{expect:?} is not in\n{log}");
    }
}

#[test]
fn other_log_files_are_logs_of_their_own() {
    let objects = r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "write"
command = "for i in 1 2 3; do echo entry $i >> test.log; done; echo written"
[builder.step.logfiles]
report = "test.log"
"#
    .to_owned()
        + &force(&["b"]);
    let mut farm = Farm::start(&objects);
    let _worker = farm.worker(WorkerKind::NEWEST);
    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 0, "{build}");
    let log = farm.log_of("b", 1, &["--step", "write", "--log", "report"]);
    assert_eq!(log.lines().collect::<Vec<_>>(), ["entry 1", "entry 2", "entry 3"]);
}

#[test]
fn a_log_can_be_followed_to_the_end_of_its_build() {
    let mut farm =
        Farm::start(&shell_builder("b", &[("slow", "for i in 1 2 3 4; do echo tick $i; sleep 0.2; done")]));
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b"]);
    farm.eventually("the build runs", |farm| farm.find("b", 1));
    let log = farm.log_of("b", 1, &["-f"]);
    for tick in 1..=4 {
        assert!(log.contains(&format!("tick {tick}\n")), "{log}");
    }
}
