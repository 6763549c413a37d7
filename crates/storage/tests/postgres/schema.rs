//! The tables are those that a stock Buildbot 4.3 makes on PostgreSQL.

use storage::Store;
use testkit::postgres::Cluster;

use crate::{
    buildbot::stock_buildbot,
    farm::options,
    place::{location, name},
};

/// Columns with types, nullness, defaults; constraints; indexes; sequences with what they belong to. A line each.
const DESCRIPTION: &str = "
    SELECT 'column', table_name, column_name, data_type, character_maximum_length::text, is_nullable, column_default
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'sequence', sequencename, data_type::text, start_value::text, increment_by::text, cycle::text,
      min_value::text FROM pg_sequences WHERE schemaname = 'public'
    UNION ALL SELECT 'order', table_name, column_name, ordinal_position::text, '', '', ''
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'revision', version_num, '', '', '', '', '' FROM alembic_version";

#[tokio::test]
async fn our_tables_are_buildbots() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    stock_buildbot("create", theirs.path());
    Store::open(location(ours.path()), options()).unwrap().close().await;
    let described = |directory: &tempfile::TempDir| {
        let text = Cluster::shared().unwrap().sql(&name(directory.path()), DESCRIPTION).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (mut ours, theirs) = (described(&ours), described(&theirs));
    let added = ours.len();
    ours.retain(|line| !line.contains("ganger_"));
    assert!(added > ours.len() && ours.len() > 400, "{} lines", ours.len());
    assert_eq!(ours, theirs);
}
