//! Masters, builders, workers, schedulers, change sources.

pub(crate) const FIND_MASTER: &str = "SELECT id FROM masters WHERE name_hash = $1";
pub(crate) const ADD_MASTER: &str =
    "INSERT INTO masters (name, name_hash, active, last_active) VALUES ($1, $2, 0, $3) RETURNING id";
pub(crate) const MASTER_ACTIVE: &str = "UPDATE masters SET active = 1, last_active = $1 WHERE id = $2";
pub(crate) const MASTER_STILL_ACTIVE: &str =
    "UPDATE masters SET last_active = $1 WHERE id = $2 AND active <> 0";
pub(crate) const MASTER_INACTIVE: &str = "UPDATE masters SET active = 0 WHERE id = $1";
/// A master that is certain to be dead looks as though it had died long ago.
pub(crate) const MASTER_SILENT: &str =
    "UPDATE masters SET last_active = $1 WHERE last_active > $1 AND name_hash = $2 AND id <> $3";
pub(crate) const MASTER_NAME: &str = "SELECT name, last_active FROM masters WHERE id = $1";
pub(crate) const MASTERS: &str = "SELECT id, name, active, last_active FROM masters ORDER BY id";

pub(crate) const FIND_BUILDER: &str = "SELECT id FROM builders WHERE name_hash = $1";
pub(crate) const ADD_BUILDER: &str = "INSERT INTO builders (id, name, name_hash) VALUES ($1, $2, $3)";
pub(crate) const DESCRIBE_BUILDER: &str =
    "UPDATE builders SET description = $1, description_format = NULL, description_html = NULL WHERE id = $2";
pub(crate) const CLEAR_BUILDER_TAGS: &str = "DELETE FROM builders_tags WHERE builderid = $1";
pub(crate) const FIND_TAG: &str = "SELECT id FROM tags WHERE name_hash = $1";
pub(crate) const ADD_TAG: &str = "INSERT INTO tags (name, name_hash) VALUES ($1, $2) RETURNING id";
pub(crate) const TAG_BUILDER: &str =
    "INSERT INTO builders_tags (builderid, tagid) VALUES ($1, $2) ON CONFLICT (builderid, tagid) DO NOTHING";
pub(crate) const FIND_PROJECT: &str = "SELECT id FROM projects WHERE name_hash = $1";
/// The slug is the name, as far as it fits.
pub(crate) const ADD_PROJECT: &str =
    "INSERT INTO projects (name, name_hash, slug) VALUES ($1, $2, substr($1, 1, 50)) RETURNING id";
pub(crate) const ASSIGN_BUILDER: &str = "UPDATE builders SET projectid = $1 WHERE id = $2";
pub(crate) const ADD_BUILDER_MASTER: &str = "INSERT INTO builder_masters (builderid, masterid) VALUES ($1, $2) ON CONFLICT (builderid, masterid) DO NOTHING";
pub(crate) const REMOVE_BUILDER_MASTER: &str =
    "DELETE FROM builder_masters WHERE builderid = $1 AND masterid = $2";
pub(crate) const BUILDERS: &str = "SELECT id, name, description, description_format, description_html, projectid \
     FROM builders ORDER BY id";
pub(crate) const BUILDER: &str = "SELECT id, name, description, description_format, description_html, projectid \
     FROM builders WHERE id = $1";
pub(crate) const ALL_BUILDER_TAGS: &str = "SELECT builders_tags.builderid, tags.name FROM builders_tags \
     JOIN tags ON tags.id = builders_tags.tagid ORDER BY builders_tags.id";
pub(crate) const BUILDER_TAGS: &str = "SELECT builders_tags.builderid, tags.name FROM builders_tags \
     JOIN tags ON tags.id = builders_tags.tagid WHERE builders_tags.builderid = $1 ORDER BY builders_tags.id";
pub(crate) const ALL_BUILDER_MASTERS: &str =
    "SELECT builderid, masterid FROM builder_masters ORDER BY masterid";
pub(crate) const BUILDER_MASTERS: &str =
    "SELECT builderid, masterid FROM builder_masters WHERE builderid = $1 ORDER BY masterid";

pub(crate) const FIND_WORKER: &str = "SELECT id FROM workers WHERE name = $1";
pub(crate) const ADD_WORKER: &str =
    "INSERT INTO workers (id, name, info, paused, graceful) VALUES ($1, $2, '{}', 0, 0)";
pub(crate) const WORKER_INFO: &str = "UPDATE workers SET info = $1 WHERE id = $2";
pub(crate) const WORKER_STATE: &str =
    "UPDATE workers SET paused = $1, pause_reason = $2, graceful = $3 WHERE id = $4";
pub(crate) const CONNECT_WORKER: &str = "INSERT INTO connected_workers (masterid, workerid) VALUES ($1, $2) ON CONFLICT (masterid, workerid) DO NOTHING";
pub(crate) const DISCONNECT_WORKER: &str =
    "DELETE FROM connected_workers WHERE masterid = $1 AND workerid = $2";
pub(crate) const DECONFIGURE_WORKER: &str = "DELETE FROM configured_workers WHERE workerid = $1 \
     AND buildermasterid IN (SELECT id FROM builder_masters WHERE masterid = $2)";
pub(crate) const CONFIGURE_WORKER: &str = "INSERT INTO configured_workers (buildermasterid, workerid) \
     SELECT id, $1 FROM builder_masters WHERE builderid = $2 AND masterid = $3 \
     ON CONFLICT (buildermasterid, workerid) DO NOTHING";
pub(crate) const WORKERS: &str =
    "SELECT id, name, info, paused, pause_reason, graceful FROM workers ORDER BY id";
pub(crate) const WORKER: &str =
    "SELECT id, name, info, paused, pause_reason, graceful FROM workers WHERE id = $1";
pub(crate) const ALL_CONFIGURED_WORKERS: &str = "SELECT configured_workers.workerid, builder_masters.masterid, builder_masters.builderid FROM configured_workers \
     JOIN builder_masters ON builder_masters.id = configured_workers.buildermasterid \
     ORDER BY builder_masters.masterid, builder_masters.builderid";
pub(crate) const CONFIGURED_WORKER: &str = "SELECT configured_workers.workerid, builder_masters.masterid, builder_masters.builderid FROM configured_workers \
     JOIN builder_masters ON builder_masters.id = configured_workers.buildermasterid \
     WHERE configured_workers.workerid = $1 ORDER BY builder_masters.masterid, builder_masters.builderid";
pub(crate) const ALL_CONNECTED_WORKERS: &str =
    "SELECT workerid, masterid FROM connected_workers ORDER BY masterid";
pub(crate) const CONNECTED_WORKER: &str =
    "SELECT workerid, masterid FROM connected_workers WHERE workerid = $1 ORDER BY masterid";

pub(crate) const FIND_SCHEDULER: &str = "SELECT id FROM schedulers WHERE name_hash = $1";
pub(crate) const ADD_SCHEDULER: &str =
    "INSERT INTO schedulers (id, name, name_hash, enabled) VALUES ($1, $2, $3, 1)";
pub(crate) const ENABLE_SCHEDULER: &str = "UPDATE schedulers SET enabled = $1 WHERE id = $2";
pub(crate) const SCHEDULER_ENABLED: &str = "SELECT enabled FROM schedulers WHERE id = $1";
pub(crate) const TAKE_SCHEDULER: &str = "INSERT INTO scheduler_masters (schedulerid, masterid) VALUES ($1, $2) ON CONFLICT (schedulerid) DO NOTHING";
pub(crate) const SCHEDULER_MASTER: &str = "SELECT masterid FROM scheduler_masters WHERE schedulerid = $1";
pub(crate) const LEAVE_SCHEDULER: &str =
    "DELETE FROM scheduler_masters WHERE schedulerid = $1 AND masterid = $2";
pub(crate) const SCHEDULERS: &str = "SELECT schedulers.id, schedulers.name, schedulers.enabled, scheduler_masters.masterid FROM schedulers \
     LEFT JOIN scheduler_masters ON scheduler_masters.schedulerid = schedulers.id ORDER BY schedulers.id";
