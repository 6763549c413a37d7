//! Steps with stock workers: secrets, keys for git, clean workspaces, what depends on the build.

use std::fs;

use testkit::worker::WorkerKind;

use crate::farm::{Farm, Repository, force, step_results};

#[test]
fn secrets_are_shown_nowhere() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let key = "-----BEGIN KEY-----\nqu'ote\\and more of it\n-----END KEY-----\n";
    fs::write(directory.path().join("key"), key).expect("a writable scratch directory");
    fs::write(directory.path().join("word"), "sw0rdfish\n").expect("a writable scratch directory");
    let objects = format!(
        r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "words"
command = ["sh", "-c", "printf '%s' \"$1\" | rev | rev; printf sw0r; sleep 0.5; printf 'dfish\\n'; printf '%s' \"$KEY\" | sed 's/$/\\r/'", "sh", "%(secret:word)s"]
env = {{ KEY = "%(secret:key)s" }}
[[builder.step]]
type = "ShellCommand"
name = "line"
command = "echo '%(secret:word)s'; cat nowhere/%(secret:word)s"
flunkOnFailure = false
[[builder.step]]
type = "SetPropertyFromCommand"
command = ["printenv", "KEY"]
env = {{ KEY = "%(secret:key)s" }}
property = "leak"
[[builder.step]]
type = "MasterShellCommand"
command = "echo %(secret:word)s"
{}
"#,
        force(&["b"])
    );
    let path = directory.path().display();
    let settings = format!("secrets-directory = \"{path}\"");
    let mut farm = Farm::start_with(&settings, &objects);
    let worker = farm.worker(WorkerKind::NEWEST);
    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 0, "{build}\n{}", farm.log_of("b", 1, &[]));
    let mut shown = build.to_string();
    for step in ["words", "line", "setproperty", "MasterShellCommand"] {
        shown.push_str(&farm.log_of("b", 1, &["--step", step]));
    }
    for part in ["sw0rd", "BEGIN KEY", "END KEY", "and more"] {
        assert!(!shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("<word>") && shown.contains("<key>"), "{shown}");
    assert!(!farm.log_text().contains("sw0rd"), "the master's own log");
    let database = fs::read(farm.path("state.sqlite")).expect("a database");
    assert!(!database.windows(5).any(|bytes| bytes == b"sw0rd"), "the database");
    drop(worker);
}

#[test]
fn a_workspace_is_emptied_before_a_build() {
    let objects = r#"
[[builder]]
name = "always"
workers = ["w1"]
clean-workspace = { keep = ["cache"] }
[[builder.step]]
type = "ShellCommand"
name = "look"
command = "ls -A .. && mkdir -p ../cache ../.hidden/deep && touch ../file left"
[[builder]]
name = "sometimes"
workers = ["w1"]
clean-workspace = { when = "after", older-than = 3600, free-below = "1 KiB" }
[[builder.step]]
type = "ShellCommand"
name = "look"
command = "ls -A . .. && touch left"
"#
    .to_owned()
        + &force(&["always", "sometimes"]);
    let mut farm = Farm::start(&objects);
    let _worker = farm.worker(WorkerKind::NEWEST);
    let expect = |results: [i64; 2], names: [&str; 2]| {
        names.iter().zip(results).map(|(name, results)| ((*name).to_owned(), results)).collect::<Vec<_>>()
    };
    for number in 1..=2 {
        let build = farm.build("always", &[]);
        assert_eq!(step_results(&build), expect([0, 0], ["clean workspace", "look"]), "{build}");
        let log = farm.log_of("always", number, &["--step", "look"]);
        let left: Vec<_> = ["cache", ".hidden", "file"]
            .into_iter()
            .filter(|name| log.lines().any(|line| line == *name))
            .collect();
        assert_eq!(left, if number == 1 { vec![] } else { vec!["cache"] }, "{log}");
    }
    let build = farm.build("sometimes", &[]);
    assert_eq!(step_results(&build), expect([0, 0], ["look", "clean workspace"]), "{build}");
    let build = farm.build("sometimes", &[]);
    let log = farm.log_of("sometimes", 2, &["--step", "look"]);
    assert!(!log.lines().any(|line| line == "left"), "the first build was cleaned up after: {log}");
    assert_eq!(step_results(&build), expect([0, 3], ["look", "clean workspace"]), "{build}");
    let log = farm.log_of("sometimes", 2, &["--step", "clean workspace"]);
    assert!(log.contains("bytes are free"), "{log}");
    farm.build("sometimes", &[]);
    let log = farm.log_of("sometimes", 3, &["--step", "look"]);
    assert!(log.lines().any(|line| line == "left"), "the second was not: {log}");
}

#[test]
fn git_is_given_passwords_and_keys_only_while_it_needs_them() {
    let repository = Repository::new();
    let objects = format!(
        r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "GitHub"
repourl = "file://{}"
branch = "refs/heads/master"
sshPrivateKey = "not really a key"
sshHostKey = "ssh-ed25519 AAAA"
auth_credentials = ["me", "open sesame"]
[[builder.step]]
type = "ShellCommand"
name = "after"
command = "git -C ../.. --version; ls -A ../.."
{}
"#,
        repository.path().display(),
        force(&["b"])
    );
    let mut farm = Farm::start(&objects);
    let _worker = farm.worker(WorkerKind::NEWEST);
    let build = farm.build("b", &[]);
    let log = farm.log_of("b", 1, &["--step", "git"]);
    assert_eq!(build["results"], 0, "{build}\n{log}");
    assert!(log.contains(".b.build.buildbot/ssh-key") && log.contains("credential.helper=store"), "{log}");
    assert!(!log.contains("really") && !log.contains("sesame"), "{log}");
    let log = farm.log_of("b", 1, &["--step", "after"]);
    assert!(!log.contains(".buildbot"), "{log}");
}

#[test]
fn steps_depend_on_the_build() {
    let objects = r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "SetPropertiesFromEnv"
variables = "HOME"
[[builder.step]]
type = "Assert"
check = { expression = "prop.HOME == worker.environ.HOME and build.number == 1 and worker.name == 'w1'" }
haltOnFailure = { expression = "results == SUCCESS" }
[[builder.step]]
type = "CMake"
cmake = "echo"
definitions = { A = 1 }
path = { expression = "src.branch ~ '/src'" }
[[builder.step]]
type = "ShellCommand"
name = "fine"
command = ["false"]
doStepIf = { expression = "results != SUCCESS" }
hideStepIf = { expression = "results == SKIPPED" }
"#
    .to_owned()
        + &force(&["b"]);
    let mut farm = Farm::start(&objects);
    let _worker = farm.worker(WorkerKind::NEWEST);
    let build = farm.build("b", &["--branch", "main"]);
    assert_eq!(build["results"], 0, "{build}");
    assert!(farm.log_of("b", 1, &["--step", "cmake"]).contains("-DA=1 main/src"));
    let results = step_results(&build);
    assert_eq!(results.last().map(|(name, results)| (name.as_str(), *results)), Some(("fine", 3)), "{build}");
}
