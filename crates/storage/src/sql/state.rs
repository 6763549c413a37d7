//! State that components keep between restarts.

/// How many characters the names of an object and its class have at most.
pub(crate) const OBJECT_LENGTH: usize = 128;
/// How many the name of something that is kept has at most.
pub(crate) const KEY_LENGTH: usize = 255;

pub(crate) const FIND_OBJECT: &str = "SELECT id FROM objects WHERE name = $1 AND class_name = $2";
pub(crate) const ADD_OBJECT: &str = "INSERT INTO objects (name, class_name) VALUES ($1, $2) RETURNING id";
pub(crate) const SET_STATE: &str = "INSERT INTO object_state (objectid, name, value_json) VALUES ($1, $2, $3) \
     ON CONFLICT (objectid, name) DO UPDATE SET value_json = excluded.value_json";
pub(crate) const STATE: &str = "SELECT object_state.value_json FROM object_state \
     JOIN objects ON objects.id = object_state.objectid \
     WHERE objects.name = $1 AND objects.class_name = $2 AND object_state.name = $3";
pub(crate) const STATES: &str = "SELECT objects.class_name, object_state.name, object_state.value_json FROM object_state \
     JOIN objects ON objects.id = object_state.objectid WHERE objects.name = $1";
