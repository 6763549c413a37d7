//! Buildbot's own command line clients.

use testkit::{
    venv::{Found, Venv},
    worker::WorkerKind,
};

use crate::farm::Farm;

#[test]
fn buildbot_sendchange_brings_a_change() {
    let mut farm = Farm::start_with(
        "change-password = \"changepw\"",
        r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "tell"
command = "echo %(prop:revision)s by %(prop:owners)s"
[[scheduler]]
type = "AnyBranchScheduler"
name = "all"
builderNames = ["b"]
"#,
    );
    let _worker = farm.worker(WorkerKind::NEWEST);
    let Found::Ready(venv) = Venv::find("master-4.3.0").expect("its environment is made") else {
        panic!("it needs no Python 2.7")
    };
    let send = |password: &str| {
        venv.command("buildbot")
            .args(["sendchange", "--master", &format!("127.0.0.1:{}", farm.port())])
            .args(["--auth", &format!("change:{password}"), "--who", "Zoë", "--branch", "topic"])
            .args(["--revision", "abc123", "--comments", "grün", "Makefile"])
            .output()
            .expect("buildbot can be run")
    };
    let refused = send("wrong");
    assert!(!refused.status.success(), "a wrong password is refused");
    let sent = send("changepw");
    assert!(
        sent.status.success(),
        "{}{}",
        String::from_utf8_lossy(&sent.stdout),
        String::from_utf8_lossy(&sent.stderr)
    );
    let build = farm.wait_complete("b", 1);
    assert_eq!(build["results"], 0, "{build}");
    assert_eq!(build["properties"]["owners"]["value"][0], "Zoë", "{build}");
    let log = farm.log_of("b", 1, &[]);
    assert!(log.contains("abc123 by [Zoë]\n"), "{log}");
}
