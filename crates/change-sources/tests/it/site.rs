//! A repository, somebody who works in it, and a desk that takes note of what is handed over.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use change_sources::{Desk, GitPoller, PollError};
use config::{ChangeSource, Config, GitPoller as Source};
use futures_util::future::BoxFuture;
use model::{Change, Json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// How long something may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Notes {
    changes: Mutex<Vec<Change>>,
    kept: Mutex<Json>,
    /// So many changes are taken, and no more.
    room: Mutex<Option<usize>>,
    /// What is not taken gets no answer.
    is_silent: AtomicBool,
    /// A change was not taken.
    is_full: AtomicBool,
}

impl Desk for Notes {
    fn add_change(&self, change: Change) -> BoxFuture<'_, Result<(), String>> {
        let mut changes = self.changes.lock().expect("it works here");
        if self.room.lock().expect("it works here").is_some_and(|room| changes.len() >= room) {
            self.is_full.store(true, Ordering::Relaxed);
            if self.is_silent.load(Ordering::Relaxed) {
                return Box::pin(std::future::pending());
            }
            return Box::pin(async { Err("not now".to_owned()) });
        }
        changes.push(change);
        Box::pin(async { Ok(()) })
    }

    fn kept(
        &self,
        _: String,
        class: &'static str,
        key: &'static str,
    ) -> BoxFuture<'_, Result<Option<Json>, String>> {
        assert_eq!((class, key), ("GitPoller", "lastRev"));
        let kept = self.kept.lock().expect("it works here").clone();
        Box::pin(async { Ok(Some(kept).filter(|kept| !kept.is_null())) })
    }

    fn keep(
        &self,
        _: String,
        _: &'static str,
        _: &'static str,
        value: Json,
    ) -> BoxFuture<'_, Result<(), String>> {
        *self.kept.lock().expect("it works here") = value;
        Box::pin(async { Ok(()) })
    }
}

/// A configuration with a poller for each address, which looks every second.
pub(crate) fn config(urls: &[&str]) -> Arc<Config> {
    let pollers: String = urls
        .iter()
        .map(|url| {
            format!("[[change-source]]\ntype = \"GitPoller\"\nrepourl = {url:?}\npollInterval = 1\npollAtLaunch = true\n")
        })
        .collect();
    let loaded = config::parse(&format!("[master]\n{pollers}"), "test.toml", Path::new("/tmp"))
        .expect("it works here");
    let mut config = loaded.config;
    for source in &mut config.change_sources {
        let ChangeSource::GitPoller(poller) = &**source;
        let workdir = std::env::temp_dir().join(format!("ganger-poller-{}", std::process::id()));
        *source = Arc::new(ChangeSource::GitPoller(Arc::new(Source { workdir, ..Source::clone(poller) })));
    }
    Arc::new(config)
}

pub(crate) struct Site {
    directory: Arc<TempDir>,
    notes: Arc<Notes>,
    source: Source,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::of(|source| source)
    }

    pub(crate) fn of(change: impl FnOnce(Source) -> Source) -> Self {
        let directory = tempfile::tempdir().expect("it works here");
        let url = directory.path().join("repository.git").display().to_string();
        let ChangeSource::GitPoller(source) = &*Arc::clone(&config(&[&url]).change_sources[0]);
        let source = Source { workdir: directory.path().join("gitpoller-work"), ..Source::clone(source) };
        let site = Self { directory: Arc::new(directory), notes: Arc::default(), source: change(source) };
        site.run(&["init", "--quiet", "--bare", "--initial-branch=main", &url]);
        let work = site.path("work").display().to_string();
        site.run(&["init", "--quiet", "--initial-branch=main", &work]);
        site.git(&["remote", "add", "origin", &url]);
        site
    }

    /// The same repository and desk with another poller.
    pub(crate) fn with(&self, change: impl FnOnce(Source) -> Source) -> Self {
        let source = change(self.source.clone());
        Self { directory: Arc::clone(&self.directory), notes: Arc::clone(&self.notes), source }
    }

    pub(crate) fn another(&self) -> Self {
        self.with(|source| source)
    }

    pub(crate) fn desk(&self) -> Arc<dyn Desk> {
        Arc::clone(&self.notes) as Arc<dyn Desk>
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        self.source.repourl.clone()
    }

    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(args)
            .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@x")])
            .envs([("GIT_COMMITTER_NAME", "Bob"), ("GIT_COMMITTER_EMAIL", "bob@x")])
            .envs([("GIT_COMMITTER_DATE", "1700000000 +0000"), ("GIT_CONFIG_GLOBAL", "/dev/null")])
            .output()
            .expect("it works here");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it works here").trim().to_owned()
    }

    /// In the directory of somebody who works on it.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let work = self.path("work").display().to_string();
        self.run(&[&["-C", &work], args].concat())
    }

    /// Commits to a branch that is checked out; the first commit is pushed.
    pub(crate) fn commit(&self, branch: &str, message: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.path("work").join(name);
            std::fs::create_dir_all(path.parent().expect("it works here")).expect("it works here");
            std::fs::write(path, text).expect("it works here");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        if self.git(&["ls-remote", "origin"]).is_empty() {
            self.push(&[branch]);
        }
    }

    pub(crate) fn branch(&self, name: &str) {
        self.git(&["checkout", "--quiet", "-b", name]);
    }

    pub(crate) fn push(&self, branches: &[&str]) {
        self.git(&[&["push", "--quiet", "origin"], branches].concat());
    }

    /// A work directory with a history of its own, and a repository without the old one.
    pub(crate) fn start_over(&self) {
        self.git(&["checkout", "--quiet", "--orphan", "other"]);
        self.git(&["branch", "--quiet", "-D", "main"]);
        self.git(&["branch", "--quiet", "-m", "main"]);
        std::fs::remove_dir_all(self.path("gitpoller-work")).expect("it works here");
    }

    pub(crate) fn at(&self, branch: &str) -> String {
        self.git(&["rev-parse", &format!("refs/heads/{branch}")])
    }

    pub(crate) async fn poll(&self) -> Result<usize, PollError> {
        let gits = Arc::new(Semaphore::new(1));
        GitPoller::new(Arc::new(self.source.clone()), self.desk(), gits).poll().await
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.notes.changes.lock().expect("it works here").clone()
    }

    pub(crate) fn kept(&self) -> Json {
        self.notes.kept.lock().expect("it works here").clone()
    }

    /// The desk knows nothing any more.
    pub(crate) fn forget(&self) {
        *self.notes.kept.lock().expect("it works here") = Json::Null;
    }

    /// Has the desk take so many changes, and no more.
    pub(crate) fn take(&self, room: Option<usize>) {
        *self.notes.room.lock().expect("it works here") = room;
    }

    /// Has the desk take so many changes, cuts a look off that has more of them, and takes all from then on.
    pub(crate) async fn poll_until_full(&self, room: usize) {
        self.take(Some(room));
        self.notes.is_silent.store(true, Ordering::Relaxed);
        self.notes.is_full.store(false, Ordering::Relaxed);
        tokio::select! {
            found = self.poll() => panic!("{found:?}"),
            () = self.until(|site| site.notes.is_full.load(Ordering::Relaxed)) => {}
        }
        self.take(None);
    }

    pub(crate) fn make_executable(&self, path: &Path) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it works here");
    }

    pub(crate) async fn until(&self, is: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            assert!(begun.elapsed() < PATIENCE, "{:?} {:?}", self.kept(), self.changes());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until no process of a group is left but those that only wait to be forgotten.
    pub(crate) async fn wait_for_end_of_group(&self, group: &str) {
        let lives = |group: &str| {
            let output =
                Command::new("ps").args(["-o", "stat=", "-g", group]).output().expect("it works here");
            let states = String::from_utf8(output.stdout).expect("it works here");
            states.lines().any(|state| !state.starts_with('Z'))
        };
        let begun = Instant::now();
        while lives(group) {
            assert!(begun.elapsed() < PATIENCE, "group {group} lives on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
