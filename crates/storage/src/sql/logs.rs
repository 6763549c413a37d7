//! Logs and their chunks.

pub(crate) const ADD_LOG: &str =
    "INSERT INTO logs (id, name, slug, stepid, complete, num_lines, type) VALUES ($1, $2, $3, $4, 0, 0, $5)";
pub(crate) const EXTEND_LOG: &str = "UPDATE logs SET num_lines = $1 WHERE id = $2 AND num_lines = $3";
pub(crate) const ADD_CHUNK: &str = "INSERT INTO logchunks (logid, first_line, last_line, content, compressed) \
     VALUES ($1, $2, $3, $4, $5)";
pub(crate) const COUNT_CHUNKS: &str =
    "SELECT count(*) FROM logchunks WHERE logid = $1 AND first_line >= $2 AND last_line <= $3";
pub(crate) const DELETE_CHUNKS: &str =
    "DELETE FROM logchunks WHERE logid = $1 AND first_line >= $2 AND last_line <= $3";
pub(crate) const FINISH_LOG: &str = "UPDATE logs SET complete = 1 WHERE id = $1 AND num_lines = $2";
pub(crate) const LOG_LINES: &str = "SELECT num_lines FROM logs WHERE id = $1";

/// The columns of a log, for [`crate::read`].
macro_rules! logs {
    ($more:literal) => {
        concat!("SELECT id, name, slug, stepid, complete, num_lines, type FROM logs ", $more)
    };
}
pub(crate) const LOG: &str = logs!("WHERE id = $1");
pub(crate) const LOGS_OF_STEP: &str = logs!("WHERE stepid = $1 ORDER BY id");
pub(crate) const LOG_BY_SLUG: &str = logs!("WHERE stepid = $1 AND slug = $2");
pub(crate) const CHUNKS: &str = "SELECT first_line, last_line, content, compressed FROM logchunks \
     WHERE logid = $1 AND last_line >= $2 AND first_line <= $3 ORDER BY last_line LIMIT $4";
