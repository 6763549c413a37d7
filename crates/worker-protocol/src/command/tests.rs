//! What commands look like on the wire, for workers of each age.

use std::time::Duration;

use super::*;
use crate::text::lossy;

/// A worker whose commands are all of this version.
fn worker(version: &str, python2: bool) -> WorkerInfo {
    let names = [
        "shell",
        "uploadFile",
        "uploadDirectory",
        "downloadFile",
        "mkdir",
        "rmdir",
        "cpdir",
        "stat",
        "glob",
        "listdir",
        "git",
        "svn",
    ];
    let number = CommandVersion::parse(version).unwrap();
    let mut commands: std::collections::BTreeMap<String, String> =
        names.into_iter().map(|name| (name.to_owned(), version.to_owned())).collect();
    if number >= CommandVersion::new(3, 0) {
        commands.remove("git");
        commands.remove("svn");
    }
    if number >= CommandVersion::new(3, 1) {
        commands.insert("rmfile".into(), version.into());
    }
    let worker_words = number >= CommandVersion::new(3, 0);
    WorkerInfo { commands, python2, worker_words, ..WorkerInfo::default() }
}

fn newest() -> WorkerInfo {
    worker("3.3", false)
}

fn old_slave() -> WorkerInfo {
    worker("2.16", true)
}

fn one(command: &Command, worker: &WorkerInfo) -> WireCommand {
    let mut parts = command.encode(worker, None).unwrap();
    assert_eq!(parts.len(), 1, "one command on the wire");
    parts.remove(0)
}

fn get<'a>(wire: &'a WireCommand, key: &str) -> Option<&'a Value> {
    wire.arguments.iter().find(|(name, _)| lossy(name).as_deref() == Some(key)).map(|(_, value)| value)
}

fn shell(change: impl FnOnce(&mut Shell)) -> Command {
    let mut shell = Shell::new("build", Program::words(["make", "all"]));
    change(&mut shell);
    Command::Shell(Box::new(shell))
}

fn text(text: &'static str) -> Value {
    Value::Text(text.into())
}

fn bytes(text: &'static str) -> Value {
    Value::Bytes(bytes::Bytes::from_static(text.as_bytes()))
}

/// Every string in a value, at any depth.
fn kinds(value: &Value, seen: &mut Vec<bool>) {
    match value {
        Value::Bytes(_) => seen.push(true),
        Value::Text(_) => seen.push(false),
        Value::List(items) | Value::Tuple(items) => items.iter().for_each(|item| kinds(item, seen)),
        Value::Dict(entries) => entries.iter().for_each(|(key, value)| {
            kinds(key, seen);
            kinds(value, seen);
        }),
        _ => {}
    }
}

fn every_command() -> Vec<Command> {
    vec![
        shell(|shell| {
            shell.env = vec![
                ("A".into(), EnvValue::Set("1".into())),
                ("PATH".into(), EnvValue::Path(vec!["/a".into(), "${PATH}".into()])),
                ("B".into(), EnvValue::Unset),
            ];
            shell.initial_stdin = Some("grüße\n".into());
            shell.logfiles = vec![
                LogFile { name: "l".into(), path: "l.txt".into(), follow: false },
                LogFile { name: "m".into(), path: "m.txt".into(), follow: true },
            ];
            shell.interrupt_signal = Some("TERM".into());
        }),
        Command::MakeDirectory(MakeDirectory { dir: "d".into() }),
        Command::RemoveDirectory(RemoveDirectory::new(["d", "e"])),
        Command::CopyDirectory(CopyDirectory::new("d", "e")),
        Command::Stat(StatFile { file: "f".into(), workdir: "".into() }),
        Command::Glob(Glob { path: "*".into() }),
        Command::ListDirectory(ListDirectory { dir: ".".into() }),
        Command::RemoveFile(RemoveFile { path: "f".into() }),
        Command::UploadFile(UploadFile::new("build", "f")),
        Command::UploadDirectory(UploadDirectory {
            compression: Compression::Gzip,
            ..UploadDirectory::new("build", "d")
        }),
        Command::DownloadFile(DownloadFile::new("build", "f")),
    ]
}

#[test]
fn all_strings_are_of_the_workers_kind() {
    for (worker, wants_bytes) in [(newest(), false), (old_slave(), true), (worker("3.2", true), true)] {
        for command in every_command() {
            for wire in command.encode(&worker, None).unwrap() {
                let mut seen = Vec::new();
                kinds(&Value::Dict(wire.arguments), &mut seen);
                assert!(!seen.is_empty());
                assert!(seen.iter().all(|is_bytes| *is_bytes == wants_bytes), "{command:?}");
            }
        }
    }
}

#[test]
fn a_shell_command_for_a_new_worker() {
    let wire = one(&shell(|_| {}), &newest());
    assert_eq!(wire.name, "shell");
    assert_eq!(get(&wire, "workdir"), Some(&text("build")));
    assert_eq!(get(&wire, "command"), Some(&Value::List(vec![text("make"), text("all")])));
    assert_eq!(get(&wire, "timeout"), Some(&Value::Int(1200)));
    assert_eq!(get(&wire, "maxTime"), Some(&Value::None));
    assert_eq!(get(&wire, "usePTY"), Some(&Value::Bool(false)));
    assert_eq!(get(&wire, "logfiles"), Some(&Value::Dict(vec![])), "None breaks 0.8 and 0.9.0");
    assert_eq!(get(&wire, "env"), Some(&Value::None));
    assert_eq!(get(&wire, "interruptSignal"), None);
}

#[test]
fn terminals_by_age() {
    for (version, unset) in [("2.16", bytes("slave-config")), ("3.0", Value::Bool(false))] {
        let worker = worker(version, true);
        assert_eq!(get(&one(&shell(|_| {}), &worker), "usePTY"), Some(&unset));
        for wanted in [true, false] {
            let wire = one(&shell(|shell| shell.use_pty = Some(wanted)), &worker);
            assert_eq!(get(&wire, "usePTY"), Some(&Value::Bool(wanted)));
        }
    }
}

#[test]
fn arguments_that_a_worker_is_too_old_for_are_left_out() {
    let command = shell(|shell| {
        shell.sigterm_time = Some(Duration::from_millis(1500));
        shell.interrupt_signal = Some("INT".into());
    });
    let wire = one(&command, &worker("2.16", true));
    assert_eq!(get(&wire, "sigtermTime"), Some(&Value::Float(1.5)));
    assert_eq!(get(&wire, "interruptSignal"), Some(&bytes("INT")));
    let wire = one(&command, &worker("2.15", true));
    assert_eq!(get(&wire, "sigtermTime"), None);
    assert_eq!(get(&wire, "interruptSignal"), Some(&bytes("INT")));
    assert_eq!(get(&one(&command, &worker("2.14", true)), "interruptSignal"), None);
}

#[test]
fn search_paths_are_joined_for_slaves_that_take_no_lists() {
    let path = EnvValue::Path(vec!["a".into(), "b".into()]);
    let command = shell(|shell| shell.env = vec![("X".into(), path)]);
    let env = |worker: &WorkerInfo| get(&one(&command, worker), "env").unwrap().get("X").cloned();
    assert_eq!(env(&newest()), Some(Value::List(vec![text("a"), text("b")])));
    let mut old = worker("2.14", true);
    assert_eq!(env(&old), Some(bytes("a:b")));
    old.system = crate::System::Nt;
    assert_eq!(env(&old), Some(bytes("a;b")));
}

#[test]
fn a_secret_word_is_a_tuple_of_three_and_never_shown() {
    let secret = Word::Obfuscated { real: "hunter2".into(), shown: "<password>".into() };
    let command =
        shell(|shell| shell.command = Program::Words(vec![Word::Plain("login".into()), secret.clone()]));
    let hidden = Value::Tuple(vec![text("obfuscated"), text("hunter2"), text("<password>")]);
    let wire = one(&command, &newest());
    assert_eq!(get(&wire, "command"), Some(&Value::List(vec![text("login"), hidden])));
    // An older slave would print it.
    assert!(matches!(command.check(&worker("2.15", true)), Err(CommandUnsupported::Argument { .. })));
    assert_eq!(command.check(&old_slave()), Ok(()));
    let shown = format!("{command:?}");
    assert!(!shown.contains("hunter2") && shown.contains("<password>"), "{shown}");

    let command = shell(|shell| shell.env = vec![("TOKEN".into(), EnvValue::Set("hunter2".into()))]);
    assert!(!format!("{command:?}").contains("hunter2"));
}

#[test]
fn a_command_without_words_is_refused() {
    let command = shell(|shell| shell.command = Program::Words(Vec::new()));
    assert!(matches!(command.check(&newest()), Err(CommandUnsupported::Invalid { .. })));
}

#[test]
fn transfers_use_the_words_of_their_time() {
    let upload = Command::UploadFile(UploadFile::new("build", "f"));
    let download =
        Command::DownloadFile(DownloadFile { mode: Some(0o755), ..DownloadFile::new("build", "f") });
    let wire = one(&upload, &newest());
    assert_eq!(get(&wire, "workersrc"), Some(&text("f")));
    assert_eq!(get(&wire, "slavesrc"), None);
    assert_eq!(get(&wire, "maxsize"), Some(&Value::None), "the key has to be there");
    let wire = one(&upload, &old_slave());
    assert_eq!(get(&wire, "slavesrc"), Some(&bytes("f")));
    assert_eq!(get(&wire, "workersrc"), None);
    let wire = one(&download, &newest());
    assert_eq!(get(&wire, "workerdest"), Some(&text("f")));
    assert_eq!(get(&wire, "mode"), Some(&Value::Int(0o755)));
    assert_eq!(get(&one(&download, &old_slave()), "slavedest"), Some(&bytes("f")));
    let huge = Command::UploadFile(UploadFile { block_size: u32::MAX, ..UploadFile::new("b", "f") });
    assert_eq!(get(&one(&huge, &newest()), "blocksize"), Some(&Value::Int(655_360)));
}

#[test]
fn times_of_files_need_0_8_4() {
    let command = Command::UploadFile(UploadFile { keep_times: true, ..UploadFile::new("b", "f") });
    assert_eq!(command.check(&worker("2.13", true)), Ok(()));
    let refused = command.check(&worker("2.11", true)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the worker's \"uploadFile\" is of version 2.11, but \"keepstamp\" needs 2.13; upgrade the worker"
    );
}

#[test]
fn several_directories_are_one_command_or_many() {
    let command = Command::RemoveDirectory(RemoveDirectory::new(["d", "e"]));
    let wire = one(&command, &worker("2.14", true));
    assert_eq!(get(&wire, "dir"), Some(&Value::List(vec![bytes("d"), bytes("e")])));
    let parts = command.encode(&worker("2.13", true), None).unwrap();
    let dirs: Vec<_> = parts.iter().map(|part| get(part, "dir")).collect();
    assert_eq!(dirs, [Some(&bytes("d")), Some(&bytes("e"))]);
    assert_eq!(get(&parts[1], "timeout"), Some(&Value::Int(120)));
    let single = Command::RemoveDirectory(RemoveDirectory::new(["d"]));
    assert_eq!(get(&one(&single, &newest()), "dir"), Some(&text("d")));
    assert!(Command::RemoveDirectory(RemoveDirectory::new(Vec::<String>::new())).check(&newest()).is_err());
}

#[test]
fn a_file_is_removed_as_a_directory_before_0_9_8() {
    let command = Command::RemoveFile(RemoveFile { path: "f".into() });
    assert_eq!(one(&command, &newest()).name, "rmfile");
    let wire = one(&command, &worker("3.0", false));
    assert_eq!((wire.name, get(&wire, "dir")), ("rmdir", Some(&text("f"))));
}

#[test]
fn a_missing_command_is_refused_before_it_is_sent() {
    let mut ancient = worker("2.9", true);
    ancient.commands.retain(|name, _| ["shell", "uploadFile", "svn"].contains(&&**name));
    for command in every_command() {
        let refused = matches!(command.check(&ancient), Err(CommandUnsupported::Missing { .. }));
        assert_eq!(refused, !["shell", "uploadFile"].contains(&command.name()), "{}", command.name());
    }
    let unknown = WorkerInfo { worker_words: true, ..WorkerInfo::default() };
    for command in every_command() {
        assert_eq!(command.check(&unknown), Ok(()), "a worker that could not be asked is tried");
    }
}

#[test]
fn source_commands_are_for_old_slaves() {
    let git = Command::Source(Box::new(Source {
        revision: Some("abc".into()),
        patch: Some(Patch { level: 1, diff: bytes::Bytes::from_static(b"--- a\n"), root: None }),
        retry: Some(Retry { delay: Duration::from_secs(3), count: 2 }),
        mode: Mode::Clobber,
        ..Source::new(
            "build",
            Repository::Git {
                repourl: "git://example.org/x".into(),
                branch: None,
                submodules: true,
                ignore_ignores: true,
                reference: None,
                gerrit_branch: None,
                progress: false,
                shallow: false,
            },
        )
    }));
    let wire = one(&git, &old_slave());
    assert_eq!(wire.name, "git");
    assert_eq!(get(&wire, "repourl"), Some(&bytes("git://example.org/x")));
    assert_eq!(get(&wire, "mode"), Some(&bytes("clobber")));
    assert_eq!(get(&wire, "patch"), Some(&Value::Tuple(vec![Value::Int(1), bytes("--- a\n")])));
    assert_eq!(get(&wire, "retry"), Some(&Value::Tuple(vec![Value::Int(3), Value::Int(2)])));
    assert!(matches!(git.check(&newest()), Err(CommandUnsupported::Missing { command: "git", .. })));

    let password = SourcePassword("hunter2".into());
    let svn = Command::Source(Box::new(Source::new(
        "build",
        Repository::Subversion {
            svnurl: "svn://example.org".into(),
            username: None,
            password: Some(password),
            extra_args: vec![],
            depth: None,
            keep_on_purge: vec![],
            ignore_ignores: true,
            always_purge: false,
        },
    )));
    assert!(!format!("{svn:?}").contains("hunter2"));
    let wire = one(&svn, &old_slave());
    assert_eq!(get(&wire, "username"), None, "None would be passed to svn");
    assert_eq!(get(&wire, "revision"), Some(&Value::None), "the key has to be there");
}
