//! The tables: Buildbot 4.3's, and the tables and indexes that Ganger adds.

/// The alembic revision of Buildbot 4.3, in `alembic_version.version_num`.
pub(crate) const REVISION: &str = "067";

/// Creates Buildbot's tables in an empty database and marks them with [`REVISION`].
pub(crate) const CREATE: &str = include_str!("schema.sql");

/// Creates what Ganger adds; may be run any number of times. Times in Ganger's own tables are microseconds since the
/// epoch, money is millionths.
///
/// The pages of Buildbot's web UI sort by these columns, and
/// without an index each of them sorts a whole table.
pub(crate) const ADDITIONS: &str = "
CREATE INDEX IF NOT EXISTS ganger_builds_started_at ON builds (started_at);
CREATE INDEX IF NOT EXISTS ganger_builds_complete_at ON builds (complete_at);
CREATE INDEX IF NOT EXISTS ganger_buildrequests_submitted_at ON buildrequests (submitted_at);
CREATE INDEX IF NOT EXISTS ganger_buildrequests_priority ON buildrequests (priority);

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
