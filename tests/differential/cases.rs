//! The cases: builders as `ganger.toml` has them, each with how it is built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use crate::{http, repository::Repository};

/// Stands for the URL of an HTTP server.
const SERVER: &str = "@http@";

pub(crate) const PASSWORD: &str = "sekrit";

/// Each is a builder of its own.
pub(crate) struct Cases {
    builders: Vec<Case>,
    schedulers: Vec<Value>,
    /// What is reported, one after the other.
    pub(crate) changes: Vec<Map<String, Value>>,
    /// How many buildsets schedulers make of them.
    scheduled: usize,
    /// What the comparison of all tables is called, where all cases are run.
    pub(crate) tables: Option<String>,
    /// Only some of them were asked for.
    pub(crate) partial: bool,
}

struct Case {
    name: String,
    /// The table of the builder.
    builder: Map<String, Value>,
    /// How it is forced, once for each build.
    builds: Vec<Map<String, Value>>,
    /// Whether a patch can be given.
    patch: bool,
}

impl Cases {
    /// The names of the files of cases, in order.
    pub(crate) fn files() -> anyhow::Result<Vec<String>> {
        let entries = fs::read_dir(directory().join("cases"))?;
        let mut names = entries
            .map(|entry| {
                let name = entry?.file_name().into_string().ok();
                name.and_then(|name| Some(name.strip_suffix(".toml")?.to_owned()))
                    .context("a file that is not TOML")
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// Reads a file of `cases/`.
    pub(crate) fn read(file: &str, repository: &Repository) -> anyhow::Result<Self> {
        let asked = std::env::var("GANGER_DIFFERENTIAL").unwrap_or_default();
        let asked: Vec<&str> = asked.split(',').filter(|prefix| !prefix.is_empty()).collect();
        let path = directory().join("cases").join(file).with_extension("toml");
        let mut text = repository.fill_in(&fs::read_to_string(&path)?)?;
        if text.contains(SERVER) {
            text = text.replace(SERVER, &http::serve()?);
        }
        let tables: Value =
            toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
        let list = |name: &str| tables.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let (schedulers, changes) = (list("scheduler"), list("change"));
        let changes =
            changes.into_iter().map(|change| change.as_object().cloned().context("a change is a table"));
        let changes = changes.collect::<anyhow::Result<_>>()?;
        let scheduled = tables.get("buildsets").and_then(Value::as_u64).unwrap_or_default();
        let mut builders = list("builder").iter().map(Case::new).collect::<anyhow::Result<Vec<_>>>()?;
        for case in &builders {
            ensure!(belongs(&case.name, file), "the name of case {:?} does not begin with {file}", case.name);
        }
        let all = builders.len();
        builders.retain(|case| asked.is_empty() || asked.iter().any(|prefix| case.name.starts_with(prefix)));
        ensure!(!builders.is_empty(), "there is no such case in {file}");
        let partial = builders.len() < all;
        let tables = (!partial).then(|| format!("{file}-tables"));
        Ok(Self { builders, schedulers, changes, scheduled: scheduled.try_into()?, tables, partial })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.builders.iter().map(|case| &*case.name)
    }

    /// How many buildsets there are.
    pub(crate) fn count(&self) -> usize {
        self.scheduled + self.builders.iter().map(|case| case.builds.len()).sum::<usize>()
    }

    /// Each build that is to be forced: its builder, and how.
    pub(crate) fn builds(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        self.builders.iter().flat_map(|case| case.builds.iter().map(|build| (&*case.name, build)))
    }

    /// For Buildbot's `master.cfg`.
    pub(crate) fn for_buildbot(&self) -> Value {
        let builders: Vec<Value> = self
            .builders
            .iter()
            .map(|case| {
                let mut table = case.builder.clone();
                table.insert("build".into(), json!(case.builds));
                table.insert("patch".into(), case.patch.into());
                Value::Object(table)
            })
            .collect();
        json!({
            "builders": builders,
            "changes": self.changes,
            "schedulers": self.schedulers,
            "loader": directory().join("buildbot"),
            "password": PASSWORD,
        })
    }

    /// `ganger.toml`.
    pub(crate) fn for_ganger(&self) -> String {
        let mut text = format!(
            r#"
[master]
title = "Differences"
url = "http://buildbot.example/"
listen = ["tcp:127.0.0.1:0"]
log-compression = "none"
collapseRequests = false
secrets-directory = "secrets"

[[worker]]
name = "w"
password = "{PASSWORD}"
max_builds = 8
"#
        );
        for case in &self.builders {
            text += "\n[[builder]]\nworkers = [\"w\"]\n";
            for (key, value) in &case.builder {
                text += &format!("{} = {}\n", quoted(key), inline(value));
            }
            let name = quoted(&case.name);
            text += &format!(
                "[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force-{}\"\nbuilderNames = [{name}]\n",
                case.name
            );
            if case.patch {
                text += "codebases = [{ codebase = \"\", patch = true }]\n";
            }
        }
        for scheduler in &self.schedulers {
            text += "\n[[scheduler]]\n";
            for (key, value) in scheduler.as_object().into_iter().flatten() {
                text += &format!("{} = {}\n", quoted(key), inline(value));
            }
        }
        text
    }
}

impl Case {
    fn new(table: &Value) -> anyhow::Result<Self> {
        let mut builder = table.as_object().cloned().context("a builder is a table")?;
        let name = builder.get("name").and_then(Value::as_str).context("a builder lacks a name")?.to_owned();
        let builds = match builder.shift_remove("build") {
            None => vec![Map::new()],
            Some(Value::Array(builds)) => {
                let builds = builds.into_iter().map(|build| build.as_object().cloned());
                builds.collect::<Option<_>>().context("a build is a table")?
            }
            Some(_) => bail!("`build` of {name} is a list of tables"),
        };
        let patch = builder.shift_remove("patch") == Some(Value::Bool(true));
        Ok(Self { name, builder, builds, patch })
    }
}

/// Whether a case of this name, or with such names, stands in this file.
pub(crate) fn belongs(case: &str, file: &str) -> bool {
    case.strip_prefix(file).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '*']))
}

/// Where this suite has its files.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/differential")
}

/// A value of TOML on one line. JSON's texts and numbers are TOML's too.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{} = {}", quoted(key), inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    // The one character that JSON leaves as it is and TOML does not.
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
