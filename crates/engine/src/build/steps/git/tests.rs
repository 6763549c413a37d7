//! The same commands in the same order as the real master sends them: `recorded.txt` is what it sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use model::{
    Change, Patch,
    Results::{self, Failure, Success},
    SourceStamp,
};
use tokio::sync::mpsc;
use worker_protocol::{Command, Program, Update};

use super::{Features, url};
use crate::build::{
    Report,
    tests::{Act, Bench, Player, Ran},
};

const RECORDED: &str = include_str!("recorded.txt");
const BAD: &str = "BADREV";
const HEAD: &str = "b28f5fd1064ea75010cf2296dd38f947c7c231af";

/// The directory of a worker with git, as far as its answers depend on it.
#[derive(Default)]
struct Tree {
    /// Names in each directory.
    files: BTreeMap<String, Vec<&'static str>>,
    git: Git,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Git {
    #[default]
    Modern,
    Missing,
}

impl Tree {
    /// Answers a command as the recorded worker did.
    fn answer(&mut self, command: &Command) -> Vec<Act> {
        let mut told = Vec::new();
        let rc = match command {
            Command::Shell(shell) => {
                let Program::Words(words) = &shell.command else { panic!("{command:?}") };
                let words: Vec<String> =
                    words.iter().map(|word| format!("{word:?}").trim_matches('"').to_owned()).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let (out, rc) = self.git(&shell.workdir, words.split_first().unwrap().1);
                told.push(Act::out(&out));
                rc
            }
            Command::Stat(stat) => {
                let (directory, file) = stat.file.rsplit_once('/').unwrap();
                if self.files.get(directory).is_some_and(|files| files.contains(&file)) { 0 } else { 2 }
            }
            Command::ListDirectory(list) => match self.files.get(&*list.dir) {
                Some(files) => {
                    let files = files.iter().map(|file| (*file).to_owned()).collect();
                    told.push(Act::update(Update::Files(files)));
                    0
                }
                None => 2,
            },
            Command::RemoveDirectory(remove) => {
                for dir in &remove.dirs {
                    self.files.remove(&**dir);
                }
                0
            }
            Command::CopyDirectory(copy) => {
                let files = self.files.get(&*copy.from).cloned().unwrap_or_default();
                self.files.insert(copy.to.to_string(), files);
                0
            }
            Command::MakeDirectory(_) => 0,
            Command::DownloadFile(download) => {
                told.push(Act::ReadAll(32 * 1024));
                told.push(Act::Tell(Report::CloseRead));
                let name = if &*download.path == ".buildbot-patched" {
                    ".buildbot-patched"
                } else {
                    ".buildbot-diff"
                };
                self.files.entry(download.workdir.to_string()).or_default().push(name);
                0
            }
            other => panic!("{other:?}"),
        };
        told.extend(Act::end(rc));
        told
    }

    fn git(&mut self, workdir: &str, words: &[&str]) -> (String, i64) {
        if self.git == Git::Missing {
            return (String::new(), 1);
        }
        let mut words = words;
        while words[0] == "-c" {
            words = &words[2..];
        }
        let nothing = |rc| (String::new(), rc);
        match words {
            ["--version"] => ("git version 2.47.3\n".to_owned(), 0),
            ["clone", .., "NONE", "."] | ["clone", .., "NONE", ".", "--progress"] => nothing(128),
            ["clone", ..] => {
                self.files.insert(workdir.to_owned(), vec![".git", "a"]);
                nothing(0)
            }
            ["checkout", "-f", BAD] | ["cat-file", "-e", BAD] => nothing(128),
            ["clean", "-f", "-f", "-d", "-x"] => {
                self.files
                    .entry(workdir.to_owned())
                    .or_default()
                    .retain(|file| !file.starts_with(".buildbot"));
                nothing(0)
            }
            ["rev-parse", "HEAD"] => (format!("{HEAD}\n"), 0),
            ["describe", "HEAD"] => nothing(128),
            ["describe", ..] => ("v1\n".to_owned(), 0),
            _ => nothing(0),
        }
    }
}

/// What the real master sent in the steps of a case.
fn recorded(case: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in RECORDED.lines() {
        match line.strip_prefix("# ") {
            Some(head) => inside = head.split(' ').next() == Some(case),
            None if inside => lines.push(line),
            None => {}
        }
    }
    assert!(!lines.is_empty(), "nothing is recorded for {case}");
    lines
}

/// A case as it was recorded: the step's arguments, and once more when it was done twice.
struct Case {
    name: &'static str,
    steps: Vec<String>,
    stamp: SourceStamp,
    tree: Tree,
}

impl Case {
    fn new(name: &'static str, args: &str) -> Self {
        Self { name, steps: Vec::new(), stamp: SourceStamp::default(), tree: Tree::default() }
            .step(args)
            .step(args)
    }

    fn once(name: &'static str, args: &str) -> Self {
        Self { name, steps: Vec::new(), stamp: SourceStamp::default(), tree: Tree::default() }.step(args)
    }

    fn step(mut self, args: &str) -> Self {
        let repository = if args.contains("repourl") { "" } else { "repourl = 'REPO'" };
        self.steps.push(format!("[[builder.step]]\ntype = 'Git'\n{repository}\n{args}\n"));
        self
    }

    fn branch(mut self, branch: &str) -> Self {
        self.stamp.branch = Some(branch.to_owned());
        self
    }

    fn revision(mut self, revision: &str) -> Self {
        self.stamp.revision = Some(revision.to_owned());
        self
    }

    fn patch(mut self, body: &str, subdir: &str) -> Self {
        self.stamp.patch =
            Some(Patch { level: 1, body: body.into(), subdir: subdir.to_owned(), ..Patch::default() });
        self
    }

    async fn run(self) -> (Ran, Arc<Player>) {
        let tree = Arc::new(Mutex::new(self.tree));
        let player =
            Player::new(move |command| tree.lock().unwrap_or_else(PoisonError::into_inner).answer(command));
        let ran = Bench::new(&self.steps.concat()).await.stamp(self.stamp).run(&player).await;
        (ran, player)
    }

    /// Runs it, compares with the recording, and says how it ended.
    async fn check(self) -> (Results, Ran) {
        let name = self.name;
        let (ran, player) = self.run().await;
        let sent = player.seen();
        assert_eq!(sent, recorded(name), "{name}");
        (ran.outcome.results, ran)
    }
}

#[tokio::test]
async fn every_mode_sends_what_buildbot_sends() {
    let submodules = "submodules = true\nconfig = { 'protocol.file.allow' = 'always' }";
    let mut cases = vec![
        Case::new("git-incremental", ""),
        Case::new("git-incremental-rev", "").revision("REV"),
        Case::new("git-incremental-branch", "").branch("dev"),
        Case::new("git-incremental-refs", "").branch("refs/heads/dev"),
        Case::new("git-incremental-branch-rev-tags", "tags = true").branch("dev").revision("REV"),
        Case::new("git-full-default", "mode = 'full'"),
        Case::new("git-inc-sub-remote", &format!("{submodules}\nremoteSubmodules = true")),
        Case::new("git-shallow", "mode = 'full'\nmethod = 'clobber'\nshallow = true"),
        Case::new(
            "git-shallow2-sub",
            &format!("mode = 'full'\nmethod = 'clobber'\nshallow = 2\n{submodules}"),
        ),
        Case::new("git-inc-shallow", "shallow = 1"),
        Case::new(
            "git-filters",
            "filters = ['tree:0', 'blob:none']\norigin = 'upstream'\nreference = 'REPO/.git'",
        ),
        Case::once(
            "git-workdir-env",
            "workdir = 'w/x'\nenv = { A = 'b' }\ntimeout = 77\nlogEnviron = false\nname = 'co'",
        ),
    ];
    for (method, plain, with_submodules, with_revision) in [
        ("clean", "git-full-clean", "git-full-clean-sub", "git-full-clean-rev"),
        ("fresh", "git-full-fresh", "git-full-fresh-sub", "git-full-fresh-rev"),
        ("clobber", "git-full-clobber", "git-full-clobber-sub", "git-full-clobber-rev"),
        ("copy", "git-full-copy", "git-full-copy-sub", "git-full-copy-rev"),
    ] {
        let args = format!("mode = 'full'\nmethod = '{method}'\n");
        cases.push(Case::new(plain, &args));
        cases.push(Case::new(with_submodules, &format!("{args}{submodules}")));
        cases
            .push(Case::new(with_revision, &format!("{args}progress = false")).branch("dev").revision("REV"));
    }
    for case in cases {
        let name = case.name;
        let (results, ran) = case.check().await;
        assert_eq!(results, Success, "{name}");
        let property = ran.properties.property("got_revision").unwrap();
        assert_eq!((property.value.as_str(), property.source.as_str()), (Some(HEAD), "Git"), "{name}");
        assert!(ran.said().iter().all(|(.., said)| *said == "update"), "{name}");
    }
}

#[tokio::test]
async fn failures_send_what_buildbot_sends() {
    for case in [
        Case::once("git-norepo", "repourl = 'NONE'\nshallow = true"),
        Case::once("git-norepo-clobber", "repourl = 'NONE'\nclobberOnFailure = true"),
        Case::once("git-norepo-retry", "repourl = 'NONE'\nretry = [0.001, 2]"),
        Case::once("git-badrev", "").revision(BAD),
        Case::once("git-badrev-upd", "alwaysUseLatest = true").step("retryFetch = true").revision(BAD),
        Case::once("git-badrev-upd-clobber", "alwaysUseLatest = true")
            .step("clobberOnFailure = true")
            .revision(BAD),
        Case::once("git-badrev-upd-fresh", "alwaysUseLatest = true").step("mode = 'full'").revision(BAD),
    ] {
        let name = case.name;
        let (results, ran) = case.check().await;
        assert_eq!(results, Failure, "{name}");
        assert_eq!(ran.outcome.state_string, "failed update (failure)", "{name}");
    }
    let mut case = Case::once("git-nogit", "env = { PATH = '/nonexistent' }");
    case.tree.git = Git::Missing;
    assert_eq!(case.check().await.0, Failure);
    let mut case = Case::once("git-dirty-clobber", "");
    case.tree.files.insert("build".to_owned(), vec!["x"]);
    assert_eq!(case.check().await.0, Success);
}

#[tokio::test]
async fn a_patch_is_laid_over_the_checkout() {
    let body = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n";
    let (results, ran) = Case::new("git-patch", "").patch(body, "").check().await;
    assert_eq!(results, Success);
    assert_eq!(ran.step("git").log("patch"), body);
    let body = "--- a/s\n+++ b/s\n@@ -0,0 +1 @@\n+two\n";
    let full = Case::new("git-patch-full", "mode = 'full'\nmethod = 'copy'").patch(body, "subdir");
    assert_eq!(full.check().await.0, Success);
}

#[tokio::test]
async fn a_patch_that_is_no_text_is_applied_from_its_file() {
    let mut case = Case::once("", "").patch("", "");
    case.stamp.patch.as_mut().unwrap().body = b"-\xe9\n+e\n".to_vec();
    let (_, player) = case.run().await;
    assert!(
        player.seen().contains(&"shell git apply --index -p 1 .buildbot-diff".to_owned()),
        "{:?}",
        player.seen()
    );
    assert_eq!(&player.fetched()[0][..], b"-\xe9\n+e\n");
}

#[tokio::test]
async fn the_commit_is_described() {
    let case = Case::once(
        "git-describe",
        "getDescription = { tags = true, always = true, abbrev = 0, match = 'v*', dirty = 'x' }",
    );
    let (results, ran) = case.step("getDescription = true").check().await;
    // The second has nothing to describe, which is no failure.
    assert_eq!(results, Success);
    assert_eq!(ran.properties.get("commit-description"), Some(&"v1".into()));
}

#[tokio::test]
async fn each_codebase_has_its_own_revision() {
    let case = Case::once("git-codebase", "codebase = 'cb'").step("");
    let stamp = SourceStamp { codebase: "cb".into(), ..SourceStamp::default() };
    let (results, ran) = Case { stamp, ..case }.check().await;
    assert_eq!(results, Failure);
    assert_eq!(
        ran.said(),
        [("git-cb", Success, "update cb"), ("git", Failure, "Codebase  not in build (failure)")]
    );
    assert_eq!(ran.step("git").log("log"), "No sourcestamp found in build for codebase ''\n");
    assert_eq!(ran.properties.get("got_revision"), Some(&serde_json::json!({ "cb": HEAD })));
}

#[tokio::test]
async fn the_newest_change_names_the_revision() {
    let tree = Mutex::new(Tree::default());
    let player =
        Player::new(move |command| tree.lock().unwrap_or_else(PoisonError::into_inner).answer(command));
    let change = |revision: &str| Change { revision: Some(revision.to_owned()), ..Change::default() };
    let bench = Bench::new("[[builder.step]]\ntype = 'Git'\nrepourl = 'REPO'").await;
    let ran = bench.change(change("old")).change(change("new")).run(&player).await;
    assert!(player.seen().contains(&"shell git checkout -f new".to_owned()));
    assert_eq!(ran.properties.property("revision").unwrap().source, "Git");
}

#[tokio::test]
async fn what_git_would_take_for_an_option_never_reaches_it() {
    let hostile = "--upload-pack=touch pwned;";
    let address = format!("repourl = '{hostile}'");
    for mode in ["mode = 'incremental'", "mode = 'full'\nmethod = 'clobber'"] {
        let cases = [
            ("branch", Case::once("", mode).branch(hostile)),
            ("revision", Case::once("", mode).revision(hostile)),
            ("repourl", Case::once("", &format!("{mode}\n{address}"))),
        ];
        for (what, case) in cases {
            let (ran, player) = case.run().await;
            assert_eq!(player.seen(), Vec::<String>::new(), "{what}, {mode}");
            assert_eq!(ran.outcome.results, Results::Exception, "{what}, {mode}");
            let told = ran.step("git").log("err.text");
            assert!(told.contains(what) && told.contains(hostile), "{told}");
        }
    }
}

#[tokio::test]
async fn keys_and_passwords_are_in_files_while_the_step_runs() {
    let case = Case::once(
        "",
        "repourl = 'git@host:r.git'\nport = 2222\nworkdir = 'w/x'\nsshPrivateKey = '%(secret:KEY)s'\nsshHostKey = 'ssh-ed25519 AAAA'\n\
         auth_credentials = ['me', 'passw0rd']\ngit_credentials = { credentials = [{ username = 'you', url = 'https://h/' }], use_http_path = true }",
    );
    let (ran, player) = case.run().await;
    assert_eq!(ran.outcome.results, Success, "{ran:?}");
    let seen = player.seen();
    let auth = "-c core.sshCommand=ssh -o \"BatchMode=yes\" -i \"/w/w/.b.x.buildbot/ssh-key\" -o \"UserKnownHostsFile=/w/w/.b.x.buildbot/ssh-known-hosts\" \
                -c credential.helper= -c credential.helper=store \"--file=/w/w/.b.x.buildbot/.git-credentials\" -c credential.useHttpPath=true";
    let expect = [
        "shell git --version workdir=w/x".to_owned(),
        "stat w/x/.buildbot-patched".to_owned(),
        "rmdir /w/w/.b.x.buildbot timeout=1200 logEnviron=true".to_owned(),
        "mkdir /w/w/.b.x.buildbot".to_owned(),
        "downloadFile /w/w/.b.x.buildbot /w/w/.b.x.buildbot/ssh-key blocksize=32768 mode=400".to_owned(),
        "downloadFile /w/w/.b.x.buildbot /w/w/.b.x.buildbot/ssh-known-hosts blocksize=32768 mode=400"
            .to_owned(),
        format!(
            "shell git {auth} credential approve workdir=w/x <<{}",
            r#""url=ssh://git@host:2222/r.git\nusername=me\npassword=passw0rd\n""#
        ),
        format!(
            "shell git {auth} credential approve workdir=w/x <<{}",
            r#""url=https://h/\nusername=you\n""#
        ),
        "listdir w/x".to_owned(),
        format!("shell git {auth} clone ssh://git@host:2222/r.git . --progress workdir=w/x"),
        "shell git rev-parse HEAD workdir=w/x".to_owned(),
        "rmdir /w/w/.b.x.buildbot logEnviron=false".to_owned(),
    ];
    assert_eq!(seen, expect);
    assert_eq!(player.fetched(), ["s3cr3t\n", "* ssh-ed25519 AAAA"]);
}

#[tokio::test]
async fn a_stop_after_the_last_command_leaves_no_key_on_the_worker() {
    let (stop, control) = mpsc::channel(1);
    let mut tree = Tree::default();
    let player = Player::new(move |command| {
        let mut acts = tree.answer(command);
        if format!("{command:?}").contains("rev-parse") {
            acts.insert(acts.len() - 1, Act::Stop(stop.clone()));
        }
        acts
    });
    let steps =
        "[[builder.step]]\ntype = 'Git'\nrepourl = 'git@host:r.git'\nsshPrivateKey = '%(secret:KEY)s'";
    let ran = Bench::new(steps).await.run_with(&player, control).await;
    let seen = player.seen();
    assert_eq!(seen.last().unwrap(), "rmdir /w/.b.build.buildbot logEnviron=false", "{seen:?}");
    assert_eq!(ran.step("git").row.results, Some(Results::Cancelled));
    assert_eq!(ran.step("git").log("cancelled"), "late\n");
}

#[tokio::test]
async fn what_is_to_be_merged_is_fetched() {
    let github = |branch: &str| {
        let mut case = Case::once("", "").branch(branch).revision("REV");
        case.steps = vec![case.steps.concat().replace("'Git'", "'GitHub'")];
        case.run()
    };
    let (ran, player) = github("refs/pull/1/merge").await;
    assert_eq!(ran.outcome.results, Success);
    assert!(player.seen().contains(&"shell git fetch -f --progress REPO refs/pull/1/merge".to_owned()));
    assert!(player.seen().contains(&"shell git checkout -f FETCH_HEAD".to_owned()), "{:?}", player.seen());
    assert_eq!(ran.properties.property("got_revision").unwrap().source, "GitHub");
    let (_, player) = github("dev").await;
    assert!(player.seen().contains(&"shell git checkout -f REV".to_owned()), "{:?}", player.seen());

    let tree = Mutex::new(Tree::default());
    let player =
        Player::new(move |command| tree.lock().unwrap_or_else(PoisonError::into_inner).answer(command));
    let bench = Bench::new("[[builder.step]]\ntype = 'GitLab'\nrepourl = 'ssh://host/a.git'").await;
    let bench = bench.property("target_branch", "main").property("target_git_ssh_url", "host:a.git");
    let bench = bench.property("source_branch", "topic").property("source_git_ssh_url", "host:b.git");
    let stamp =
        SourceStamp { branch: Some("main".into()), revision: Some("REV".into()), ..SourceStamp::default() };
    bench.stamp(stamp).run(&player).await;
    let clone = "shell git clone --branch topic ssh://host:22/b.git . --progress".to_owned();
    assert!(player.seen().contains(&clone), "{:?}", player.seen());
    assert!(!player.seen().iter().any(|line| line.contains("REV")));
}

#[test]
fn addresses_of_scp_become_urls() {
    for (address, expect) in [
        ("git@host:a/b.git", "ssh://git@host:22/a/b.git"),
        ("https://host/a:b", "https://host/a:b"),
        ("ext::sh -c x", "ext::sh -c x"),
        ("/srv/repo", "/srv/repo"),
        ("c:\\repo", "c:\\repo"),
    ] {
        assert_eq!(url(address, 22), expect);
    }
}

#[test]
fn features_follow_the_version() {
    assert!(Features::of("sh: git: not found").is_none());
    let old = Features::of("git version 1.7.1\n").unwrap();
    assert!(old.branch && !old.progress && !old.filters);
    let windows = Features::of("git version 2.47.1.windows.2").unwrap();
    assert!(windows.filters && windows.submodule_checkout);
}
