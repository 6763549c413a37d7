//! Git (`buildbot/steps/source/git.py`, `buildbot/steps/source/base.py`): which commands, in which order.
//!
//! - [`auth`]: keys and passwords.
//! - [`checkout`]: how each mode and method brings the tree to the revision.
//! - [`patch`]: laying a patch over it.

mod auth;
mod checkout;
mod patch;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytestring::ByteString;
use model::{Json, Results, SourceStamp, template::to_text};
use worker_protocol::{
    Command, CommandVersion, EnvValue, ListDirectory, Program, RemoveDirectory, Shell, StatFile,
};

use crate::build::{
    halt::Halt,
    logs::LogRef,
    running::{Finished, Wiring},
    step::Step,
};

/// From this version on workers list directories; what `_sourcedirIsUpdatable` asks for.
const LISTS_DIRECTORIES: CommandVersion = CommandVersion::new(2, 16);
/// From this version on workers send SIGTERM first.
const SIGTERM_FIRST: CommandVersion = CommandVersion::new(2, 16);
/// A commit's name.
const HASH_LENGTH: usize = 40;
/// Where the method `copy` keeps its checkout.
const COPY_SOURCE: &str = "source";

/// Gets the code.
pub(super) async fn run(step: &mut Step) -> Result<Results, Halt> {
    let codebase = step.args.text("codebase").unwrap_or_default();
    let latest = step.args.truth("alwaysUseLatest");
    let stamp = step.build.order.sourcestamps.iter().find(|stamp| stamp.codebase == codebase).cloned();
    let stamp = match stamp {
        _ if latest => SourceStamp::default(),
        Some(stamp) => stamp,
        None => {
            step.summary.done = vec![format!("Codebase {codebase} not in build")];
            let text = format!("No sourcestamp found in build for codebase '{codebase}'");
            step.text_log("log", &text).await?;
            return Ok(Results::Failure);
        }
    };
    let mut revision = stamp.revision.filter(|revision| !revision.is_empty());
    if revision.is_none() && !latest {
        let changes = step.build.order.changes.iter().rev();
        revision = changes
            .filter(|change| change.codebase == codebase)
            .map(|change| change.revision.clone())
            .next()
            .flatten();
        if let Some(revision) = &revision {
            set_source_property(step, &codebase, "revision", revision).await?;
        }
    }
    if let Some(patch) = &stamp.patch {
        step.text_log("patch", &String::from_utf8_lossy(&patch.body)).await?;
    }
    let mut git = Git::new(step, stamp.branch, revision).await?;
    let ran = git.run(stamp.patch).await;
    let removed = git.remove_auth().await;
    ran.and(removed).map(|()| Results::Success)
}

/// The step at work.
struct Git<'a> {
    step: &'a mut Step,
    log: LogRef,
    features: Features,
    auth: auth::Auth,
    repository: String,
    branch: String,
    revision: Option<String>,
    codebase: String,
    method: Method,
    workdir: String,
    env: Vec<(ByteString, EnvValue)>,
    config: Vec<(String, String)>,
    timeout: Option<Duration>,
    log_environ: bool,
    depth: Option<u64>,
    submodules: bool,
    /// How long to wait before another clone, and how often that is tried yet.
    retry: Option<(Duration, u64)>,
}

/// How the tree is brought to the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Incremental,
    Clean,
    Fresh,
    Clobber,
    Copy,
}

/// What the worker's git can do.
#[derive(Clone, Copy, Debug, Default)]
struct Features {
    branch: bool,
    progress: bool,
    submodule_force: bool,
    submodule_checkout: bool,
    filters: bool,
    credential_store: bool,
    ssh_env: bool,
    ssh_config: bool,
}

/// Whether a failure ends the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnFailure {
    End,
    GoOn,
}

impl<'a> Git<'a> {
    async fn new(step: &'a mut Step, branch: Option<String>, revision: Option<String>) -> Result<Self, Halt> {
        let merge_request = merge_request(step);
        let args = &step.args;
        let branch = branch.filter(|branch| !branch.is_empty()).or_else(|| args.text("branch"));
        let (branch, revision) = match (&merge_request, branch) {
            // Neither may be in the repository that the change is of.
            (Some((_, source)), _) => (Some(source.clone()), None),
            // What GitHub merges is made anew each time.
            (None, Some(branch)) if step.config.kind == "GitHub" && branch.ends_with("/merge") => {
                (Some(branch), None)
            }
            (None, branch) => (branch, revision),
        };
        let retry = match args.get("retry").as_array().map(Vec::as_slice) {
            Some([delay, repeats]) => {
                let delay = delay.as_f64().and_then(|delay| Duration::try_from_secs_f64(delay).ok());
                let wrong = || args.wrong("retry", "is not a time and a number", "");
                Some((delay.ok_or_else(wrong)?, repeats.as_u64().ok_or_else(wrong)?))
            }
            _ => None,
        };
        let depth = match args.get("shallow") {
            Json::Bool(true) => Some(1),
            Json::Null | Json::Bool(false) => None,
            _ => args.count("shallow")?,
        };
        let branch = branch.filter(|branch| !branch.is_empty()).unwrap_or_else(|| "HEAD".to_owned());
        let repository = match merge_request {
            Some((repository, _)) => repository,
            None => args.needed("repourl")?,
        };
        let repository = url(&repository, args.count("port")?.unwrap_or(22));
        let words =
            [("branch", Some(&branch)), ("revision", revision.as_ref()), ("repourl", Some(&repository))];
        for (what, word) in words {
            refuse_option(what, word.map_or("", String::as_str))?;
        }
        let auth = auth::Auth::new(step, &repository);
        let args = &step.args;
        let git = Self {
            features: Features::default(),
            auth,
            repository,
            branch,
            revision,
            codebase: args.text("codebase").unwrap_or_default(),
            method: method(step)?,
            workdir: step.workdir().to_string(),
            env: args.env("env")?,
            config: args.dict("config"),
            timeout: args.seconds("timeout")?,
            log_environ: args.truth("logEnviron"),
            depth,
            submodules: args.truth("submodules"),
            retry,
            log: step.log("stdio").await?,
            step,
        };
        Ok(git)
    }

    async fn run(&mut self, patch: Option<model::Patch>) -> Result<(), Halt> {
        let version = self.git(&["--version"]).collect().await?.stdout;
        self.features = Features::of(&version)
            .ok_or_else(|| Halt::Broken("git is not installed on the worker".to_owned()))?;
        let patched = self.step.join(&self.workdir, ".buildbot-patched");
        if self.stat(&patched).await? {
            self.git(&["clean", "-f", "-f", "-d", "-x"]).await?;
        }
        self.put_auth().await?;
        self.checkout().await?;
        if let Some(patch) = patch {
            self.patch(&patch).await?;
        }
        self.note_revision().await?;
        self.describe().await
    }

    async fn note_revision(&mut self) -> Result<(), Halt> {
        let told = self.git(&["rev-parse", "HEAD"]).collect().await?.stdout;
        let revision = told.trim();
        if revision.len() != HASH_LENGTH {
            return Err(Halt::Failed);
        }
        set_source_property(self.step, &self.codebase, "got_revision", revision).await
    }

    /// Sets `commit-description`. A failure of `git describe` is no failure of the step.
    async fn describe(&mut self) -> Result<(), Halt> {
        let wanted = self.step.args.get("getDescription").clone();
        if matches!(wanted, Json::Null | Json::Bool(false)) {
            return Ok(());
        }
        let words = describe_words(&self.step.args.within(&wanted));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let finished = self.git(&words).collect().go_on().await?;
        if finished.is_success() {
            let description = finished.stdout.trim().to_owned();
            set_source_property(self.step, &self.codebase, "commit-description", &description).await?;
        }
        Ok(())
    }

    /// A git command, to be awaited.
    fn git(&mut self, words: &[&str]) -> GitCommand<'_, 'a> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        GitCommand { git: self, words, on_failure: OnFailure::End, collect: false, stdin: None }
    }

    async fn remove(&mut self, directory: &str) -> Result<Finished, Halt> {
        let mut remove = RemoveDirectory::new([directory]);
        remove.timeout = self.timeout.filter(|time| !time.is_zero()).or(remove.timeout);
        remove.log_environ = self.log_environ;
        self.step.command(Command::RemoveDirectory(remove), Wiring::log(self.log)).await
    }

    async fn stat(&mut self, file: &str) -> Result<bool, Halt> {
        let stat = StatFile { file: file.into(), workdir: ByteString::new() };
        let finished = self.step.command(Command::Stat(stat), Wiring::log(self.log)).await?;
        Ok(finished.is_success())
    }

    async fn list(&mut self, directory: &str) -> Result<Option<Vec<String>>, Halt> {
        let list = ListDirectory { dir: directory.into() };
        Ok(self.step.command(Command::ListDirectory(list), Wiring::log(self.log)).await?.files)
    }
}

/// Branches and revisions come from whoever reports a change or forces a build, and git would run what an option such as
/// `--upload-pack` names. No branch and no revision begins like that (`git check-ref-format`).
fn refuse_option(what: &str, word: &str) -> Result<(), Halt> {
    if !word.starts_with('-') {
        return Ok(());
    }
    Err(Halt::Broken(format!("the {what} {word:?} begins with a dash: git would take it for an option")))
}

/// A git command, run by awaiting it.
struct GitCommand<'g, 'a> {
    git: &'g mut Git<'a>,
    words: Vec<String>,
    on_failure: OnFailure,
    collect: bool,
    stdin: Option<String>,
}

impl GitCommand<'_, '_> {
    /// A failure does not end the step.
    fn go_on(self) -> Self {
        Self { on_failure: OnFailure::GoOn, ..self }
    }

    fn on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// Its output is wanted.
    fn collect(self) -> Self {
        Self { collect: true, ..self }
    }

    /// What it reads.
    fn stdin(self, text: &str) -> Self {
        Self { stdin: Some(text.to_owned()), ..self }
    }

    async fn run(self) -> Result<Finished, Halt> {
        let Self { git, words, on_failure, collect, stdin } = self;
        let mut line = vec!["git".to_owned()];
        for (name, value) in &git.config {
            line.push("-c".to_owned());
            line.push(format!("{name}={value}"));
        }
        let command = words.first().map_or("", String::as_str);
        let (auth_words, auth_env) = git.auth.words(git.features, command)?;
        line.extend(auth_words);
        line.extend(words);
        let mut shell = Shell::new(git.workdir.as_str(), Program::words(line));
        shell.env = git.env.clone();
        shell.env.extend(auth_env);
        shell.timeout = git.timeout;
        shell.log_environ = git.log_environ;
        shell.initial_stdin = stdin.map(ByteString::from);
        // A git that is killed at once leaves its lock files behind.
        if git.step.worker().command_version("shell").is_some_and(|version| version >= SIGTERM_FIRST) {
            shell.sigterm_time = Some(Duration::from_secs(1));
        } else {
            shell.interrupt_signal = Some(ByteString::from_static("TERM"));
        }
        let wiring = Wiring { collect_stdout: collect, ..Wiring::log(git.log) };
        let finished = git.step.command(Command::Shell(Box::new(shell)), wiring).await?;
        if on_failure == OnFailure::End && !finished.is_success() {
            return Err(Halt::Failed);
        }
        Ok(finished)
    }
}

impl<'g, 'a: 'g> IntoFuture for GitCommand<'g, 'a> {
    type Output = Result<Finished, Halt>;
    type IntoFuture = futures_util::future::BoxFuture<'g, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Features {
    /// From what `git --version` writes; `None` where that is no git.
    fn of(told: &str) -> Option<Self> {
        let version = told.strip_prefix("git version ")?;
        let numbers: Vec<u32> =
            version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok()).collect();
        let (major, minor, patch) =
            (*numbers.first()?, numbers.get(1).copied().unwrap_or(0), numbers.get(2).copied().unwrap_or(0));
        let since = |version| (major, minor, patch) >= version;
        Some(Self {
            branch: since((1, 6, 5)),
            progress: since((1, 7, 2)),
            submodule_force: since((1, 7, 6)),
            submodule_checkout: since((1, 7, 8)),
            filters: since((2, 27, 0)),
            credential_store: since((1, 7, 9)),
            ssh_env: since((2, 3, 0)),
            ssh_config: since((2, 10, 0)),
        })
    }
}

/// The repository and the branch that a merge request of GitLab proposes to merge.
fn merge_request(step: &Step) -> Option<(String, String)> {
    if step.config.kind != "GitLab" {
        return None;
    }
    step.build.properties.get("target_branch")?;
    let property = |name: &str| step.build.properties.get(name).map(to_text);
    Some((property("source_git_ssh_url")?, property("source_branch")?))
}

fn method(step: &Step) -> Result<Method, Halt> {
    let args = &step.args;
    match args.text("mode").as_deref() {
        Some("incremental") => Ok(Method::Incremental),
        Some("full") => match args.text("method").as_deref() {
            Some("clean") => Ok(Method::Clean),
            Some("fresh") | None => Ok(Method::Fresh),
            Some("clobber") => Ok(Method::Clobber),
            Some("copy") => Ok(Method::Copy),
            Some(_) => Err(args.wrong("method", "is none of ", "clean, fresh, clobber, copy")),
        },
        _ => Err(args.wrong("mode", "is neither ", "incremental nor full")),
    }
}

/// `HOST:PATH` as a URL; anything else as it is (`buildbot/util/git.py`, `scp_style_to_url_syntax`).
fn url(address: &str, port: u64) -> String {
    match address.split_once(':') {
        // With more colons it is something that only git understands.
        Some((host, path)) if !path.contains(':') && !address.contains("://") && !address.contains(":\\") => {
            format!("ssh://{host}:{port}/{path}")
        }
        _ => address.to_owned(),
    }
}

fn describe_words(options: &crate::build::arguments::Arguments) -> Vec<String> {
    let mut words = vec!["describe".to_owned()];
    for flag in ["all", "always", "contains", "debug", "long", "exact-match", "tags", "first-parent"] {
        if options.truth(flag) {
            words.push(format!("--{flag}"));
        }
    }
    for option in ["match", "exclude"] {
        if let Some(value) = options.text(option).filter(|value| !value.is_empty()) {
            words.push(format!("--{option}"));
            words.push(value);
        }
    }
    for option in ["abbrev", "candidates"] {
        if let Some(value) = options.get(option).as_i64() {
            words.push(format!("--{option}={value}"));
        }
    }
    match options.get("dirty") {
        Json::Bool(true) => words.push("--dirty".to_owned()),
        Json::String(mark) if mark.is_empty() => words.push("--dirty".to_owned()),
        Json::String(mark) => words.push(format!("--dirty={mark}")),
        _ => {}
    }
    // A commit cannot be dirty.
    if !words.iter().any(|word| word.starts_with("--dirty")) {
        words.push("HEAD".to_owned());
    }
    words
}

/// Sets a property that has a value for each codebase where codebases have names.
async fn set_source_property(step: &mut Step, codebase: &str, name: &str, value: &str) -> Result<(), Halt> {
    let known = step.build.properties.get(name);
    let value = if codebase.is_empty() {
        if matches!(known, Some(Json::Object(_))) {
            return Err(Halt::Broken(format!(
                "step {:?} has no codebase, other source steps do: property {name:?} is for one or the other",
                step.name
            )));
        }
        Json::from(value)
    } else {
        let mut all = match known {
            Some(Json::Object(all)) => all.clone(),
            Some(Json::String(_)) if name != "revision" => {
                return Err(Halt::Broken(format!(
                    "step {:?} has a codebase, other source steps do not: property {name:?} is for one or the other",
                    step.name
                )));
            }
            _ => serde_json::Map::new(),
        };
        all.insert(codebase.to_owned(), value.into());
        Json::Object(all)
    };
    step.set_property(name, value, step.config.kind).await
}
