//! Buildsets, build requests and their claims.

pub(crate) const ADD_BUILDSET: &str = "INSERT INTO buildsets (id, external_idstring, reason, submitted_at, complete, \
     results, parent_buildid, parent_relationship, rebuilt_buildid) VALUES ($1, $2, $3, $4, 0, -1, $5, $6, $7)";
pub(crate) const ADD_BUILDSET_PROPERTY: &str =
    "INSERT INTO buildset_properties (buildsetid, property_name, property_value) VALUES ($1, $2, $3)";
pub(crate) const ADD_BUILDSET_SOURCE_STAMP: &str = "INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) \
     VALUES ($1, $2) ON CONFLICT (buildsetid, sourcestampid) DO NOTHING";
pub(crate) const COMPLETE_BUILDSET: &str =
    "UPDATE buildsets SET complete = 1, results = $1, complete_at = $2 WHERE id = $3 AND complete <> 1";

/// The columns of a buildset, for [`crate::read`].
macro_rules! buildsets {
    ($more:literal) => {
        concat!(
            "SELECT id, external_idstring, reason, submitted_at, complete, complete_at, results, parent_buildid, \
             parent_relationship, rebuilt_buildid FROM buildsets ",
            $more
        )
    };
}
pub(crate) const BUILDSET: &str = buildsets!("WHERE id = $1");
pub(crate) const INCOMPLETE_BUILDSETS: &str = buildsets!("WHERE complete = 0 ORDER BY id");
pub(crate) const NEWEST_BUILDSETS: &str = buildsets!("ORDER BY id DESC LIMIT $1 OFFSET $2");
pub(crate) const BUILDSET_PROPERTIES: &str =
    "SELECT property_name, property_value FROM buildset_properties WHERE buildsetid = $1";
pub(crate) const BUILDSET_SOURCE_STAMPS: &str =
    "SELECT sourcestampid FROM buildset_sourcestamps WHERE buildsetid = $1 ORDER BY id";

pub(crate) const ADD_REQUEST: &str = "INSERT INTO buildrequests \
     (id, buildsetid, builderid, priority, complete, results, submitted_at, waited_for) \
     VALUES ($1, $2, $3, $4, 0, -1, $5, $6)";
pub(crate) const PRIORITIZE_REQUEST: &str =
    "UPDATE buildrequests SET priority = $1 WHERE id = $2 AND complete <> 1";
pub(crate) const COMPLETE_REQUEST: &str =
    "UPDATE buildrequests SET complete = 1, results = $1, complete_at = $2 WHERE id = $3 AND complete <> 1";
pub(crate) const CLAIM: &str =
    "INSERT INTO buildrequest_claims (brid, masterid, claimed_at) VALUES ($1, $2, $3)";
pub(crate) const CLAIMED_BY: &str = "SELECT masterid FROM buildrequest_claims WHERE brid = $1";
pub(crate) const UNCLAIM: &str = "DELETE FROM buildrequest_claims WHERE brid = $1 AND masterid = $2";

/// The columns of a request and its claim, for [`crate::read`]; conditions are appended.
pub(crate) const REQUESTS: &str = "SELECT buildrequests.id, buildrequests.buildsetid, buildrequests.builderid, buildrequests.priority, \
     buildrequests.complete, buildrequests.results, buildrequests.submitted_at, buildrequests.complete_at, \
     buildrequests.waited_for, buildrequest_claims.claimed_at, buildrequest_claims.masterid FROM buildrequests \
     LEFT JOIN buildrequest_claims ON buildrequest_claims.brid = buildrequests.id";
pub(crate) const COMPLETE_REQUESTS_OF_BUILDSET: &str =
    "SELECT id, results FROM buildrequests WHERE buildsetid = $1 AND complete = 1 ORDER BY id";
