//! What a dead master has left open.

pub(crate) const SILENT_MASTERS: &str =
    "SELECT id FROM masters WHERE last_active < $1 AND id <> $2 ORDER BY id";
pub(crate) const NEWLY_SILENT_MASTERS: &str =
    "SELECT id FROM masters WHERE last_active < $1 AND id <> $2 AND active <> 0 ORDER BY id";
/// `+ 0` keeps the index on `masterid` out of it: that would lead through all builds the master ever did, and the few that
/// are open are found by the other.
pub(crate) const OPEN_BUILDS: &str = "SELECT id, builderid, number, buildrequestid FROM builds \
     WHERE masterid + 0 = $1 AND complete_at IS NULL ORDER BY id";
/// Lines whose count a crash of Buildbot has lost: it writes them and the count one after the other.
pub(crate) const COUNT_LINES: &str = "UPDATE logs SET num_lines = \
     (SELECT max(last_line) + 1 FROM logchunks WHERE logid = logs.id) \
     WHERE complete = 0 AND stepid IN (SELECT id FROM steps WHERE buildid = $1) \
     AND num_lines < (SELECT max(last_line) + 1 FROM logchunks WHERE logid = logs.id)";
pub(crate) const CLOSE_LOGS: &str = "UPDATE logs SET complete = 1 WHERE complete = 0 \
     AND stepid IN (SELECT id FROM steps WHERE buildid = $1)";
pub(crate) const CLOSE_STEPS: &str = "UPDATE steps SET complete_at = $1, results = $2, hidden = 0 \
     WHERE results IS NULL AND buildid = $3";
pub(crate) const CLOSE_BUILD: &str = "UPDATE builds SET complete_at = $1, results = $2 WHERE id = $3";
/// Claims stay when a request is done, so `+ 0` is of use here, too.
pub(crate) const UNCLAIM_OPEN: &str = "DELETE FROM buildrequest_claims WHERE masterid + 0 = $1 \
     AND brid IN (SELECT id FROM buildrequests WHERE complete = 0)";
pub(crate) const UNLINK: [&str; 6] = [
    "DELETE FROM configured_workers WHERE buildermasterid IN (SELECT id FROM builder_masters WHERE masterid = $1)",
    "DELETE FROM connected_workers WHERE masterid = $1",
    "DELETE FROM builder_masters WHERE masterid = $1",
    "DELETE FROM scheduler_masters WHERE masterid = $1",
    "DELETE FROM changesource_masters WHERE masterid = $1",
    "UPDATE ganger_pool_leases SET masterid = NULL, expires_at_us = 0 WHERE masterid = $1",
];
