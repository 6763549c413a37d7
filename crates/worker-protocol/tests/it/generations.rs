//! Every generation of stock workers does everything.

use std::future::Future;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::Bytes;
use testkit::venv::Venv;
use testkit::worker::WorkerKind;
use worker_protocol::{
    Command, CommandUnsupported, CommandVersion, Compression, CopyDirectory, DownloadFile, EnvValue, Event,
    Glob, ListDirectory, LogFile, MakeDirectory, Mode, Patch, Program, RemoveDirectory, RemoveFile,
    Repository, Shell, Source, StartError, StatFile, UploadDirectory, UploadFile, Word,
};

use crate::master::Attached;

/// Runs a scenario with every selected worker, two at a time: each is a Python process.
async fn with_every_worker<F, R>(scenario: F)
where
    F: Fn(WorkerKind, Venv) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let selected = WorkerKind::selected().unwrap();
    for kind in &selected.without_python2 {
        report(&format!("not run: {} needs Python 2.7, and this machine has none", kind.name));
    }
    assert!(!selected.ready.is_empty(), "no worker to test with");
    for pair in selected.ready.chunks(2) {
        let mut tasks = tokio::task::JoinSet::new();
        let mut names = std::collections::HashMap::new();
        for (kind, venv) in pair {
            let task = tasks.spawn(scenario(*kind, venv.clone()));
            names.insert(task.id(), kind.name);
        }
        while let Some(done) = tasks.join_next_with_id().await {
            if let Err(error) = done {
                report(&format!("failed: {}", names[&error.id()]));
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

fn report(text: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn sh(script: &str) -> Shell {
    Shell::new("build", Program::words(["/bin/sh", "-c", script]))
}

fn shell(script: &str) -> Command {
    Command::Shell(Box::new(sh(script)))
}

fn stat(file: &str) -> Command {
    Command::Stat(StatFile { file: file.into(), workdir: "".into() })
}

fn version(kind: WorkerKind) -> CommandVersion {
    CommandVersion::new(kind.command_version.0, kind.command_version.1)
}

#[tokio::test]
async fn attach() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::new(kind, &venv, |_| {}).await;
        assert_eq!(on.info.admin.as_deref(), Some("Ganger's tests <tests@example.org>\n"));
        assert_eq!(on.info.host.as_deref(), Some("made for one test\n"));
        assert_eq!(on.info.python2, kind.python2);
        assert_eq!(on.info.command_version("shell"), Some(version(kind)));
        assert!(on.info.version.as_deref().is_some_and(|version| !version.is_empty()));
        if version(kind) >= CommandVersion::new(2, 11) {
            let basedir = on.worker.basedir().canonicalize().unwrap();
            assert_eq!(on.info.basedir.as_deref(), basedir.to_str());
            assert!(on.info.environ.contains_key("PATH"));
        }
        assert_eq!(on.info.numcpus.is_some(), !kind.is_slave());

        on.ping("are you there?");
        assert!(matches!(on.next().await, Event::Pong));
        on.set_builders(&[]).await;
        on.set_builders(&["b1", "b2"]).await;
        assert!(on.worker.basedir().join("dir-b2").is_dir());
        // Each list gives the references of the one before back; one too many would cost the connection.
        for _ in 0..3 {
            on.set_builders(&["b1", "b3"]).await;
            on.set_builders(&["b1", "b2"]).await;
        }
        assert!(matches!(on.start("b3", &shell("true")), Err(StartError::NoBuilder { .. })));
        on.start_build("b1");
        let done = on.run(&shell("echo still there")).await;
        assert_eq!((&*done.stdout, done.rc), ("still there\n", Some(0)));
    })
    .await;
}

#[tokio::test]
async fn programs() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::with_builders(kind, &venv, &["b1"]).await;
        let done = on.run(&shell("echo 'grüße, 世界'; echo fehler-ü >&2; exit 3")).await;
        assert_eq!((&*done.stdout, &*done.stderr), ("grüße, 世界\n", "fehler-ü\n"));
        assert_eq!((done.rc, done.failure), (Some(3), None));
        assert_eq!(done.elapsed.is_some(), version(kind) >= CommandVersion::new(2, 13));
        assert!(done.header.contains("in dir"), "{}", done.header);

        let done = on
            .run(&Command::Shell(Box::new(Shell::new("build", Program::Line("echo a | tr a b".into())))))
            .await;
        assert_eq!((&*done.stdout, done.rc), ("b\n", Some(0)));

        let done = on.run(&shell("/no/such/program")).await;
        assert_eq!(done.rc, Some(127));
        let missing = Shell::new("build", Program::words(["/no/such/program"]));
        let done = on.run(&Command::Shell(Box::new(missing))).await;
        assert!(done.rc.is_some_and(|rc| rc != 0) || done.failure.is_some(), "{done:?}");

        let mut hidden = sh("");
        hidden.command = Program::Words(vec![
            Word::Plain("/bin/echo".into()),
            Word::Obfuscated { real: "hunter2".into(), shown: "<password>".into() },
        ]);
        hidden.log_environ = false;
        match on.try_run(&Command::Shell(Box::new(hidden))).await {
            Ok(done) => {
                assert_eq!(done.stdout, "hunter2\n");
                assert!(
                    done.header.contains("<password>") && !done.header.contains("hunter2"),
                    "{}",
                    done.header
                );
                assert!(!done.header.contains("PATH="), "{}", done.header);
            }
            Err(_) => assert!(version(kind) < CommandVersion::new(2, 16)),
        }

        let mut with_stdin = sh("cat");
        with_stdin.initial_stdin = Some("eins\nzwei ü\n".into());
        with_stdin.want_stderr = false;
        assert_eq!(on.run(&Command::Shell(Box::new(with_stdin))).await.stdout, "eins\nzwei ü\n");

        // The worker itself makes Unicode of it on Python 2, and then cannot hand it to a program.
        let value = if kind.python2 && !kind.is_slave() { "a" } else { "ä" };
        let mut with_env = sh("echo \"$A|$B|${HOME-none}\"");
        with_env.env = vec![
            ("A".into(), EnvValue::Set(value.into())),
            ("B".into(), EnvValue::Path(vec!["/x".into(), "/y".into()])),
            ("HOME".into(), EnvValue::Unset),
        ];
        let done = on.run(&Command::Shell(Box::new(with_env))).await;
        assert_eq!(done.stdout, format!("{value}|/x:/y|none\n"), "{done:?}");

        let mut with_terminal = sh("test -t 1 && echo terminal || echo pipe");
        with_terminal.use_pty = Some(true);
        let done = on.run(&Command::Shell(Box::new(with_terminal))).await;
        assert_eq!(done.stdout.trim_end(), "terminal");
        assert_eq!(on.run(&shell("test -t 1 && echo terminal || echo pipe")).await.stdout, "pipe\n");

        // A followed file is read from where it ends when it is first seen to change; when that is, nobody knows.
        assert_eq!(on.run(&shell("echo old > m.txt")).await.rc, Some(0));
        let mut with_logs = sh("echo logged-ü > l.txt; echo more >> m.txt; echo done");
        let log = |name: &'static str, path: &'static str, follow| LogFile {
            name: name.into(),
            path: path.into(),
            follow,
        };
        with_logs.logfiles =
            vec![log("l", "l.txt", false), log("whole", "m.txt", false), log("end", "m.txt", true)];
        let done = on.run(&Command::Shell(Box::new(with_logs))).await;
        assert_eq!((&*done.stdout, done.rc), ("done\n", Some(0)));
        assert_eq!((&*done.logs["l"], &*done.logs["whole"]), ("logged-ü\n", "old\nmore\n"));
        assert!(!done.logs.get("end").is_some_and(|text| text.contains("old")), "{:?}", done.logs);
    })
    .await;
}

#[tokio::test]
async fn output_that_is_not_text() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::with_builders(kind, &venv, &["b1"]).await;
        let done = on.run(&shell("printf 'a\\377b\\n'; echo z >&2")).await;
        assert_eq!((done.rc, &*done.stderr), (Some(0), "z\n"));
        // These releases lose the whole chunk.
        let lossy = ["worker-0.9.4", "worker-0.9.12"].contains(&kind.name);
        assert_eq!(done.stdout, if lossy { "" } else { "a\u{fffd}b\n" });
        if lossy {
            return;
        }
        // 120,000 characters of three bytes each: chunks end in the middle of some.
        let done = on
            .run(&shell("i=0; while [ $i -lt 6000 ]; do echo €€€€€€€€€€€€€€€€€€€€; i=$((i+1)); done"))
            .await;
        assert!(done.stdout == format!("{}\n", "€".repeat(20)).repeat(6000), "{} bytes", done.stdout.len());
    })
    .await;
}

#[tokio::test]
async fn killed_programs() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::with_builders(kind, &venv, &["b1", "b2"]).await;
        let mut slow = sh("sleep 60");
        slow.timeout = Some(Duration::from_secs(1));
        let done = on.run(&Command::Shell(Box::new(slow))).await;
        assert_eq!((done.rc, done.failure), (Some(-1), None));
        let told = (version(kind) >= CommandVersion::new(3, 2)).then_some("timeout_without_output");
        assert_eq!(done.reason.as_deref(), told);

        let sleep = shell("sleep 60");
        let id = on.start("b1", &sleep).unwrap();
        assert!(matches!(on.start("b1", &sleep), Err(StartError::Busy { .. })), "one at a time");
        let other = on.start("b2", &shell("exit 4")).unwrap();
        let mut done = crate::master::Outcome::default();
        let mut others = crate::master::Outcome::default();
        loop {
            let event = on.next().await;
            match &event {
                Event::Started { command } if *command == id => {}
                Event::Started { .. } => {}
                Event::Update { command, .. } | Event::Complete { command, .. } if *command == other => {
                    if on.take(other, event, &mut others, &mut Bytes::new()) {
                        on.interrupt(id);
                    }
                }
                _ => {
                    if on.take(id, event, &mut done, &mut Bytes::new()) {
                        break;
                    }
                }
            }
        }
        assert_eq!((others.rc, others.failure), (Some(4), None));
        assert_eq!((done.rc, done.failure, done.elapsed), (Some(-1), None, None));
        on.interrupt(id);
        assert_eq!(on.run(&shell("exit 5")).await.rc, Some(5), "a late interruption hits nobody");
    })
    .await;
}

#[tokio::test]
async fn files_and_directories() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::with_builders(kind, &venv, &["b1"]).await;
        let make = Command::MakeDirectory(MakeDirectory { dir: "build/d/é".into() });
        if version(kind) < CommandVersion::new(2, 11) {
            let refused = on.try_run(&make).await.unwrap_err();
            assert!(matches!(refused, CommandUnsupported::Missing { command: "mkdir", .. }));
            return;
        }
        for _ in 0..2 {
            assert_eq!(on.run(&make).await.rc, Some(0));
        }
        assert!(on.run(&stat("build/d/é")).await.stat.unwrap().is_directory());
        assert_eq!(on.run(&shell("printf 12345 > d/f")).await.rc, Some(0));
        let found = on.run(&stat("build/d/f")).await;
        assert_eq!(found.rc, Some(0));
        assert!(found.stat.unwrap().is_file());
        assert_eq!(found.stat.unwrap().size, 5);
        let missing = on.run(&stat("build/nothing")).await;
        assert!(missing.rc.is_some_and(|rc| rc > 0) && missing.stat.is_none(), "{missing:?}");

        let glob = on.try_run(&Command::Glob(Glob { path: "build/d/*".into() })).await;
        let list = on.try_run(&Command::ListDirectory(ListDirectory { dir: "build/d".into() })).await;
        if version(kind) >= CommandVersion::new(2, 16) {
            let mut paths = glob.unwrap().files.unwrap();
            paths.sort();
            assert_eq!(paths.len(), 2);
            assert!(paths[0].starts_with('/') && paths[0].ends_with("/dir-b1/build/d/f"), "{paths:?}");
            let mut names = list.unwrap().files.unwrap();
            names.sort();
            assert_eq!(names, ["f", "é"]);
        } else {
            assert!(glob.is_err() && list.is_err());
        }

        assert_eq!(
            on.run(&Command::CopyDirectory(CopyDirectory::new("build/d", "build/c"))).await.rc,
            Some(0)
        );
        assert_eq!(on.run(&stat("build/c/f")).await.rc, Some(0));
        assert_eq!(on.run(&Command::RemoveFile(RemoveFile { path: "build/d/f".into() })).await.rc, Some(0));
        assert_eq!(on.run(&stat("build/d/f")).await.stat, None);
        let both = Command::RemoveDirectory(RemoveDirectory::new(["build/d", "build/c", "build/never-was"]));
        let done = on.run(&both).await;
        assert_eq!((done.rc, done.failure), (Some(0), None));
        assert_eq!(on.run(&stat("build/d")).await.stat, None);
        assert_eq!(on.run(&stat("build/c")).await.stat, None);
    })
    .await;
}

#[tokio::test]
async fn uploads() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::with_builders(kind, &venv, &["b1"]).await;
        let script = "mkdir -p d/e; echo one > d/e/f; ln -s f d/e/link; head -c 300000 /dev/zero | tr '\\0' 'é' > big; \
                      printf None > none; touch -d @1000000000 none";
        assert_eq!(on.run(&shell(script)).await.rc, Some(0));
        let upload = |path: &str| UploadFile { block_size: 65_536, ..UploadFile::new("build", path) };
        let big = std::fs::read(on.worker.basedir().join("dir-b1/build/big")).unwrap();
        let done = on.run(&Command::UploadFile(upload("big"))).await;
        assert_eq!((done.rc, done.closed), (Some(0), true));
        assert!(done.written == big, "{} of {} bytes", done.written.len(), big.len());

        let mut dated = upload("none");
        dated.keep_times = true;
        let dated = Command::UploadFile(dated);
        if version(kind) >= CommandVersion::new(2, 13) {
            let done = on.run(&dated).await;
            assert_eq!((done.rc, &*done.written), (Some(0), &b"None"[..]));
            assert_eq!(done.times, Some((1e9, 1e9)));
        } else {
            assert!(matches!(on.try_run(&dated).await, Err(CommandUnsupported::Argument { .. })));
        }

        let mut cut = upload("big");
        cut.max_size = Some(100_000);
        let done = on.run(&Command::UploadFile(cut)).await;
        assert_eq!((done.rc, done.written.len()), (Some(1), 100_000));
        let done = on.run(&Command::UploadFile(upload("missing"))).await;
        assert_eq!((done.rc, done.closed), (Some(1), true));
        assert!(done.stderr.contains("Cannot open file"), "{}", done.stderr);

        let done = on.run(&Command::UploadDirectory(UploadDirectory::new("build", "d"))).await;
        assert_eq!((done.rc, done.unpacked), (Some(0), true));
        let mut archive = tar::Archive::new(&*done.written);
        // The directory itself is there too, under a name that is empty but for slashes and dots.
        let name = |path: &std::path::Path| path.to_string_lossy().trim_matches(['.', '/']).to_owned();
        let entries = archive.entries().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(&entry.unwrap().path().unwrap())).collect();
        names.sort();
        assert_eq!(names, ["", "e", "e/f", "e/link"]);
        let packed =
            UploadDirectory { compression: Compression::Gzip, ..UploadDirectory::new("build", "d") };
        let done = on.run(&Command::UploadDirectory(packed)).await;
        assert_eq!((done.rc, done.unpacked, done.written.get(..2)), (Some(0), true, Some(&[0x1f, 0x8b][..])));
    })
    .await;
}

#[tokio::test]
async fn downloads() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::with_builders(kind, &venv, &["b1"]).await;
        let all_bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for file in [Bytes::from(all_bytes), Bytes::new(), Bytes::from_static(b"None")] {
            let download = DownloadFile {
                mode: Some(0o750),
                block_size: 16_384,
                ..DownloadFile::new("build", "in/f-é")
            };
            let done = on.run_with(&Command::DownloadFile(download), file.clone()).await;
            assert_eq!((done.rc, done.failure, done.closed), (Some(0), None, true));
            let path = on.worker.basedir().join("dir-b1/build/in/f-é");
            assert!(std::fs::read(&path).unwrap() == file, "{} bytes", file.len());
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
        }
        let cut = DownloadFile { max_size: Some(10), ..DownloadFile::new("build", "cut") };
        let done = on.run_with(&Command::DownloadFile(cut), Bytes::from_static(&[7; 100])).await;
        assert_eq!(done.rc, Some(1));
    })
    .await;
}

/// Only buildslave 0.8 checks out source by itself.
#[tokio::test]
async fn checkouts() {
    with_every_worker(async |kind, venv| {
        let mut on = Attached::with_builders(kind, &venv, &["b1"]).await;
        let script = "git init -q ../repo && cd ../repo && echo one > f && git add f && \
                      git -c user.name=t -c user.email=t@example.org commit -q -m ü && git rev-parse HEAD";
        let done = on.run(&shell(script)).await;
        assert_eq!(done.rc, Some(0), "{}", done.stderr);
        let revision = done.stdout.trim().to_owned();
        let repository = Repository::Git {
            repourl: on.worker.basedir().join("dir-b1/repo").to_str().unwrap().into(),
            branch: None,
            submodules: false,
            ignore_ignores: true,
            reference: None,
            gerrit_branch: None,
            progress: false,
            shallow: false,
        };
        let git = Command::Source(Box::new(Source {
            revision: Some(revision.clone().into()),
            patch: Some(Patch {
                level: 1,
                diff: Bytes::from_static(b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-one\n+tw\xc3\xb6\n"),
                root: None,
            }),
            mode: Mode::Clobber,
            ..Source::new("source", repository)
        }));
        match on.try_run(&git).await {
            Ok(done) => {
                assert!(kind.is_slave());
                assert_eq!(done.rc, Some(0), "{done:?}");
                assert_eq!(done.revision, Some(revision));
                let file = std::fs::read_to_string(on.worker.basedir().join("dir-b1/source/f")).unwrap();
                assert_eq!(file, "twö\n");
            }
            Err(refused) => {
                assert!(!kind.is_slave());
                assert!(matches!(refused, CommandUnsupported::Missing { command: "git", .. }));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn keepalive_and_shutdown() {
    with_every_worker(async |kind, venv| {
        let graceful = version(kind) >= CommandVersion::new(2, 11);
        let mut on = Attached::new(kind, &venv, |options| {
            options.keepalive = 2;
            options.graceful_shutdown = graceful;
        })
        .await;
        on.set_builders(&["b1"]).await;
        for _ in 0..2 {
            assert!(matches!(on.next().await, Event::Keepalive));
        }
        if graceful {
            on.worker.signal(testkit::worker::Signal::HUP).unwrap();
            loop {
                match on.next().await {
                    Event::ShutdownRequested => break,
                    Event::Keepalive => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        on.shutdown();
        while let Some(event) = on.next_or_end().await {
            assert!(matches!(event, Event::Keepalive), "{event:?}");
        }
        let status = on.worker.wait(Duration::from_secs(30)).unwrap();
        assert!(status.success(), "{status}");
    })
    .await;
}

/// A worker on Python 3 cannot describe itself when its environment is not UTF-8. It is served all the same.
#[tokio::test]
async fn a_worker_with_an_environment_that_is_not_text() {
    let kind = WorkerKind::NEWEST;
    let mut on = Attached::new(kind, &kind.venv().unwrap(), |options| {
        options.environment.push(("ODD".into(), std::ffi::OsString::from_vec(b"\xff".to_vec())));
    })
    .await;
    assert_eq!((on.info.admin.as_deref(), on.info.python2), (None, false));
    assert_eq!(on.info.command_version("shell"), Some(version(kind)));
    assert_eq!(on.info.version.as_deref(), Some("4.3.0"));
    on.set_builders(&["b1"]).await;
    assert_eq!(on.run(&shell("echo fine")).await.stdout, "fine\n");
}
