//! Git (`buildbot/steps/source/git.py`, `buildbot/steps/source/base.py`).

use super::{COMMON, HALTING, StepType, WORKDIR, conflict, special};
use crate::{
    renderable::{Args, Renderable},
    schema::{Fallback, Key, Kind},
    table::Table,
};

pub(super) const GIT: StepType = StepType {
    name: "Git",
    default_name: "git",
    doc: "Gets the code that is to be built.",
    flags: HALTING,
    description: &["updating"],
    description_done: &["update"],
    arguments: &[COMMON, ARGUMENTS],
    check: Some(check),
};

pub(super) const GITHUB: StepType = StepType {
    name: "GitHub",
    doc: "Git for pull requests of GitHub: what is merged (a branch that ends in `/merge`) is always the newest.",
    ..GIT
};

pub(super) const GITLAB: StepType = StepType {
    name: "GitLab",
    doc: "Git for merge requests of GitLab: where the property `target_branch` is set, it gets `source_branch` of \
          `source_git_ssh_url`.",
    ..GIT
};

pub(crate) const ARGUMENTS: &[Key] = &[
    Key::renderable("repourl", Kind::Text, "where the repository is").required(),
    Key::new("port", Kind::Integer(1, 65535), "the port of SSH, for a `repourl` of the form `HOST:PATH`")
        .default(Fallback::Integer(22)),
    Key::renderable("sshPrivateKey", Kind::Text, "the private key for SSH, best as `%(secret:NAME)s`"),
    Key::renderable("sshHostKey", Kind::Text, "the public key that the server has to have"),
    Key::renderable("sshKnownHosts", Kind::Text, "what stands in a file `known_hosts`, instead of `sshHostKey`"),
    Key::renderable("auth_credentials", Kind::Texts, "user and password for `repourl`"),
    Key::renderable(
        "git_credentials",
        Kind::Special(&special::GIT_CREDENTIALS),
        "what git's credential helper is told, for any URLs",
    ),
    Key::renderable("branch", Kind::Text, "the branch where the source stamp names none").default(Fallback::Text("HEAD")),
    Key::renderable(
        "mode",
        Kind::Choice(&["incremental", "full"]),
        "keep what an earlier build left, or start clean",
    )
    .default(Fallback::Text("incremental")),
    Key::renderable(
        "method",
        Kind::Choice(&["clean", "fresh", "clobber", "copy"]),
        "how mode `full` starts clean: remove untracked files, ignored ones too, everything, or copy from a checkout",
    )
    .default(Fallback::Of("`fresh` in mode `full`")),
    Key::new("submodules", Kind::Bool, "get submodules too").default(Fallback::Bool(false)),
    Key::new("remoteSubmodules", Kind::Bool, "get the newest commit of submodules").default(Fallback::Bool(false)),
    Key::new("shallow", Kind::Special(&special::SHALLOW), "fetch only the last commits; `true` is one")
        .default(Fallback::Bool(false)),
    Key::new("filters", Kind::Texts, "filters for `git clone --filter`"),
    Key::new("tags", Kind::Bool, "fetch tags").default(Fallback::Bool(false)),
    Key::new("progress", Kind::Bool, "have git write its progress to the log").default(Fallback::Bool(true)),
    Key::new("retryFetch", Kind::Bool, "fetch once more when it fails").default(Fallback::Bool(false)),
    Key::new("clobberOnFailure", Kind::Bool, "remove everything and clone when an update fails")
        .default(Fallback::Bool(false)),
    Key::new("retry", Kind::Special(&special::RETRY), "seconds to wait, and how often to clone again, when it fails"),
    Key::renderable("reference", Kind::Text, "a repository on the worker to borrow objects from"),
    Key::renderable("origin", Kind::Text, "the name of the remote").default(Fallback::Of("`origin`")),
    Key::new("getDescription", Kind::Special(&special::DESCRIBE), "set the property `commit-description` by `git describe`")
        .default(Fallback::Bool(false)),
    Key::new("config", Kind::Dict, "git options for every command"),
    Key::renderable("codebase", Kind::Text, "the codebase whose source stamp is checked out; its name is added to the step's")
        .default(Fallback::Text("")),
    Key::new("alwaysUseLatest", Kind::Bool, "ignore the revision of the source stamp").default(Fallback::Bool(false)),
    Key::new("timeout", Kind::Seconds, "kill git when it has been silent for so long; 0 is never")
        .default(Fallback::Integer(1200)),
    WORKDIR,
    Key::renderable("env", Kind::Dict, "environment variables"),
    Key::new("logEnviron", Kind::Bool, "write the environment to the log").default(Fallback::Bool(true)),
];

fn check(table: &Table<'_>, args: &Args) {
    for key in ["sshHostKey", "sshKnownHosts"] {
        if !args.get(key).is_null() && args.get("sshPrivateKey").is_null() {
            conflict(table, key, "without an `sshPrivateKey`, it has no use", "give both, or neither");
        }
    }
    if !args.get("sshHostKey").is_null() && !args.get("sshKnownHosts").is_null() {
        conflict(
            table,
            "sshKnownHosts",
            "`sshHostKey` and `sshKnownHosts` do not go together",
            "leave out one",
        );
    }
    if let Renderable::List(words) = args.get("auth_credentials")
        && words.len() != 2
    {
        conflict(
            table,
            "auth_credentials",
            "expected two texts: user and password",
            "as `[\"me\", \"%(secret:token)s\"]`",
        );
    }
    let word = |name| match args.get(name) {
        Renderable::Text(template) if template.is_literal() => Some(template.source()),
        _ => None,
    };
    let shallow = !matches!(args.get("shallow"), Renderable::Bool(false) | Renderable::Null);
    if shallow
        && let (Some(mode), Some(method)) = (word("mode"), word("method"))
        && (mode, method) != ("full", "clobber")
    {
        conflict(
            table,
            "shallow",
            "with a `method`, `shallow` is only possible for mode \"full\" and method \"clobber\"",
            "leave out `method`, or set `mode = \"full\"` and `method = \"clobber\"`",
        );
    }
    if word("mode") == Some("incremental")
        && let Some(method) = table.value("method")
    {
        method
            .reading
            .sink
            .warning(method.span(), "mode \"incremental\" does not use `method`")
            .help("set `mode = \"full\"`, or leave out `method`");
    }
}
