//! Builds, their properties, and their steps.

pub(crate) const ADD_BUILD: &str = "INSERT INTO builds (id, number, builderid, buildrequestid, workerid, masterid, \
     started_at, locks_duration_s, state_string) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)";
pub(crate) const BUILD_STATE: &str = "UPDATE builds SET state_string = $1 WHERE id = $2";
pub(crate) const FINISH_BUILD: &str = "UPDATE builds SET complete_at = $1, results = $2, state_string = $3, \
     locks_duration_s = $4 WHERE id = $5";
pub(crate) const UPDATE_BUILD_PROPERTY: &str =
    "UPDATE build_properties SET value = $1, source = $2 WHERE buildid = $3 AND name = $4";
pub(crate) const ADD_BUILD_PROPERTY: &str =
    "INSERT INTO build_properties (buildid, name, value, source) VALUES ($1, $2, $3, $4)";
pub(crate) const BUILD_PROPERTIES: &str =
    "SELECT name, value, source FROM build_properties WHERE buildid = $1";

/// The columns of a build, for [`crate::read`]; conditions are appended.
pub(crate) const BUILDS: &str = "SELECT id, number, builderid, buildrequestid, workerid, masterid, started_at, \
     complete_at, locks_duration_s, state_string, results FROM builds";
pub(crate) const COUNT_BUILDS: &str = "SELECT count(*) FROM builds";
pub(crate) const LAST_NUMBER: &str = "SELECT coalesce(max(number), 0) FROM builds WHERE builderid = $1";

pub(crate) const ADD_STEP: &str = "INSERT INTO steps (id, number, name, buildid, started_at, locks_acquired_at, \
     state_string, urls_json, hidden) VALUES ($1, $2, $3, $4, $5, $6, $7, '[]', 0)";
pub(crate) const START_STEP: &str = "UPDATE steps SET started_at = $1, locks_acquired_at = $2 WHERE id = $3";
pub(crate) const STEP_LOCKS: &str = "UPDATE steps SET locks_acquired_at = $1 WHERE id = $2";
pub(crate) const STEP_STATE: &str = "UPDATE steps SET state_string = $1 WHERE id = $2";
pub(crate) const STEP_URLS: &str = "SELECT urls_json FROM steps WHERE id = $1";
pub(crate) const SET_STEP_URLS: &str = "UPDATE steps SET urls_json = $1 WHERE id = $2";
pub(crate) const FINISH_STEP: &str =
    "UPDATE steps SET complete_at = $1, results = $2, hidden = $3, state_string = $4 WHERE id = $5";

/// The columns of a step, for [`crate::read`].
macro_rules! steps {
    ($more:literal) => {
        concat!(
            "SELECT id, number, name, buildid, started_at, locks_acquired_at, complete_at, state_string, results, \
             urls_json, hidden FROM steps ",
            $more
        )
    };
}
pub(crate) const STEP: &str = steps!("WHERE id = $1");
pub(crate) const STEPS_OF_BUILD: &str = steps!("WHERE buildid = $1 ORDER BY number");
