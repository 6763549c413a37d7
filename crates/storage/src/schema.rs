//! The tables: Buildbot 4.3's, and the tables and indexes that Ganger adds.

/// The alembic revision of Buildbot 4.3, in `alembic_version.version_num`.
pub(crate) const REVISION: &str = "067";

/// Creates Buildbot's tables in an empty database and marks them with [`REVISION`].
pub(crate) const CREATE: &str = include_str!("schema.sql");

/// The same tables as PostgreSQL has them. Ids come from sequences, and references are added when all tables are there, as
/// some tables refer to each other.
pub(crate) fn for_postgres(sqlite: &str) -> String {
    let (mut tables, mut references) = (String::new(), String::new());
    let mut table = "";
    for line in sqlite.lines() {
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            table = rest.trim_end_matches(" (");
        }
        let column = line.trim_start().split(' ').next().unwrap_or_default();
        let (line, comma) = line.strip_suffix(',').map_or((line, ""), |line| (line, ","));
        let line = match line.split_once(" REFERENCES ") {
            None => {
                line.replace("INTEGER NOT NULL PRIMARY KEY", "SERIAL PRIMARY KEY").replace("BLOB", "BYTEA")
            }
            Some((before, target)) => {
                let (before, name) =
                    before.split_once(" CONSTRAINT ").map_or((before, None), |(a, b)| (a, Some(b)));
                let name = name.map_or_else(String::new, |name| format!("CONSTRAINT {name} "));
                references +=
                    &format!("ALTER TABLE {table} ADD {name}FOREIGN KEY ({column}) REFERENCES {target};\n");
                before.to_owned()
            }
        };
        tables += &format!("{line}{comma}\n");
    }
    tables + &references
}

/// Creates what Ganger adds; may be run any number of times. Times in Ganger's own tables are microseconds since the
/// epoch, money is millionths.
///
/// The pages of Buildbot's web UI sort by the columns of the first four indexes, and without them each of them sorts a whole
/// table. The others are of columns that refer to rows which the janitor deletes: without them, each row that is deleted
/// has whole tables searched for what refers to it.
pub(crate) const ADDITIONS: &str = "
CREATE INDEX IF NOT EXISTS ganger_builds_started_at ON builds (started_at);
CREATE INDEX IF NOT EXISTS ganger_builds_complete_at ON builds (complete_at);
CREATE INDEX IF NOT EXISTS ganger_buildrequests_submitted_at ON buildrequests (submitted_at);
CREATE INDEX IF NOT EXISTS ganger_buildrequests_priority ON buildrequests (priority);
CREATE INDEX IF NOT EXISTS ganger_buildsets_parent ON buildsets (parent_buildid) WHERE parent_buildid IS NOT NULL;
CREATE INDEX IF NOT EXISTS ganger_buildsets_rebuilt ON buildsets (rebuilt_buildid) WHERE rebuilt_buildid IS NOT NULL;
CREATE INDEX IF NOT EXISTS ganger_buildset_sourcestamps_stamp ON buildset_sourcestamps (sourcestampid);
CREATE INDEX IF NOT EXISTS ganger_changes_parent ON changes (parent_changeids) WHERE parent_changeids IS NOT NULL;
CREATE INDEX IF NOT EXISTS ganger_sourcestamps_patch ON sourcestamps (patchid) WHERE patchid IS NOT NULL;
CREATE INDEX IF NOT EXISTS ganger_test_result_sets_build ON test_result_sets (buildid);
CREATE INDEX IF NOT EXISTS ganger_test_result_sets_step ON test_result_sets (stepid);
CREATE INDEX IF NOT EXISTS ganger_test_results_set ON test_results (test_result_setid);

CREATE TABLE IF NOT EXISTS ganger_installation (
    id INTEGER NOT NULL PRIMARY KEY,
    deployment TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS ganger_keys (
    name TEXT NOT NULL PRIMARY KEY,
    secret BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS ganger_instances (
    id INTEGER NOT NULL PRIMARY KEY,
    pool TEXT NOT NULL,
    slot INTEGER NOT NULL,
    state TEXT NOT NULL,
    token TEXT NOT NULL,
    offering TEXT NOT NULL,
    provider_id TEXT,
    price BIGINT NOT NULL,
    planned_at_us BIGINT NOT NULL,
    connected_at_us BIGINT,
    ended_at_us BIGINT,
    end_code TEXT,
    cost BIGINT,
    data TEXT NOT NULL,
    fence BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS ganger_instances_live ON ganger_instances (id) WHERE state <> 'gone';
CREATE INDEX IF NOT EXISTS ganger_instances_ended ON ganger_instances (pool, ended_at_us) WHERE state = 'gone';
CREATE INDEX IF NOT EXISTS ganger_instances_pool ON ganger_instances (pool, id);

CREATE TABLE IF NOT EXISTS ganger_pools (
    name TEXT NOT NULL PRIMARY KEY,
    data TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS ganger_pool_leases (
    pool TEXT NOT NULL PRIMARY KEY,
    masterid INTEGER,
    fence BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS ganger_decisions (
    id INTEGER NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    pool TEXT NOT NULL,
    instanceid INTEGER,
    buildrequestid INTEGER,
    code TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS ganger_decisions_pool ON ganger_decisions (pool, id);
CREATE INDEX IF NOT EXISTS ganger_decisions_instance ON ganger_decisions (instanceid, id)
    WHERE instanceid IS NOT NULL;
CREATE INDEX IF NOT EXISTS ganger_decisions_request ON ganger_decisions (buildrequestid, id)
    WHERE buildrequestid IS NOT NULL;
";
