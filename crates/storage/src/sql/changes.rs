//! Changes, source stamps and patches.

pub(crate) const FIND_SOURCE_STAMP: &str = "SELECT id FROM sourcestamps WHERE ss_hash = $1";
pub(crate) const ADD_SOURCE_STAMP: &str = "INSERT INTO sourcestamps \
     (ss_hash, branch, revision, patchid, repository, codebase, project, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";
pub(crate) const ADD_PATCH: &str = "INSERT INTO patches (patchlevel, patch_base64, patch_author, patch_comment, subdir) \
     VALUES ($1, $2, $3, $4, $5) RETURNING id";

/// The columns of a source stamp and its patch, for [`crate::read`].
macro_rules! source_stamps {
    ($($more:literal)*) => {
        concat!(
            "SELECT sourcestamps.id, sourcestamps.branch, sourcestamps.revision, sourcestamps.repository, \
             sourcestamps.codebase, sourcestamps.project, sourcestamps.created_at, sourcestamps.patchid, \
             patches.patchlevel, patches.patch_base64, patches.subdir, patches.patch_author, patches.patch_comment \
             FROM sourcestamps LEFT JOIN patches ON patches.id = sourcestamps.patchid ",
            $($more),*
        )
    };
}
pub(crate) const SOURCE_STAMP: &str = source_stamps!("WHERE sourcestamps.id = $1");
pub(crate) const SOURCE_STAMPS_OF_BUILDSET: &str = source_stamps!(
    "JOIN buildset_sourcestamps ON buildset_sourcestamps.sourcestampid = sourcestamps.id "
    "WHERE buildset_sourcestamps.buildsetid = $1 ORDER BY buildset_sourcestamps.id"
);

/// By the index on `branch`, whose entries are in the order of ids.
pub(crate) const FIND_PARENT_CHANGE: &str = "SELECT changeid FROM changes WHERE branch = $1 \
     AND repository = $2 AND project = $3 AND codebase = $4 ORDER BY changeid DESC LIMIT 1";
pub(crate) const FIND_PARENT_CHANGE_OF_DEFAULT_BRANCH: &str = "SELECT changeid FROM changes WHERE branch IS NULL \
     AND repository = $1 AND project = $2 AND codebase = $3 ORDER BY changeid DESC LIMIT 1";
pub(crate) const ADD_CHANGE: &str = "INSERT INTO changes \
     (changeid, author, committer, comments, branch, revision, revlink, when_timestamp, category, repository, \
     codebase, project, sourcestampid, parent_changeids) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
pub(crate) const ADD_CHANGE_FILE: &str = "INSERT INTO change_files (changeid, filename) VALUES ($1, $2)";
pub(crate) const ADD_CHANGE_PROPERTY: &str =
    "INSERT INTO change_properties (changeid, property_name, property_value) VALUES ($1, $2, $3)";

/// The columns of a change, for [`crate::read`].
macro_rules! changes {
    ($more:literal) => {
        concat!(
            "SELECT changeid, author, committer, comments, branch, revision, revlink, when_timestamp, category, \
             repository, codebase, project, sourcestampid, parent_changeids FROM changes ",
            $more
        )
    };
}
pub(crate) const CHANGE: &str = changes!("WHERE changeid = $1");
pub(crate) const NEWEST_CHANGES: &str = changes!("ORDER BY changeid DESC LIMIT $1 OFFSET $2");
pub(crate) const CHANGE_OF_SOURCE_STAMP: &str =
    changes!("WHERE sourcestampid = $1 ORDER BY changeid DESC LIMIT 1");
pub(crate) const CHANGE_FILES: &str = "SELECT filename FROM change_files WHERE changeid = $1";
pub(crate) const CHANGE_PROPERTIES: &str =
    "SELECT property_name, property_value FROM change_properties WHERE changeid = $1";

pub(crate) const CLASSIFY_CHANGE: &str = "INSERT INTO scheduler_changes (schedulerid, changeid, important) VALUES ($1, $2, $3) \
     ON CONFLICT (schedulerid, changeid) DO UPDATE SET important = excluded.important";
pub(crate) const FORGET_CHANGES: &str = "DELETE FROM scheduler_changes WHERE schedulerid = $1";
pub(crate) const FORGET_CHANGE: &str =
    "DELETE FROM scheduler_changes WHERE schedulerid = $1 AND changeid = $2";
pub(crate) const FORGET_CHANGES_THROUGH: &str =
    "DELETE FROM scheduler_changes WHERE schedulerid = $1 AND changeid <= $2";
pub(crate) const CLASSIFIED_CHANGES: &str =
    "SELECT changeid, important FROM scheduler_changes WHERE schedulerid = $1 ORDER BY changeid";
