//! The tables are those that a stock Buildbot 4.3 makes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use rusqlite::{Connection, types::Value};
use storage::Store;

use crate::{buildbot::stock_buildbot, farm::options};

/// All that makes a table what it is, without how it was written down.
#[derive(Debug, Default, PartialEq)]
struct Table {
    /// Name, type, not null, default, place in the primary key.
    columns: Vec<Vec<String>>,
    /// Column, table, column there, on update, on delete.
    foreign_keys: BTreeSet<Vec<String>>,
    /// By name: unique, partial, columns with their order and collation.
    indexes: BTreeMap<String, Vec<Vec<String>>>,
}

fn tables(database: &Path) -> BTreeMap<String, Table> {
    let connection = Connection::open(database).unwrap();
    let rows = |sql: &str, columns: &[usize]| -> Vec<Vec<String>> {
        let mut statement = connection.prepare(sql).unwrap();
        let text = |value: Value| match value {
            Value::Null => "-".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text,
            other => format!("{other:?}"),
        };
        let rows =
            statement.query_map([], |row| columns.iter().map(|&column| row.get(column).map(text)).collect());
        rows.unwrap().map(Result::unwrap).collect()
    };
    let mut tables = BTreeMap::new();
    for name in rows("SELECT name FROM sqlite_master WHERE type = 'table'", &[0]).concat() {
        let mut table = Table {
            columns: rows(&format!("PRAGMA table_info({name})"), &[1, 2, 3, 4, 5]),
            foreign_keys: rows(&format!("PRAGMA foreign_key_list({name})"), &[3, 2, 4, 5, 6])
                .into_iter()
                .collect(),
            indexes: BTreeMap::new(),
        };
        for index in rows(&format!("PRAGMA index_list({name})"), &[1, 2, 4]) {
            let mut columns = rows(&format!("PRAGMA index_xinfo({})", index[0]), &[2, 3, 4, 5]);
            columns.push(index[1..].to_vec());
            table.indexes.insert(index[0].clone(), columns);
        }
        tables.insert(name, table);
    }
    tables
}

#[tokio::test]
async fn our_tables_are_buildbots() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    stock_buildbot("create", theirs.path());
    Store::open(ours.path().join("state.sqlite"), options()).unwrap().close().await;
    let (mut ours, theirs) =
        (tables(&ours.path().join("state.sqlite")), tables(&theirs.path().join("state.sqlite")));
    assert_eq!(theirs.len(), 43);
    let mut added = Vec::new();
    ours.retain(|name, _| !name.starts_with("ganger_"));
    for (name, table) in &mut ours {
        table.indexes.retain(|index, _| {
            let is_added = index.starts_with("ganger_");
            added.extend(is_added.then(|| format!("{name}: {index}")));
            !is_added
        });
    }
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, table) in &theirs {
        assert_eq!(&ours[name], table, "{name}");
    }
    assert_eq!(added.len(), 12, "{added:?}");
}
