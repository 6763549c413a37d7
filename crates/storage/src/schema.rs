//! The tables: Buildbot 4.3's, and the indexes that Ganger adds.

/// The alembic revision of Buildbot 4.3, in `alembic_version.version_num`.
pub(crate) const REVISION: &str = "067";

/// Creates Buildbot's tables in an empty database and marks them with [`REVISION`].
pub(crate) const CREATE: &str = include_str!("schema.sql");

/// Creates what Ganger adds; may be run any number of times. The pages of Buildbot's web UI sort by these columns, and
/// without an index each of them sorts a whole table.
pub(crate) const ADDITIONS: &str = "
CREATE INDEX IF NOT EXISTS ganger_builds_started_at ON builds (started_at);
CREATE INDEX IF NOT EXISTS ganger_builds_complete_at ON builds (complete_at);
CREATE INDEX IF NOT EXISTS ganger_buildrequests_submitted_at ON buildrequests (submitted_at);
CREATE INDEX IF NOT EXISTS ganger_buildrequests_priority ON buildrequests (priority);
";
