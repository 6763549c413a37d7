//! `[[change-source]]`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ::model::template::{Reference, Template};
use toml::de::DeValue;

use super::Names;
use crate::{
    expression,
    model::{Branches, Category, ChangeSource, GitPoller, Secrets, Ssh},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

pub(super) const GIT_POLLER: Keys = Keys {
    what: "GitPoller",
    groups: &[&[
        Key::new("type", Kind::Choice(&["GitPoller"]), "what it looks at").required(),
        Key::new("repourl", Kind::Text, "the repository").required(),
        Key::new("name", Kind::Text, "its name; what it remembers is kept under it")
            .default(Fallback::Of("`repourl`")),
        Key::new("branch", Kind::Text, "the branch")
            .default(Fallback::Of("the default branch of the repository")),
        Key::new(
            "branches",
            Kind::Special(&BRANCHES),
            "the branches: names, `true` for all, or an expression over `ref`, such as `refs/heads/main`",
        ),
        Key::new("only_tags", Kind::Bool, "tags instead of branches").default(Fallback::Bool(false)),
        Key::new("pollInterval", Kind::Seconds, "the time from one look to the next")
            .default(Fallback::Integer(600)),
        Key::new("pollAtLaunch", Kind::Bool, "look at once when the master starts")
            .default(Fallback::Bool(false)),
        Key::new("pollRandomDelayMin", Kind::Seconds, "each look is later by this at least")
            .default(Fallback::Integer(0)),
        Key::new("pollRandomDelayMax", Kind::Seconds, "each look is later by this at most")
            .default(Fallback::Integer(0)),
        Key::new(
            "buildPushesWithNoCommits",
            Kind::Bool,
            "a branch that moves to a known commit is a change too",
        )
        .default(Fallback::Bool(false)),
        Key::new("project", Kind::Text, "the project of its changes").default(Fallback::Text("")),
        Key::new("codebase", Kind::Text, "the codebase of its changes").default(Fallback::Text("")),
        Key::new(
            "category",
            Kind::Special(&CATEGORY),
            "the category of its changes; an expression sees `change`",
        ),
        Key::new("usetimestamps", Kind::Bool, "a change was made when its commit was, not when it was found")
            .default(Fallback::Bool(true)),
        Key::new("workdir", Kind::Text, "the directory of the bare repository that it fetches into")
            .default(Fallback::Text("gitpoller-work")),
        Key::new("gitbin", Kind::Text, "git").default(Fallback::Text("git")),
        Key::new("git-timeout", Kind::Seconds, "a git that runs for so long is killed")
            .default(Fallback::Integer(600)),
        Key::renderable("sshPrivateKey", Kind::Text, "a key for ssh; `%(secret:NAME)s`"),
        Key::renderable("sshHostKey", Kind::Text, "the key of the host, without its name"),
        Key::renderable("sshKnownHosts", Kind::Text, "what ssh knows about hosts, instead of `sshHostKey`"),
    ]],
    hints: &[
        ("pollinterval", "it is called `pollInterval`"),
        ("fetch_refspec", "only what is looked at is fetched"),
        ("encoding", "what git writes is read as UTF-8"),
        ("auth_credentials", "git's own credential helpers of the user that runs the master are asked"),
        ("git_credentials", "git's own credential helpers of the user that runs the master are asked"),
        ("change_source", "each is a `[[change-source]]`"),
    ],
};

const BRANCHES: Special = Special::apart("a list of branches, `true`, or `{ expression = … }`");

const CATEGORY: Special = Special::apart("text, or `{ expression = … }`");

/// Reads one; its secrets are not known yet.
pub(super) fn read<'a>(value: Value<'a>, names: &mut Names<'a>) -> Option<GitPoller> {
    let table = Table::of(value, GIT_POLLER)?;
    if table.value("type").is_some() {
        table.choice("type")?;
    }
    let (url, span) = table.text("repourl")?;
    let sink = &table.reading().sink;
    if url.starts_with('-') || url.contains(['\n', '\0']) {
        sink.error(span.clone(), "this is no address of a repository");
    }
    if has_password(url) {
        sink.error(span.clone(), "a password in an address is seen by everybody who sees a change")
            .help("let git's credential helpers have it, or use ssh with `sshPrivateKey`");
    }
    match table.text("name") {
        Some((name, span)) => names.add(table.reading(), name, span),
        None => names.add(table.reading(), url, span),
    }
    let seconds = |key| table.seconds(key);
    let interval = seconds("pollInterval")?;
    let (least, most) = (seconds("pollRandomDelayMin")?, seconds("pollRandomDelayMax")?);
    let at = |key: &str| table.value(key).map_or_else(|| table.head(), |value| value.span());
    if interval < Duration::from_secs(1) {
        sink.error(at("pollInterval"), "`pollInterval` is at least a second");
    }
    if least > most {
        sink.error(at("pollRandomDelayMin"), "`pollRandomDelayMin` is more than `pollRandomDelayMax`");
    }
    if most > Duration::ZERO && most >= interval {
        sink.error(at("pollRandomDelayMax"), "`pollRandomDelayMax` is not less than `pollInterval`");
    }
    let timeout = seconds("git-timeout")?;
    if timeout < Duration::from_secs(1) {
        sink.error(at("git-timeout"), "`git-timeout` is at least a second");
    }
    let text = |key: &str, default: &str| {
        table.plain_text(key).map_or_else(|| default.to_owned(), |(text, _)| text.to_owned())
    };
    Some(GitPoller {
        name: text("name", url),
        repourl: url.to_owned(),
        branches: branches(&table),
        workdir: table.reading().base_dir.join(text("workdir", "gitpoller-work")),
        gitbin: PathBuf::from(text("gitbin", "git")),
        git_timeout: timeout,
        poll_interval: interval,
        poll_at_launch: table.bool("pollAtLaunch"),
        poll_random_delay: (least, most),
        build_pushes_with_no_commits: table.bool("buildPushesWithNoCommits"),
        use_timestamps: table.bool("usetimestamps"),
        project: text("project", ""),
        codebase: text("codebase", ""),
        category: category(&table),
        ssh: ssh(&table),
        secrets: Arc::new(Secrets::default()),
    })
}

/// All of them, now that secrets are known.
pub(super) fn finish(pollers: Vec<GitPoller>, secrets: &Secrets) -> Vec<Arc<ChangeSource>> {
    let with = |poller: GitPoller| {
        let secrets = poller.ssh.as_ref().map(|ssh| Arc::new(named(ssh, secrets)));
        Arc::new(GitPoller { secrets: secrets.unwrap_or_default(), ..poller })
    };
    pollers.into_iter().map(|poller| Arc::new(ChangeSource::GitPoller(with(poller)))).collect()
}

/// The secrets that ssh is let in with: a poller begins anew with other ones.
fn named(ssh: &Ssh, secrets: &Secrets) -> Secrets {
    let templates = [Some(&ssh.private_key), ssh.host_key.as_ref(), ssh.known_hosts.as_ref()];
    let references = templates.into_iter().flatten().flat_map(Template::references);
    let secret = |reference: &Reference| match reference {
        Reference::Secret(name) => Some((name.clone(), secrets.get(name)?.clone())),
        _ => None,
    };
    Secrets(references.filter_map(secret).collect())
}

/// Whether somebody's password is in front of the host.
fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn branches(table: &Table<'_>) -> Branches {
    let given: Vec<&str> =
        ["only_tags", "branch", "branches"].into_iter().filter(|key| table.value(key).is_some()).collect();
    let tags = table.bool("only_tags");
    let given: Vec<&str> = given.into_iter().filter(|key| *key != "only_tags" || tags).collect();
    if let [first, second, ..] = given.as_slice()
        && let Some(value) = table.value(second)
    {
        value
            .error(format!("there cannot be both `{first}` and `{second}`"))
            .help("each says which branches are looked at");
    }
    if tags {
        return Branches::Tags;
    }
    if let Some((branch, _)) = table.text("branch") {
        return Branches::Named(vec![branch.to_owned()]);
    }
    let Some(value) = table.value("branches") else { return Branches::Head };
    match value.get() {
        DeValue::Boolean(true) => Branches::All,
        DeValue::Table(_) => expression::read(value, &["ref"]).map_or(Branches::Head, Branches::Where),
        DeValue::Array(_) | DeValue::String(_) => {
            let names = value.texts().unwrap_or_default();
            if names.is_empty() {
                value.error("there is no branch in this list").help("`true` stands for all branches");
            }
            Branches::Named(names.into_iter().map(|(name, _)| name.to_owned()).collect())
        }
        _ => {
            value.unexpected(BRANCHES.expected);
            Branches::Head
        }
    }
}

fn category(table: &Table<'_>) -> Category {
    let Some(value) = table.value("category") else { return Category::None };
    match value.get() {
        DeValue::Table(_) => {
            expression::read(value, &["change"]).map_or(Category::None, Category::Expression)
        }
        _ => value.text().map_or(Category::None, |text| Category::Fixed(text.to_owned())),
    }
}

fn ssh(table: &Table<'_>) -> Option<Ssh> {
    let template = |key: &str| -> Option<Template> { table.value(key)?.template() };
    let (host_key, known_hosts) = (template("sshHostKey"), template("sshKnownHosts"));
    let Some(private_key) = template("sshPrivateKey") else {
        for key in ["sshHostKey", "sshKnownHosts"] {
            if let Some(value) = table.value(key) {
                value.error(format!("`{key}` goes with `sshPrivateKey`"));
            }
        }
        return None;
    };
    if host_key.is_some()
        && let Some(value) = table.value("sshKnownHosts")
    {
        value.error("there cannot be both `sshHostKey` and `sshKnownHosts`");
    }
    if private_key.is_literal()
        && let Some(value) = table.value("sshPrivateKey")
    {
        value
            .error("a key does not belong into this file")
            .help("put it into a file of `secrets-directory`, and write `%(secret:NAME)s`");
    }
    Some(Ssh { private_key, host_key, known_hosts })
}
