//! What only PostgreSQL needs: its lock, its sequences, and the serial of the last transaction.

/// Creates the one table that a file has no use for.
pub(crate) const WRITER: &str = "CREATE TABLE IF NOT EXISTS ganger_writer (
    id INTEGER NOT NULL PRIMARY KEY,
    master TEXT,
    serial BIGINT NOT NULL
);
INSERT INTO ganger_writer (id, serial) VALUES (1, 0) ON CONFLICT (id) DO NOTHING";
pub(crate) const IS_EMPTY: &str =
    "SELECT count(*) = 0 FROM information_schema.tables WHERE table_schema = current_schema()";
pub(crate) const HAS_TABLE: &str = "SELECT count(*) > 0 FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_name = $1";

/// So that the server soon notices that our machine is gone, and lets go of the lock.
pub(crate) const KEEPALIVES: &str =
    "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
pub(crate) const BACKEND: &str = "SELECT pg_backend_pid(), coalesce((SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()), '')";
/// The numbers are the letters `gang` and `er`; they count within one database.
pub(crate) const LOCK: &str = "SELECT pg_try_advisory_lock(1734438503, 25970)";
pub(crate) const LOCK_HOLDER: &str = "SELECT pid, coalesce(backend_start::text, ''), coalesce(application_name, 'a session'), \
     coalesce(client_addr::text, 'the server''s machine') FROM pg_locks JOIN pg_stat_activity USING (pid) \
     WHERE locktype = 'advisory' AND granted AND classid = 1734438503 AND objid = 25970 \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1";
pub(crate) const TERMINATE: &str = "SELECT pg_terminate_backend($1)";

pub(crate) const LAST_MASTER: &str = "SELECT master FROM ganger_writer WHERE id = 1";
pub(crate) const SET_MASTER: &str = "UPDATE ganger_writer SET master = $1 WHERE id = 1";
pub(crate) const SERIAL: &str = "SELECT serial FROM ganger_writer WHERE id = 1";
pub(crate) const MARK: &str = "UPDATE ganger_writer SET serial = $1 WHERE id = 1";
pub(crate) const SET_SEQUENCE: &str = "SELECT setval(pg_get_serial_sequence($1, $2)::regclass, $3, $4)";
