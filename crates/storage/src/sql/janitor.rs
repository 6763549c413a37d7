//! What is deleted when it is old. Each statement touches few rows: others wait while one of them runs.

pub(crate) const OLD_STEPS: &str = "SELECT id, started_at FROM steps WHERE started_at < $1 AND (started_at, id) > ($2, $3) \
     ORDER BY started_at, id LIMIT $4";
/// As Buildbot marks logs whose lines are gone.
pub(crate) const MARK_LOGS_OF_STEP: &str =
    "UPDATE logs SET type = 'd' WHERE stepid = $1 AND complete = 1 AND type <> 'd'";
pub(crate) const OPEN_LOG_OF_STEP: &str = "SELECT id FROM logs WHERE stepid = $1 AND complete = 0 LIMIT 1";
pub(crate) const DELETED_LOGS_OF_STEP: &str =
    "SELECT id FROM logs WHERE stepid = $1 AND type = 'd' ORDER BY id";
/// The first line of a chunk that may stay for now.
pub(crate) const CHUNK_AFTER: &str =
    "SELECT first_line FROM logchunks WHERE logid = $1 ORDER BY first_line LIMIT 1 OFFSET $2";
pub(crate) const DELETE_CHUNKS_BEFORE: &str = "DELETE FROM logchunks WHERE logid = $1 AND first_line < $2";
pub(crate) const DELETE_CHUNKS: &str = "DELETE FROM logchunks WHERE logid = $1";

pub(crate) const BUILDS_BEFORE: &str = "SELECT id, complete_at FROM builds WHERE complete_at < $1 AND (complete_at, id) > ($2, $3) \
     ORDER BY complete_at, id LIMIT $4";
pub(crate) const DELETE_BUILD_DATA: &str =
    "DELETE FROM build_data WHERE id IN (SELECT id FROM build_data WHERE buildid = $1 LIMIT $2)";

/// All but the newest of each builder, from whose number the next one is counted.
pub(crate) const OLD_BUILDS: &str = "SELECT id FROM builds WHERE complete_at < $1 AND number < \
     (SELECT max(number) FROM builds AS newer WHERE newer.builderid = builds.builderid) \
     ORDER BY complete_at LIMIT $2";
pub(crate) const COUNT_OLD_BUILDS: &str = "SELECT count(*) FROM builds WHERE complete_at < $1 AND number < \
     (SELECT max(number) FROM builds AS newer WHERE newer.builderid = builds.builderid)";
pub(crate) const STEPS_OF_BUILD: &str = "SELECT id FROM steps WHERE buildid = $1 ORDER BY id";
pub(crate) const DELETE_BUILD: &str = "DELETE FROM builds WHERE id = $1";

/// Those whose builds are gone; never the newest, from whose id the next one is counted.
pub(crate) const OLD_BUILDSETS: &str = "SELECT id FROM buildsets WHERE complete = 1 AND submitted_at < $1 \
     AND id < (SELECT max(id) FROM buildsets) AND NOT EXISTS (SELECT 1 FROM buildrequests \
     JOIN builds ON builds.buildrequestid = buildrequests.id WHERE buildrequests.buildsetid = buildsets.id) \
     ORDER BY submitted_at LIMIT $2";
pub(crate) const STAMPS_OF_BUILDSET: &str =
    "SELECT sourcestampid FROM buildset_sourcestamps WHERE buildsetid = $1";
pub(crate) const DELETE_BUILDSET: &str = "DELETE FROM buildsets WHERE id = $1";

/// Those that no scheduler waits with; never the newest.
pub(crate) const OLD_CHANGES: &str = "SELECT changeid, sourcestampid FROM changes WHERE when_timestamp < $1 \
     AND changeid < (SELECT max(changeid) FROM changes) \
     AND NOT EXISTS (SELECT 1 FROM scheduler_changes WHERE scheduler_changes.changeid = changes.changeid) \
     ORDER BY when_timestamp LIMIT $2";
pub(crate) const COUNT_OLD_CHANGES: &str = "SELECT count(*) FROM changes WHERE when_timestamp < $1 \
     AND changeid < (SELECT max(changeid) FROM changes) \
     AND NOT EXISTS (SELECT 1 FROM scheduler_changes WHERE scheduler_changes.changeid = changes.changeid)";
pub(crate) const DELETE_CHANGE: &str = "DELETE FROM changes WHERE changeid = $1";

pub(crate) const PATCH_OF_STAMP: &str = "SELECT patchid FROM sourcestamps WHERE id = $1";
pub(crate) const DELETE_UNUSED_STAMP: &str = "DELETE FROM sourcestamps WHERE id = $1 \
     AND NOT EXISTS (SELECT 1 FROM buildset_sourcestamps WHERE sourcestampid = sourcestamps.id) \
     AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.sourcestampid = sourcestamps.id)";
pub(crate) const DELETE_PATCH: &str = "DELETE FROM patches WHERE id = $1";

pub(crate) const COUNT_OLD_LOGS: &str = "SELECT count(*) FROM logs JOIN steps ON steps.id = logs.stepid \
     WHERE steps.started_at < $1 AND logs.complete = 1 AND logs.type <> 'd'";
pub(crate) const COUNT_OLD_BUILD_DATA: &str = "SELECT count(*) FROM build_data \
     JOIN builds ON builds.id = build_data.buildid WHERE builds.complete_at < $1";
