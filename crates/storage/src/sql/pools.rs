//! Pools: their instances, what they keep, who has them, and what they decided.

pub(crate) const SET_INSTANCE: &str = "INSERT INTO ganger_instances (id, pool, slot, state, token, offering, \
     provider_id, price, planned_at_us, connected_at_us, ended_at_us, end_code, cost, data, fence) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
     ON CONFLICT (id) DO UPDATE SET pool = excluded.pool, slot = excluded.slot, state = excluded.state, \
     token = excluded.token, offering = excluded.offering, provider_id = excluded.provider_id, \
     price = excluded.price, planned_at_us = excluded.planned_at_us, connected_at_us = excluded.connected_at_us, \
     ended_at_us = excluded.ended_at_us, end_code = excluded.end_code, cost = excluded.cost, data = excluded.data, \
     fence = excluded.fence";

/// The columns of an instance, for [`crate::read`].
macro_rules! instances {
    ($more:literal) => {
        concat!(
            "SELECT id, pool, slot, state, token, offering, provider_id, price, planned_at_us, connected_at_us, \
             ended_at_us, end_code, cost, data, fence FROM ganger_instances",
            $more
        )
    };
}
/// Conditions are appended.
pub(crate) const INSTANCES: &str = instances!("");
/// `<> 'gone'` as the index on it is partial by the same words.
pub(crate) const LIVE_INSTANCES: &str = instances!(" WHERE state <> 'gone' ORDER BY id");
/// In the order of ids, as `DISTINCT` would walk through the history by an index on pools.
pub(crate) const LIVE_POOLS: &str = "SELECT pool FROM ganger_instances WHERE state <> 'gone' ORDER BY id";
pub(crate) const ENDED_INSTANCES: &str =
    instances!(" WHERE state = 'gone' AND pool = $1 ORDER BY ended_at_us DESC LIMIT $2");
/// A few of the oldest that ended before a time, but none of the last ones of the pool, however old they are, and never
/// the newest of all: the next id is counted from it.
pub(crate) const PRUNE_INSTANCES: &str = "DELETE FROM ganger_instances WHERE id IN (SELECT id FROM ganger_instances \
     WHERE state = 'gone' AND pool = $1 AND ended_at_us < $2 AND ended_at_us < (SELECT ended_at_us \
     FROM ganger_instances WHERE state = 'gone' AND pool = $1 ORDER BY ended_at_us DESC LIMIT 1 OFFSET $3) \
     ORDER BY ended_at_us LIMIT $4) AND id < (SELECT max(id) FROM ganger_instances)";

pub(crate) const SET_POOL: &str = "INSERT INTO ganger_pools (name, data) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET data = excluded.data";
pub(crate) const POOLS: &str = "SELECT name, data FROM ganger_pools ORDER BY name";

pub(crate) const LEASE: &str = "SELECT ganger_pool_leases.masterid, ganger_pool_leases.fence, \
     ganger_pool_leases.expires_at_us, masters.name FROM ganger_pool_leases \
     LEFT JOIN masters ON masters.id = ganger_pool_leases.masterid WHERE ganger_pool_leases.pool = $1";
pub(crate) const TAKE_LEASE: &str = "INSERT INTO ganger_pool_leases (pool, masterid, fence, expires_at_us) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (pool) DO UPDATE SET masterid = excluded.masterid, \
     fence = excluded.fence, expires_at_us = excluded.expires_at_us";
pub(crate) const RENEW_LEASE: &str = "UPDATE ganger_pool_leases SET expires_at_us = $1 \
     WHERE pool = $2 AND masterid = $3 AND fence = $4";
/// The row stays, so that the next lease gets a higher number.
pub(crate) const RELEASE_LEASE: &str = "UPDATE ganger_pool_leases SET masterid = NULL, expires_at_us = 0 \
     WHERE pool = $1 AND masterid = $2 AND fence = $3";

pub(crate) const ADD_DECISION: &str = "INSERT INTO ganger_decisions (at_us, pool, instanceid, buildrequestid, \
     code, text) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
pub(crate) const PRUNE_DECISIONS: &str = "DELETE FROM ganger_decisions WHERE id <= $1";
/// Conditions are appended.
pub(crate) const DECISIONS: &str =
    "SELECT id, at_us, pool, instanceid, buildrequestid, code, text FROM ganger_decisions";

/// The newest builds that ended by themselves. Bounded: who has not built for so long has nothing to say.
pub(crate) const RECENT_BUILDS: &str = "SELECT builderid, complete_at - started_at FROM builds \
     WHERE complete_at IS NOT NULL AND results IN (0, 1, 2) ORDER BY complete_at DESC LIMIT $1";

pub(crate) const KEY: &str = "SELECT secret FROM ganger_keys WHERE name = $1 AND length(secret) = 32";
pub(crate) const SET_KEY: &str = "INSERT INTO ganger_keys (name, secret) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET secret = excluded.secret";
pub(crate) const DEPLOYMENT: &str = "SELECT deployment FROM ganger_installation WHERE id = 1";
pub(crate) const SET_DEPLOYMENT: &str = "INSERT INTO ganger_installation (id, deployment) VALUES (1, $1) \
     ON CONFLICT (id) DO NOTHING";
