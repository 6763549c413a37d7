//! What a master and a worker leave behind, read from the tables that both masters keep and from the worker's record, in a
//! form that can be compared: paths and times are replaced by words.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use regex::Regex;
use rusqlite::{Connection, Row, types::ValueRef};
use serde_json::{Map, Value, json};

pub(crate) struct Observer {
    master: PathBuf,
    worker: PathBuf,
    /// Texts that differ in any two runs, and what stands for them.
    words: Vec<(String, &'static str)>,
    patterns: Vec<(Regex, &'static str)>,
}

impl Observer {
    pub(crate) fn new(scratch: &Path, master: &Path, worker: &Path) -> anyhow::Result<Self> {
        let words = [(worker, "<worker>"), (master, "<master>"), (scratch, "<scratch>")];
        let patterns = [
            (r"elapsedTime=\d+\.\d+", "elapsedTime=<seconds>"),
            (r"environment id \d+", "environment id <number>"),
            // What an HTTP client says by itself.
            (r"(?m)^h\t(User-Agent|Accept|Accept-Encoding|Connection|Content-Length): .*\n", ""),
            // Which number a builder or a request gets is chance.
            (r"#/(builders|buildrequests)/\d+", "#/$1/<number>"),
            (r"\bparts([-a-z]*) #\d+", "parts$1 #<number>"),
        ];
        Ok(Self {
            master: master.into(),
            worker: worker.into(),
            words: words.map(|(path, word)| (path.to_string_lossy().into_owned(), word)).into(),
            patterns: patterns
                .into_iter()
                .map(|(pattern, word)| Ok((Regex::new(pattern)?, word)))
                .collect::<anyhow::Result<_>>()?,
        })
    }

    /// By builder: its builds, what was uploaded, and what its worker heard.
    pub(crate) fn observe(&self, database: &Connection) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut observed = BTreeMap::new();
        let mut calls = self.calls()?;
        for (id, name) in pairs(database, "SELECT id, name FROM builders ORDER BY name")? {
            let builds = self.builds(database, id).with_context(|| format!("builds of {name}"))?;
            if builds.is_empty() {
                continue;
            }
            let mut of = Map::new();
            of.insert("builds".into(), Value::Object(builds));
            of.insert("calls".into(), Value::Object(calls.remove(&name).unwrap_or_default()));
            let mut uploads = Map::new();
            self.files(&self.master.join("uploads").join(&name), &mut uploads)?;
            of.insert("uploads".into(), Value::Object(uploads));
            observed.insert(name, Value::Object(of));
        }
        Ok(observed)
    }

    fn builds(&self, database: &Connection, builder: i64) -> anyhow::Result<Map<String, Value>> {
        let mut builds = Map::new();
        let rows = rows(
            database,
            "SELECT builds.id, number, builds.results, state_string, buildrequests.buildsetid AS buildset,
                    buildrequests.results AS request_results, priority, waited_for
             FROM builds JOIN buildrequests ON buildrequestid = buildrequests.id
             WHERE builds.builderid = ?1 ORDER BY number",
            builder,
        )?;
        for mut build in rows {
            let id = take_id(&mut build, "id")?;
            let buildset = take_id(&mut build, "buildset")?;
            let number = take_id(&mut build, "number")?;
            build.insert("steps".into(), Value::Object(self.steps(database, id)?));
            build.insert("properties".into(), Value::Object(self.properties(database, id)?));
            build.insert("buildset".into(), self.buildset(database, buildset)?);
            builds.insert(number.to_string(), Value::Object(build));
        }
        Ok(builds)
    }

    fn steps(&self, database: &Connection, build: i64) -> anyhow::Result<Map<String, Value>> {
        let mut steps = Map::new();
        let rows = rows(
            database,
            "SELECT id, number, name, state_string, results, urls_json, hidden FROM steps WHERE buildid = ?1 ORDER BY number",
            build,
        )?;
        for mut step in rows {
            let id = take_id(&mut step, "id")?;
            let number = take_id(&mut step, "number")?;
            let name = step.shift_remove("name").unwrap_or_default();
            let key = format!("{number} {}", name.as_str().unwrap_or_default());
            self.normalize_in(&mut step);
            let urls = step.shift_remove("urls_json").unwrap_or_default();
            step.insert(
                "urls".into(),
                in_any_order(serde_json::from_str(urls.as_str().unwrap_or_default())?),
            );
            step.insert("logs".into(), Value::Object(self.logs(database, id)?));
            steps.insert(key, Value::Object(step));
        }
        Ok(steps)
    }

    fn logs(&self, database: &Connection, step: i64) -> anyhow::Result<Map<String, Value>> {
        let mut logs = Map::new();
        let rows = rows(
            database,
            "SELECT id, name, slug, complete, num_lines, type FROM logs WHERE stepid = ?1 ORDER BY id",
            step,
        )?;
        for mut log in rows {
            let id = take_id(&mut log, "id")?;
            let name = log.shift_remove("name").unwrap_or_default();
            let mut chunks =
                database.prepare("SELECT content FROM logchunks WHERE logid = ?1 ORDER BY first_line")?;
            let chunks: Vec<Vec<u8>> = chunks
                .query_map([id], |row| {
                    row.get_ref(0).map(|content| content.as_bytes().unwrap_or_default().to_vec())
                })?
                .collect::<Result<_, _>>()?;
            let text =
                chunks.iter().map(|chunk| String::from_utf8_lossy(chunk)).collect::<Vec<_>>().join("\n");
            let text = self.normalize(&text);
            log.insert(
                "text".into(),
                if log["type"] == "s" { in_order_of_streams(&text).into() } else { text.into() },
            );
            logs.insert(name.as_str().unwrap_or_default().to_owned(), Value::Object(log));
        }
        Ok(logs)
    }

    fn properties(&self, database: &Connection, build: i64) -> anyhow::Result<Map<String, Value>> {
        let mut properties = Map::new();
        let sql = "SELECT name, value, source FROM build_properties WHERE buildid = ?1 ORDER BY name";
        for mut row in rows(database, sql, build)? {
            self.normalize_in(&mut row);
            let name = row["name"].as_str().unwrap_or_default().to_owned();
            // Which number a builder gets is chance.
            if name == "builderid" {
                continue;
            }
            let value: Value = serde_json::from_str(row["value"].as_str().unwrap_or_default())?;
            properties.insert(name, json!([value, row["source"]]));
        }
        Ok(properties)
    }

    fn buildset(&self, database: &Connection, id: i64) -> anyhow::Result<Value> {
        let sql =
            "SELECT external_idstring, reason, results, parent_relationship FROM buildsets WHERE id = ?1";
        let mut buildset = rows(database, sql, id)?.pop().context("a build without a buildset")?;
        let mut properties = Map::new();
        let sql = "SELECT property_name AS name, property_value AS value FROM buildset_properties WHERE buildsetid = ?1 ORDER BY name";
        for mut row in rows(database, sql, id)? {
            self.normalize_in(&mut row);
            let name = row["name"].as_str().unwrap_or_default().to_owned();
            properties.insert(name, serde_json::from_str(row["value"].as_str().unwrap_or_default())?);
        }
        buildset.insert("properties".into(), Value::Object(properties));
        let sql =
            "SELECT branch, revision, repository, codebase, project, patchlevel, patch_base64, patch_author,
                          patch_comment, subdir
                   FROM buildset_sourcestamps JOIN sourcestamps ON sourcestampid = sourcestamps.id
                        LEFT JOIN patches ON patchid = patches.id
                   WHERE buildsetid = ?1 ORDER BY codebase";
        let mut stamps = Map::new();
        for mut row in rows(database, sql, id)? {
            self.normalize_in(&mut row);
            stamps.insert(row["codebase"].as_str().unwrap_or_default().to_owned(), Value::Object(row));
        }
        buildset.insert("sourcestamps".into(), Value::Object(stamps));
        Ok(Value::Object(buildset))
    }

    /// What the worker heard, by builder and in order.
    fn calls(&self) -> anyhow::Result<BTreeMap<String, Map<String, Value>>> {
        let mut calls: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for line in fs::read_to_string(self.worker.join("calls.jsonl"))?.lines() {
            let mut call: Value = serde_json::from_str(&self.normalize(line))?;
            let of = calls.entry(call["builder"].as_str().unwrap_or_default().to_owned()).or_default();
            let method = call["call"].as_str().unwrap_or_default().to_owned();
            let args = call["args"].take();
            let (key, args) = match (&*method, args.as_array().map_or(&[][..], Vec::as_slice)) {
                // The object for answers and the number of the command.
                ("startCommand", [_, _, command, args]) => {
                    (command.as_str().unwrap_or_default().to_owned(), as_workers_take_it(args))
                }
                ("interruptCommand", [_, why]) => (method, why.clone()),
                _ => (method, args),
            };
            of.insert(format!("{} {key}", of.len()), args);
        }
        Ok(calls)
    }

    /// Files below a directory, with their permissions and contents.
    fn files(&self, directory: &Path, found: &mut Map<String, Value>) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        if !directory.exists() {
            return Ok(());
        }
        let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, metadata) = (entry.path(), entry.metadata()?);
            let name = path.strip_prefix(&self.master)?.to_string_lossy().into_owned();
            let mode = format!("{:o}", metadata.permissions().mode());
            if metadata.is_dir() {
                found.insert(name, json!({ "mode": mode }));
                self.files(&path, found)?;
            } else {
                let text = self.normalize(&String::from_utf8_lossy(&fs::read(&path)?));
                found.insert(name, json!({ "mode": mode, "text": text }));
            }
        }
        Ok(())
    }

    fn normalize_in(&self, row: &mut Map<String, Value>) {
        for value in row.values_mut() {
            if let Value::String(text) = value {
                *text = self.normalize(text);
            }
        }
    }

    pub(crate) fn normalize(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (found, word) in &self.words {
            text = text.replace(found, word);
        }
        for (pattern, word) in &self.patterns {
            text = pattern.replace_all(&text, *word).into_owned();
        }
        text
    }
}

/// Lines of a log with streams: first all headers, then standard output, then standard error. In which order the worker
/// saw those is chance; so is in which order `cp` finds files.
fn in_order_of_streams(text: &str) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.sort_by_key(|line| match line.as_bytes().first() {
        Some(b'o') => 1,
        Some(b'e') => 2,
        _ => 0,
    });
    for copied in lines.chunk_by_mut(|one, next| [one, next].iter().all(|line| line.contains("' -> '"))) {
        copied.sort_unstable();
    }
    lines.join("\n")
}

/// Links of a step. Those to builds of one buildset come in the order of their builders' numbers, which are chance.
pub(crate) fn in_any_order(mut links: Vec<Value>) -> Value {
    let is_build = |link: &Value| link["url"].as_str().is_some_and(|url| url.contains("/builds/"));
    for builds in links.chunk_by_mut(|one, next| is_build(one) && is_build(next)) {
        builds.sort_by_key(|build| build["name"].to_string());
    }
    links.into()
}

/// Arguments of a command; what is the same to a worker is the same here.
fn as_workers_take_it(args: &Value) -> Value {
    let mut args = args.clone();
    if let Some(args) = args.as_object_mut() {
        // No limit is the default of this one.
        args.retain(|name, value| name != "maxTime" || !value.is_null());
    }
    for (name, value) in args.as_object_mut().into_iter().flatten() {
        match (&**name, &*value) {
            // No change to the environment.
            ("env", Value::Null) => *value = json!({}),
            // `True == 1` in Python.
            (_, Value::Bool(truth)) => *value = i64::from(*truth).into(),
            _ => {}
        }
    }
    args
}

fn take_id(row: &mut Map<String, Value>, name: &str) -> anyhow::Result<i64> {
    row.shift_remove(name).and_then(|value| value.as_i64()).with_context(|| format!("no {name}"))
}

fn pairs(database: &Connection, sql: &str) -> anyhow::Result<Vec<(i64, String)>> {
    let mut statement = database.prepare(sql)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Rows as JSON, by the names of their columns.
fn rows(database: &Connection, sql: &str, id: i64) -> anyhow::Result<Vec<Map<String, Value>>> {
    let mut statement = database.prepare(sql)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let found = statement.query_map([id], |row| {
        names.iter().enumerate().map(|(at, name)| Ok((name.clone(), cell(row, at)?))).collect()
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn cell(row: &Row<'_>, at: usize) -> rusqlite::Result<Value> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
    })
}
