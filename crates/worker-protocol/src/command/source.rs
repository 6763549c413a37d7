//! Source checkouts that buildslave 0.8 does itself (`buildslave/commands/*.py`); since 0.9.0 they are made of
//! [`super::Shell`] commands.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use perspective_broker::Value;

use super::arguments::seconds;
use super::{Arguments, CommandUnsupported, EnvValue};

/// A checkout.
#[derive(Clone, Debug)]
pub struct Source {
    /// Directory of the checkout.
    pub workdir: ByteString,
    /// What becomes of a tree that is there already.
    pub mode: Mode,
    /// What to check out; the newest when `None`.
    pub revision: Option<ByteString>,
    /// A patch on top.
    pub patch: Option<Patch>,
    /// It is given up after that long without output.
    pub timeout: Option<Duration>,
    /// It is given up after that long.
    pub max_time: Option<Duration>,
    /// Try again when it fails.
    pub retry: Option<Retry>,
    /// Begin the log with the whole environment.
    pub log_environ: bool,
    /// Changes to the worker's environment.
    pub env: Vec<(ByteString, EnvValue)>,
    /// Where the source comes from.
    pub repository: Repository,
}

impl Source {
    /// A checkout with Buildbot's defaults: update, two minutes without output.
    pub fn new(workdir: impl Into<ByteString>, repository: Repository) -> Self {
        Self {
            workdir: workdir.into(),
            mode: Mode::Update,
            revision: None,
            patch: None,
            timeout: Some(Duration::from_secs(120)),
            max_time: None,
            retry: None,
            log_environ: true,
            env: Vec::new(),
            repository,
        }
    }

    pub(super) fn encode(&self, arguments: &mut Arguments<'_>) -> Result<(), CommandUnsupported> {
        arguments.require_command(
            self.repository.command(),
            "only buildslave 0.8 checks out by itself, and each release by its own list of systems",
        )?;
        arguments.set_text("workdir", &self.workdir);
        let mode = arguments.word(self.mode.as_str());
        arguments.set("mode", mode);
        arguments.set_optional_text("revision", self.revision.as_ref());
        let patch = self.patch.as_ref().map_or(Value::None, |patch| patch.encode(arguments));
        arguments.set("patch", patch);
        arguments.set_seconds("timeout", self.timeout);
        arguments.set_seconds("maxTime", self.max_time);
        let retry = self.retry.map_or(Value::None, |retry| {
            Value::Tuple(vec![seconds(Some(retry.delay)), Value::Int(retry.count.into())])
        });
        arguments.set("retry", retry);
        arguments.set_bool("logEnviron", self.log_environ);
        arguments.set_env(&self.env);
        self.repository.encode(arguments);
        Ok(())
    }
}

/// What becomes of a tree that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is brought up to date.
    Update,
    /// It is brought up to date in a place of its own and copied.
    Copy,
    /// It is removed first.
    Clobber,
    /// It is removed, and the new one is without the version control system's own files.
    Export,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Copy => "copy",
            Self::Clobber => "clobber",
            Self::Export => "export",
        }
    }
}

/// A patch for `patch -p LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Leading directories to strip.
    pub level: u32,
    /// The difference.
    pub diff: Bytes,
    /// Directory inside the checkout where it applies.
    pub root: Option<ByteString>,
}

impl Patch {
    fn encode(&self, arguments: &Arguments<'_>) -> Value {
        let mut parts = vec![Value::Int(self.level.into()), Value::Bytes(self.diff.clone())];
        parts.extend(self.root.as_ref().map(|root| arguments.text(root)));
        Value::Tuple(parts)
    }
}

/// When and how often to try a failed checkout again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Wait that long first.
    pub delay: Duration,
    /// Try that many times more.
    pub count: u32,
}

/// A password for a version control system; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SourcePassword(pub ByteString);

impl fmt::Debug for SourcePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourcePassword(..)")
    }
}

/// Where source comes from: one variant per version control system, with the arguments of its command.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are the options of the version control systems, by their own names"
)]
pub enum Repository {
    /// `git`
    Git {
        repourl: ByteString,
        branch: Option<ByteString>,
        submodules: bool,
        ignore_ignores: bool,
        reference: Option<ByteString>,
        gerrit_branch: Option<ByteString>,
        progress: bool,
        shallow: bool,
    },
    /// `svn`
    Subversion {
        svnurl: ByteString,
        username: Option<ByteString>,
        password: Option<SourcePassword>,
        extra_args: Vec<ByteString>,
        depth: Option<ByteString>,
        keep_on_purge: Vec<ByteString>,
        ignore_ignores: bool,
        always_purge: bool,
    },
    /// `cvs`
    Cvs {
        cvsroot: ByteString,
        cvsmodule: ByteString,
        branch: Option<ByteString>,
        login: Option<SourcePassword>,
        global_options: Vec<ByteString>,
        checkout_options: Vec<ByteString>,
        export_options: Vec<ByteString>,
        extra_options: Vec<ByteString>,
    },
    /// `hg`
    Mercurial {
        repourl: ByteString,
        branch: Option<ByteString>,
        clobber_on_branch_change: bool,
        in_repository_branches: bool,
    },
    /// `bzr`
    Bazaar { repourl: ByteString, force_shared_repo: Option<bool> },
    /// `darcs`
    Darcs { repourl: ByteString },
    /// `mtn`
    Monotone { repourl: ByteString, branch: ByteString, progress: bool },
    /// `bk`
    BitKeeper { bkurl: ByteString, extra_args: Vec<ByteString> },
    /// `p4`
    Perforce {
        port: ByteString,
        user: Option<ByteString>,
        password: Option<SourcePassword>,
        client: Option<ByteString>,
        base: Option<ByteString>,
        branch: Option<ByteString>,
        extra_views: Vec<(ByteString, ByteString)>,
        line_end: Option<ByteString>,
    },
    /// `repo`
    Repo {
        manifest_url: ByteString,
        manifest_branch: Option<ByteString>,
        manifest_file: Option<ByteString>,
        manifest_override_url: Option<ByteString>,
        tarball: Option<ByteString>,
        downloads: Vec<ByteString>,
        jobs: Option<u32>,
    },
}

impl Repository {
    pub(super) fn command(&self) -> &'static str {
        match self {
            Self::Git { .. } => "git",
            Self::Subversion { .. } => "svn",
            Self::Cvs { .. } => "cvs",
            Self::Mercurial { .. } => "hg",
            Self::Bazaar { .. } => "bzr",
            Self::Darcs { .. } => "darcs",
            Self::Monotone { .. } => "mtn",
            Self::BitKeeper { .. } => "bk",
            Self::Perforce { .. } => "p4",
            Self::Repo { .. } => "repo",
        }
    }

    fn encode(&self, to: &mut Arguments<'_>) {
        match self {
            Self::Git {
                repourl,
                branch,
                submodules,
                ignore_ignores,
                reference,
                gerrit_branch,
                progress,
                shallow,
            } => {
                to.set_text("repourl", repourl);
                to.set_optional_text("branch", branch.as_ref());
                to.set_bool("submodules", *submodules);
                to.set_bool("ignore_ignores", *ignore_ignores);
                to.set_optional_text("reference", reference.as_ref());
                to.set_optional_text("gerrit_branch", gerrit_branch.as_ref());
                to.set_bool("progress", *progress);
                to.set_bool("shallow", *shallow);
            }
            Self::Subversion {
                svnurl,
                username,
                password,
                extra_args,
                depth,
                keep_on_purge,
                ignore_ignores,
                always_purge,
            } => {
                to.set_text("svnurl", svnurl);
                // The worker passes these on whenever the key exists, even when it holds None.
                if let Some(username) = username {
                    to.set_text("username", username);
                }
                if let Some(SourcePassword(password)) = password {
                    to.set_text("password", password);
                }
                if let Some(depth) = depth {
                    to.set_text("depth", depth);
                }
                to.set_texts("extra_args", extra_args);
                to.set_texts("keep_on_purge", keep_on_purge);
                to.set_bool("ignore_ignores", *ignore_ignores);
                to.set_bool("always_purge", *always_purge);
            }
            Self::Cvs {
                cvsroot,
                cvsmodule,
                branch,
                login,
                global_options,
                checkout_options,
                export_options,
                extra_options,
            } => {
                to.set_text("cvsroot", cvsroot);
                to.set_text("cvsmodule", cvsmodule);
                to.set_optional_text("branch", branch.as_ref());
                to.set_optional_text("login", login.as_ref().map(|SourcePassword(text)| text));
                to.set_texts("global_options", global_options);
                to.set_texts("checkout_options", checkout_options);
                to.set_texts("export_options", export_options);
                to.set_texts("extra_options", extra_options);
            }
            Self::Mercurial { repourl, branch, clobber_on_branch_change, in_repository_branches } => {
                to.set_text("repourl", repourl);
                if let Some(branch) = branch {
                    to.set_text("branch", branch);
                }
                to.set_bool("clobberOnBranchChange", *clobber_on_branch_change);
                let kind = to.word(if *in_repository_branches { "inrepo" } else { "dirname" });
                to.set("branchType", kind);
            }
            Self::Bazaar { repourl, force_shared_repo } => {
                to.set_text("repourl", repourl);
                to.set("forceSharedRepo", force_shared_repo.map_or(Value::None, Value::Bool));
            }
            Self::Darcs { repourl } => to.set_text("repourl", repourl),
            Self::Monotone { repourl, branch, progress } => {
                to.set_text("repourl", repourl);
                to.set_text("branch", branch);
                to.set_bool("progress", *progress);
            }
            Self::BitKeeper { bkurl, extra_args } => {
                to.set_text("bkurl", bkurl);
                to.set_texts("extra_args", extra_args);
            }
            Self::Perforce { port, user, password, client, base, branch, extra_views, line_end } => {
                to.set_text("p4port", port);
                to.set_optional_text("p4user", user.as_ref());
                to.set_optional_text("p4passwd", password.as_ref().map(|SourcePassword(text)| text));
                to.set_optional_text("p4client", client.as_ref());
                to.set_optional_text("p4base", base.as_ref());
                to.set_optional_text("branch", branch.as_ref());
                let views = extra_views
                    .iter()
                    .map(|(depot, client)| Value::Tuple(vec![to.text(depot), to.text(client)]))
                    .collect();
                to.set("p4extra_views", Value::List(views));
                to.set_optional_text("p4line_end", line_end.as_ref());
            }
            Self::Repo {
                manifest_url,
                manifest_branch,
                manifest_file,
                manifest_override_url,
                tarball,
                downloads,
                jobs,
            } => {
                to.set_text("manifest_url", manifest_url);
                to.set_optional_text("manifest_branch", manifest_branch.as_ref());
                to.set_optional_text("manifest_file", manifest_file.as_ref());
                to.set_optional_text("manifest_override_url", manifest_override_url.as_ref());
                to.set_optional_text("tarball", tarball.as_ref());
                to.set_texts("repo_downloads", downloads);
                to.set_count("jobs", jobs.map(u64::from));
            }
        }
    }
}
