//! What needs no master.

use std::fs;

use serde_json::Value;

use crate::program::{ganger, stderr, stdout};

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for args in [&["nonsense"][..], &[], &["builds", "--limit", "0"], &["force", "--property", "x"], &["log"]]
    {
        let output = ganger(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
    assert_eq!(ganger(&["--help"]).status.code(), Some(0));
    assert!(stdout(&ganger(&["--version"])).starts_with("ganger "));
}

#[test]
fn help_documents_the_exit_codes() {
    let help = stdout(&ganger(&["--help"]));
    for code in ["0  ", "1  ", "64  ", "66  ", "69  ", "70  ", "73  ", "75  "] {
        assert!(help.contains(code), "{code} is not in\n{help}");
    }
}

#[test]
fn what_new_writes_check_takes() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let farm = scratch.path().join("a/farm");
    let farm = farm.to_str().expect("UTF-8");
    let output = ganger(&["new", farm]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("ganger start"), "it says what to do next");

    let output = ganger(&["check", farm]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let written = fs::read_to_string(format!("{farm}/ganger.toml")).expect("it is there");
    let again = ganger(&["new", farm]);
    assert_eq!(again.status.code(), Some(73));
    assert!(stderr(&again).contains("already there"), "{}", stderr(&again));
    assert_eq!(fs::read_to_string(format!("{farm}/ganger.toml")).expect("it is there"), written);
}

#[test]
fn check_tells_all_errors_at_once_with_their_places() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("ganger.toml");
    let text = "[master]\ntitel = \"x\"\n\n[[builder]]\nname = \"b\"\nworkers = [\"w1\"]\n";
    fs::write(&file, text).expect("a writable directory");
    let file = file.to_str().expect("UTF-8");

    let output = ganger(&["check", file]);
    assert_eq!(output.status.code(), Some(64));
    let said = stderr(&output);
    for expect in ["ganger.toml:2:1", "title", "ganger.toml:6:12", "w1"] {
        assert!(said.contains(expect), "{expect} is not in\n{said}");
    }
    assert!(!said.contains('\x1b'), "no colours without a terminal:\n{said}");

    let output = ganger(&["check", "--json", file]);
    assert_eq!(output.status.code(), Some(64));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["ok"], false);
    assert_eq!(
        (&found["diagnostics"][0]["line"], &found["diagnostics"][0]["column"]),
        (&2.into(), &1.into())
    );

    let output = ganger(&["start", scratch.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(64), "a master does not start on it either");
}

#[test]
fn check_says_which_pools_cannot_have_machines_here() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("ganger.toml");
    let pool = |name: &str, local: &str| {
        format!("[[pool]]\nname = \"{name}\"\nmax = 1\n[pool.local]\nprogram = \"/bin/sh\"\n{local}\n")
    };
    let check = |text: &str| {
        fs::write(&file, text).expect("a writable directory");
        let output = ganger(&["check", "--json", file.to_str().expect("UTF-8")]);
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let all = found["diagnostics"].as_array().expect("a list").iter();
        let lines: Vec<String> =
            all.map(|one| format!("{}:{} {}", one["line"], one["column"], one["message"])).collect();
        (output.status.code(), lines.join("\n"))
    };
    let (code, said) = check(&pool("good", "directory = \"machines\""));
    assert_eq!(code, Some(0), "{said}");
    assert!(!scratch.path().join("machines").exists(), "nothing is made");
    let said = stdout(&ganger(&["check", file.to_str().expect("UTF-8")]));
    assert!(said.contains("is fine: 0 workers, 1 pool, 0 builders, 0 schedulers"), "{said}");

    let missing = pool("linux", "").replace("/bin/sh", "/nope/buildbot-worker");
    let strangers =
        pool("mac", "user = \"nobody-of-that-name\"\ncgroup = \"/nope\"\ndirectory = \"ganger.toml\"");
    let (code, said) = check(&format!("{missing}{strangers}"));
    assert_eq!(code, Some(64), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let expect = [
        ("5:11", "pool linux cannot have machines: /nope/buildbot-worker cannot be found"),
        ("12:8", "pool mac cannot have machines: machines cannot run as user `nobody-of-that-name`"),
        ("13:10", "pool mac cannot have machines: machines cannot live in the control group /nope"),
        ("14:13", "pool mac cannot have machines: machines cannot live in"),
    ];
    assert_eq!(lines.len(), expect.len(), "{said}");
    for (line, (place, text)) in lines.iter().zip(expect) {
        assert!(line.starts_with(place) && line.contains(text), "{line}");
    }
    let (code, said) = check(&format!("[master]\nlisten = [\"unix:workers.sock\"]\n{}", pool("linux", "")));
    assert!(
        code == Some(64) && said.contains("pool linux cannot have machines: its workers have no address"),
        "{said}"
    );
}

#[test]
fn without_a_master_commands_say_how_to_start_one() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let directory = scratch.path().to_str().expect("UTF-8");
    for args in [&["status"][..], &["force", "b1"], &["builds"], &["log", "b1"], &["reload"], &["shutdown"]] {
        let output = ganger(&[args, &["-C", directory]].concat());
        assert_eq!(output.status.code(), Some(69), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("ganger start"), "{}", stderr(&output));
    }
    let output = ganger(&["start", directory]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("ganger new"), "{}", stderr(&output));
}

#[test]
fn a_socket_that_nobody_listens_on_is_no_master() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    drop(std::os::unix::net::UnixListener::bind(scratch.path().join("ganger.sock")).expect("a socket"));
    let output = ganger(&["status", "-C", scratch.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
}

#[test]
fn completions_are_a_script() {
    assert!(stdout(&ganger(&["completions", "bash"])).contains("stop-build"));
}

#[test]
fn a_quickstart_without_its_tools_says_what_to_install() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let output = crate::program::command(&["quickstart", "--once"]).env("PATH", scratch.path()).output();
    let output = output.expect("the program is built");
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("python3") && said.contains("git") && said.contains("apt install"), "{said}");
}

#[test]
fn a_quickstart_writes_into_no_directory_that_is_in_use() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    fs::write(scratch.path().join("precious"), "").expect("a writable directory");
    let output = ganger(&["quickstart", "--once", scratch.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(73), "{}", stderr(&output));
    assert_eq!(fs::read_dir(scratch.path()).expect("a directory").count(), 1);
}
