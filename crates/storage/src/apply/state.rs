//! State that components keep between restarts.

use model::Json;

use super::{Applied, Tables};
use crate::{database::params, hash::fitting, json, sql::state as sql};

pub(crate) fn object_state(
    tables: &Tables<'_>,
    object: &str,
    class: &str,
    key: &str,
    value: &Json,
) -> Applied {
    let [object, class] = [object, class].map(|name| fitting(name, sql::OBJECT_LENGTH));
    let key = fitting(key, sql::KEY_LENGTH);
    let id = match tables.find(sql::FIND_OBJECT, params![&*object, &*class])? {
        Some(id) => id,
        None => tables.add(sql::ADD_OBJECT, params![&*object, &*class])?,
    };
    tables.run(sql::SET_STATE, params![id, &*key, json::text(value)])
}
