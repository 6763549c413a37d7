//! One look at a git repository.
//!
//! What counts as a change is Buildbot's (`buildbot/changes/gitpoller.py`, 4.3.0): commits of the first parents that no
//! branch had when it looked last; the first look finds none. What it remembers is kept where Buildbot keeps it
//! (`lastRev` of class `GitPoller`), so that either goes on from what the other left. Differences, all of them for the
//! better: nothing is fetched when nothing has moved; a branch is known to be where its last change was handed over, so
//! that a look that fails or is cut off goes on from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use config::{Branches, Category, GitPoller as Config};
use futures_util::future::BoxFuture;
use model::{Change, Json, Time};
use serde_json::Map;
use tokio::sync::Semaphore;

use crate::{
    clock,
    credentials::{Credentials, CredentialsError},
    git::{Git, GitError},
};

/// The class that its state is kept under.
const CLASS: &str = "GitPoller";
/// The commit of each branch at the last look.
const LAST_REV: &str = "lastRev";
/// Of a push, at most so many commits are changes: the newest.
const MAX_COMMITS: usize = 10_000;
/// At most so many files of a commit are named.
const MAX_FILES: usize = 10_000;
/// At most so much of a commit's message is kept, in bytes.
const MAX_COMMENTS: usize = 1 << 20;

/// Where changes are handed over, and where is kept what a source remembers. Each is done when it is durable.
pub trait Desk: Send + Sync + 'static {
    /// Hands over a change.
    fn add_change(&self, change: Change) -> BoxFuture<'_, Result<(), String>>;
    /// What `object` of `class` keeps under `key`.
    fn kept(
        &self,
        object: String,
        class: &'static str,
        key: &'static str,
    ) -> BoxFuture<'_, Result<Option<Json>, String>>;
    /// Has it keep a value.
    fn keep(
        &self,
        object: String,
        class: &'static str,
        key: &'static str,
        value: Json,
    ) -> BoxFuture<'_, Result<(), String>>;
}

/// Why a look has found nothing, or not all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// There is nothing to be let in with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The directory of the repository cannot be made.
    #[error("make the directory of the repository")]
    Directory(#[source] std::io::Error),
    /// What was found could not be handed over or kept.
    #[error("hand over what was found: {0}")]
    Desk(String),
    /// Whoever answers is no git.
    #[error("unexpected answer of git: {0:?}")]
    Unexpected(String),
}

/// A poller of one repository.
pub struct GitPoller {
    config: Arc<Config>,
    desk: Arc<dyn Desk>,
    /// So many gits run at once.
    gits: Arc<Semaphore>,
}

/// A branch (or tag) of the repository.
#[derive(Debug)]
struct Ref {
    /// As git names it: `refs/heads/main`.
    name: String,
    /// As it is remembered: with or without `refs/heads/`, as Buildbot has it.
    key: String,
    /// The commit it is at.
    at: String,
}

impl GitPoller {
    /// A poller that hands over to `desk`; as many gits run at once as `gits` lets.
    pub fn new(config: Arc<Config>, desk: Arc<dyn Desk>, gits: Arc<Semaphore>) -> Self {
        Self { config, desk, gits }
    }

    /// Looks at the repository once: how many changes were found.
    ///
    /// # Errors
    /// Git or the desk failed. What was handed over until then is not found again.
    pub async fn poll(&self) -> Result<usize, PollError> {
        let Ok(_permit) = self.gits.acquire().await else { return Ok(0) };
        let config = &*self.config;
        std::fs::create_dir_all(&config.workdir).map_err(PollError::Directory)?;
        let credentials = Credentials::new(config.ssh.as_ref(), &config.secrets, &config.workdir)?;
        let git = Git {
            program: config.gitbin.clone(),
            directory: config.workdir.clone(),
            timeout: config.git_timeout,
            env: credentials.env.clone(),
        };
        if !["HEAD", "objects"].iter().all(|name| config.workdir.join(name).exists()) {
            git.init().await?;
        }
        let refs = self.refs(&git).await?;
        if refs.is_empty() {
            return Ok(0);
        }
        let last = self.last().await?.unwrap_or_default();
        let now: BTreeMap<String, String> =
            refs.iter().map(|one| (one.key.clone(), one.at.clone())).collect();
        if now == last {
            return Ok(0);
        }
        self.clear(&git, &refs, &last).await?;
        let fetched = self.fetch(&git, refs).await?;
        let mut known = last.clone();
        let (mut found, mut failed) = (0, None);
        for one in fetched.iter().filter(|one| last.get(&one.key) != Some(&one.at)) {
            // The first look only says from where on.
            if !last.is_empty() {
                match self.changes_of(&git, one, &mut known).await {
                    Ok(count) => found += count,
                    Err(error) => {
                        failed = Some(error);
                        continue;
                    }
                }
            }
            known.insert(one.key.clone(), one.at.clone());
        }
        // A branch that is gone is forgotten; one that is there but failed is not.
        let there: BTreeSet<&String> = fetched.iter().map(|one| &one.key).collect();
        known.retain(|key, _| there.contains(key));
        if known != last {
            self.keep(&known).await?;
        }
        failed.map_or(Ok(found), Err)
    }

    async fn last(&self) -> Result<Option<BTreeMap<String, String>>, PollError> {
        let last =
            self.desk.kept(self.config.name.clone(), CLASS, LAST_REV).await.map_err(PollError::Desk)?;
        Ok(last.and_then(|last| serde_json::from_value(last).ok()))
    }

    async fn keep(&self, known: &BTreeMap<String, String>) -> Result<(), PollError> {
        let value: Map<_, _> = known.iter().map(|(key, at)| (key.clone(), Json::from(at.as_str()))).collect();
        let kept = self.desk.keep(self.config.name.clone(), CLASS, LAST_REV, Json::Object(value)).await;
        kept.map_err(PollError::Desk)
    }

    /// The branches that are looked at.
    async fn refs(&self, git: &Git) -> Result<Vec<Ref>, PollError> {
        let url = &*self.config.repourl;
        let list = async |patterns: &[String]| {
            let mut args = vec!["ls-remote", "--refs", "--", url];
            args.extend(patterns.iter().map(String::as_str));
            let rows = git.run(&args, "").await?;
            let rows = rows.lines().filter_map(|row| row.split_once('\t'));
            let refs = rows.filter(|(at, name)| is_commit(at) && is_ref(name));
            Ok::<_, PollError>(refs.map(|(at, name)| (at.to_owned(), name.to_owned())).collect::<Vec<_>>())
        };
        let of = |refs: Vec<(String, String)>| {
            refs.into_iter().map(|(at, name)| Ref { key: name.clone(), name, at }).collect::<Vec<_>>()
        };
        match &self.config.branches {
            Branches::Named(names) => {
                let patterns: Vec<String> = names.iter().map(|name| format!("refs/heads/{name}")).collect();
                let refs = list(&patterns).await?;
                // A pattern also finds refs that only end like it.
                let wanted: BTreeSet<&String> = patterns.iter().collect();
                let refs = refs.into_iter().filter(|(_, name)| wanted.contains(name)).map(|(at, name)| {
                    let key = name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned();
                    Ref { name, key, at }
                });
                Ok(refs.collect())
            }
            Branches::All => Ok(of(list(&["refs/heads/*".to_owned()]).await?)),
            Branches::Tags => Ok(of(list(&["refs/tags/*".to_owned()]).await?)),
            Branches::Where(expression) => {
                let mut refs = list(&[]).await?;
                refs.retain(|(_, name)| {
                    let scope = Map::from_iter([("ref".to_owned(), Json::from(name.as_str()))]);
                    expression.is_true(&scope).unwrap_or_else(|error| {
                        tracing::warn!(
                            source = self.config.name,
                            branch = name,
                            error = &error as &dyn std::error::Error,
                            "it cannot be told whether the branch is to be looked at"
                        );
                        false
                    })
                });
                Ok(of(refs))
            }
            Branches::Head => self.head(git, url).await,
        }
    }

    /// The default branch.
    async fn head(&self, git: &Git, url: &str) -> Result<Vec<Ref>, PollError> {
        let rows = git.run(&["ls-remote", "--symref", "--", url, "HEAD"], "").await?;
        let mut name = "HEAD".to_owned();
        for (first, second) in rows.lines().filter_map(|row| row.split_once('\t')) {
            match first.strip_prefix("ref: ") {
                Some(branch) if second == "HEAD" && is_ref(branch) => branch.clone_into(&mut name),
                None if second == "HEAD" && is_commit(first) => {
                    return Ok(vec![Ref { key: name.clone(), name, at: first.to_owned() }]);
                }
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    /// Where the branches of the repository are kept in ours.
    fn prefix(&self) -> String {
        format!("refs/buildbot/{}", escaped(&self.config.repourl))
    }

    /// What a branch of the repository is called in ours.
    fn tracker(&self, name: &str) -> String {
        format!("{}/{}", self.prefix(), name.strip_prefix("refs/").unwrap_or(name))
    }

    /// Forgets branches that are gone, and those that are in the way: git has no `a` beside an `a/b`. Others may be those of
    /// another poller of the same repository.
    async fn clear(&self, git: &Git, refs: &[Ref], last: &BTreeMap<String, String>) -> Result<(), PollError> {
        let wanted: BTreeSet<String> = refs.iter().map(|one| self.tracker(&one.name)).collect();
        let ours: BTreeSet<String> = last
            .keys()
            .map(|key| match key.as_str() {
                name if name.starts_with("refs/") || name == "HEAD" => self.tracker(name),
                branch => self.tracker(&format!("refs/heads/{branch}")),
            })
            .collect();
        let below =
            |name: &str, above: &str| name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
        let listed = git.run(&["for-each-ref", "--format=%(refname)", &self.prefix()], "").await?;
        let deletions: String = listed
            .lines()
            .filter(|name| !wanted.contains(*name))
            .filter(|name| {
                ours.contains(*name) || wanted.iter().any(|one| below(one, name) || below(name, one))
            })
            .map(|name| format!("delete {name}\n"))
            .collect();
        if !deletions.is_empty() {
            git.run(&["update-ref", "--stdin"], &deletions).await?;
        }
        Ok(())
    }

    /// Fetches what has moved, and says where the branches are now; those that are gone by now are left out.
    async fn fetch(&self, git: &Git, refs: Vec<Ref>) -> Result<Vec<Ref>, PollError> {
        let specs: String =
            refs.iter().map(|one| format!("+{}:{}\n", one.name, self.tracker(&one.name))).collect();
        let fetch =
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--stdin", "--", &self.config.repourl];
        git.run(&fetch, &specs).await?;
        let list = ["for-each-ref", "--format=%(objectname) %(refname)", &self.prefix()];
        let listed = git.run(&list, "").await?;
        let at: BTreeMap<&str, &str> =
            listed.lines().filter_map(|row| row.split_once(' ')).map(|(at, name)| (name, at)).collect();
        let now = refs.into_iter().filter_map(|one| {
            let at = at.get(self.tracker(&one.name).as_str())?;
            is_commit(at).then(|| Ref { at: (*at).to_owned(), ..one })
        });
        Ok(now.collect())
    }

    /// Hands over the new commits of a branch that has moved, oldest first: how many there are. `known` is where all
    /// branches were; there and on the desk the branch moves with each of its commits, which nobody gets twice then.
    async fn changes_of(
        &self,
        git: &Git,
        one: &Ref,
        known: &mut BTreeMap<String, String>,
    ) -> Result<usize, PollError> {
        let mut input = format!("{}\n", one.at);
        for at in known.values().filter(|at| is_commit(at)) {
            input.push_str(&format!("^{at}\n"));
        }
        let most = format!("--max-count={MAX_COMMITS}");
        let list = ["rev-list", "--ignore-missing", "--first-parent", &most, "--stdin"];
        let listed = git.run(&list, &input).await?;
        let mut commits: Vec<&str> = listed.lines().filter(|commit| is_commit(commit)).collect();
        if commits.len() == MAX_COMMITS {
            tracing::warn!(
                source = self.config.name,
                branch = one.name,
                "there are more new commits than a push may have; only the newest {MAX_COMMITS} are changes"
            );
        }
        commits.reverse();
        if commits.is_empty() && self.config.build_pushes_with_no_commits {
            commits.push(&one.at);
        }
        for commit in &commits {
            let change = self.change(git, one, commit).await?;
            self.desk.add_change(change).await.map_err(PollError::Desk)?;
            known.insert(one.key.clone(), (*commit).to_owned());
            self.keep(known).await?;
        }
        Ok(commits.len())
    }

    async fn change(&self, git: &Git, one: &Ref, commit: &str) -> Result<Change, PollError> {
        let show = ["log", "--no-walk", "--format=%H%n%ct%n%aN <%aE>%n%cN <%cE>%n%s%n%b", commit, "--"];
        let said = git.run(&show, "").await?;
        let mut rows = said.splitn(5, '\n');
        let mut row = || rows.next().unwrap_or_default().trim().to_owned();
        let (revision, when, author, committer) = (row(), row(), row(), row());
        let comments = rows.next().unwrap_or_default().trim();
        let when = when.parse().ok().map(Time::from_epoch_seconds);
        let Some(when) = when.filter(|_| is_commit(&revision)) else {
            return Err(PollError::Unexpected(said.chars().take(200).collect()));
        };
        let list =
            ["log", "--no-walk", "--name-only", "-z", "--format=", "-m", "--first-parent", commit, "--"];
        let files = git.run(&list, "").await?;
        let files = files.split(['\0', '\n']).filter(|file| !file.is_empty()).take(MAX_FILES);
        let config = &*self.config;
        let mut change = Change {
            author,
            committer: Some(committer),
            comments: comments[..comments.floor_char_boundary(MAX_COMMENTS)].to_owned(),
            files: files.map(str::to_owned).collect(),
            branch: Some(one.name.strip_prefix("refs/heads/").unwrap_or(&one.name).to_owned()),
            // A tag may be an object of its own; what is built is what Buildbot says: where the tag is.
            revision: Some(commit.to_owned()),
            when: if config.use_timestamps { when } else { clock::now() },
            repository: config.repourl.clone(),
            codebase: config.codebase.clone(),
            project: config.project.clone(),
            ..Change::default()
        };
        change.category = match &config.category {
            Category::None => None,
            Category::Fixed(category) => Some(category.clone()),
            Category::Expression(expression) => {
                let value = expression.evaluate(&model::filter::scope(&change)).unwrap_or_else(|error| {
                    tracing::warn!(
                        source = config.name,
                        error = &error as &dyn std::error::Error,
                        "a change has no category"
                    );
                    Json::Null
                });
                Some(value).filter(|value| !value.is_null()).map(|value| model::template::to_text(&value))
            }
        };
        Ok(change)
    }
}

fn is_commit(text: &str) -> bool {
    (40..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a name is one that git takes, and nothing that it takes for more.
fn is_ref(name: &str) -> bool {
    name.starts_with("refs/")
        && name.len() < 1024
        && !name.contains([':', '*', '?', '[', '\\', '^', '~', ' '])
}

/// An address as a part of the name of a ref.
fn escaped(url: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
    url.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
