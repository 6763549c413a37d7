//! Every table of the schema, row by row, in a form that can be compared: a row is known by what people would call it, and
//! what refers to it says that; times only have to be times.

use std::collections::BTreeMap;

use rusqlite::{Connection, types::ValueRef};
use serde_json::{Map, Value, json};

use crate::observed::in_any_order;

/// A table whose rows are referred to, and the columns that name a row.
struct Named {
    table: &'static str,
    id: &'static str,
    columns: &'static [&'static str],
}

/// In an order in which rows are named before they name others.
const NAMED: &[Named] = &[
    named("masters", "id", &[]),
    named("projects", "id", &["name"]),
    named("builders", "id", &["name"]),
    named("workers", "id", &["name"]),
    named("schedulers", "id", &["name"]),
    named("changesources", "id", &["name"]),
    named("tags", "id", &["name"]),
    named("objects", "id", &["name", "class_name"]),
    named("users", "uid", &["identifier"]),
    named("builder_masters", "id", &["builderid"]),
    named("builders_tags", "id", &["builderid", "tagid"]),
    named("configured_workers", "id", &["buildermasterid", "workerid"]),
    named("connected_workers", "id", &["workerid"]),
    named("patches", "id", &["patch_base64"]),
    named("sourcestamps", "id", &["codebase", "branch", "revision", "repository", "project", "patchid"]),
    named("changes", "changeid", &["revision", "branch", "comments"]),
    named("builds", "id", &["builderid", "number"]),
    named("buildsets", "id", &["asker", "reason"]),
    named("buildrequests", "id", &["buildsetid", "builderid"]),
    named("buildset_sourcestamps", "id", &["buildsetid", "sourcestampid"]),
    named("steps", "id", &["buildid", "number"]),
    named("logs", "id", &["stepid", "name"]),
    named("build_data", "id", &["buildid", "name"]),
];

const fn named(table: &'static str, id: &'static str, columns: &'static [&'static str]) -> Named {
    Named { table, id, columns }
}

/// The tables whose rows nothing refers to, and what names a row there.
const OTHERS: &[(&str, &[&str])] = &[
    ("scheduler_masters", &["schedulerid"]),
    ("changesource_masters", &["changesourceid"]),
    ("change_files", &["changeid", "filename"]),
    ("change_properties", &["changeid", "property_name"]),
    ("change_users", &["changeid", "uid"]),
    ("users_info", &["uid", "attr_type"]),
    ("scheduler_changes", &["schedulerid", "changeid"]),
    ("buildset_properties", &["buildsetid", "property_name"]),
    ("buildrequest_claims", &["brid"]),
    ("build_properties", &["buildid", "name"]),
    ("object_state", &["objectid", "name"]),
    ("alembic_version", &[]),
    ("codebases", &["name"]),
    ("codebase_branches", &["name"]),
    ("codebase_commits", &["revision"]),
    ("test_result_sets", &["buildid"]),
    ("test_names", &["name"]),
    ("test_code_paths", &["path"]),
    ("test_results", &["value"]),
];

/// Where the pieces of logs are cut depends on when they came; the whole of each log is compared elsewhere.
const ELSEWHERE: &str = "logchunks";

/// Which table a column refers to.
const REFERENCES: &[(&str, &str)] = &[
    ("brid", "buildrequests"),
    ("builderid", "builders"),
    ("buildermasterid", "builder_masters"),
    ("buildid", "builds"),
    ("buildrequestid", "buildrequests"),
    ("buildsetid", "buildsets"),
    ("changeid", "changes"),
    ("changesourceid", "changesources"),
    ("logid", "logs"),
    ("masterid", "masters"),
    ("objectid", "objects"),
    ("parent_buildid", "builds"),
    ("parent_changeids", "changes"),
    ("patchid", "patches"),
    ("projectid", "projects"),
    ("rebuilt_buildid", "builds"),
    ("schedulerid", "schedulers"),
    ("sourcestampid", "sourcestamps"),
    ("stepid", "steps"),
    ("tagid", "tags"),
    ("uid", "users"),
    ("workerid", "workers"),
];

/// Reads all tables of Buildbot's: by table, its rows by their names. `normalize` replaces what differs in any two runs.
pub(crate) fn read(database: &Connection, normalize: &dyn Fn(&str) -> String) -> anyhow::Result<Value> {
    let mut reader = Reader { database, normalize, names: BTreeMap::new() };
    let mut tables = Map::new();
    for Named { table, id, columns } in NAMED {
        let rows = reader.rows(table, Some(id), columns)?;
        tables.insert((*table).to_owned(), Value::Object(rows));
    }
    // Only now all names are known.
    for Named { table, id, columns } in NAMED {
        tables.insert((*table).to_owned(), Value::Object(reader.rows(table, Some(id), columns)?));
    }
    for (table, columns) in OTHERS {
        tables.insert((*table).to_owned(), Value::Object(reader.rows(table, None, columns)?));
    }
    let mut all = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    for table in all.query_map([], |row| row.get::<_, String>(0))? {
        let table = table?;
        // Of Ganger's own, and of SQLite's.
        let known = ["ganger_", "sqlite_", ELSEWHERE].iter().any(|prefix| table.starts_with(prefix));
        anyhow::ensure!(known || tables.contains_key(&table), "nobody compares the table {table}");
    }
    Ok(Value::Object(tables))
}

struct Reader<'a> {
    database: &'a Connection,
    normalize: &'a dyn Fn(&str) -> String,
    /// By table: names by id.
    names: BTreeMap<&'static str, BTreeMap<i64, String>>,
}

impl Reader<'_> {
    /// The rows of a table, by names that are made of these columns. Rows of one name are counted, in the order of ids.
    fn rows(
        &mut self,
        table: &'static str,
        id: Option<&str>,
        columns: &[&str],
    ) -> anyhow::Result<Map<String, Value>> {
        let query = match table {
            // What asked for it.
            "buildsets" => "SELECT *, (SELECT property_value FROM buildset_properties \
                            WHERE buildsetid = id AND property_name = 'scheduler') AS asker FROM buildsets ORDER BY id"
                .to_owned(),
            _ => format!("SELECT * FROM {table} ORDER BY rowid"),
        };
        let mut statement = self.database.prepare(&query)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut found = Map::new();
        let mut ids = BTreeMap::new();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut values = Map::new();
            let mut number = None;
            for (at, name) in names.iter().enumerate() {
                let value = row.get_ref(at)?;
                if id == Some(&**name) {
                    number = Some(value.as_i64()?);
                } else {
                    values.insert(name.clone(), self.cell(table, name, value));
                }
            }
            // Which number a builder gets is chance, and so is the one of a patch, which is in the hash.
            if ["name", "property_name"].iter().any(|name| values.get(*name) == Some(&json!("builderid"))) {
                values.insert("value".into(), json!("an id"));
            }
            if values.get("patchid").is_some_and(|patch| !patch.is_null()) {
                values.insert("ss_hash".into(), json!("with a patch"));
            }
            if let Some(Value::String(text)) =
                values.get("value_json").filter(|_| values["name"] == "last_build")
            {
                let time: Value = serde_json::from_str(text)?;
                values.insert("value_json".into(), json!({ "a time, whole": time.is_i64() }));
            }
            if let Some(Value::String(text)) =
                values.get("urls_json").filter(|text| text.to_string().contains("/builds/"))
            {
                let links = in_any_order(serde_json::from_str(text)?);
                values.insert("urls_json".into(), links);
            }
            let words = columns.iter().map(|column| match &values[*column] {
                Value::String(text) => text.lines().next().unwrap_or_default().to_owned(),
                Value::Null => "-".to_owned(),
                other => other.to_string(),
            });
            let name = words.collect::<Vec<_>>().join(", ");
            values.shift_remove("asker");
            let mut name = if name.is_empty() { table.to_owned() } else { name };
            while found.contains_key(&name) {
                name += "'";
            }
            ids.extend(number.map(|number| (number, name.clone())));
            found.insert(name, Value::Object(values));
        }
        self.names.insert(table, ids);
        Ok(found)
    }

    fn cell(&self, table: &str, column: &str, value: ValueRef<'_>) -> Value {
        if let (Some((_, to)), ValueRef::Integer(id)) =
            (REFERENCES.iter().find(|(name, _)| *name == column), value)
        {
            let name = self.names.get(to).and_then(|names| names.get(&id));
            return name.map_or_else(|| json!(format!("{to} {id}")), |name| json!(name));
        }
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(_) if column.ends_with("_at") || column == "last_active" => json!("a time"),
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => json!({ "real": number }),
            // Of a name that has a path in it.
            ValueRef::Text(text) if (table, column) == ("masters", "name_hash") => json!(text.len()),
            ValueRef::Text(text) => (self.normalize)(&String::from_utf8_lossy(text)).into(),
            ValueRef::Blob(bytes) => json!({ "blob": String::from_utf8_lossy(bytes) }),
        }
    }
}
