//! The laboratory's own calls over HTTP, for people: below `/_lab/`.

use hyper::StatusCode;
use serde_json::json;

use super::{Fault, Settings, server::Server};
use crate::ec2::moto::Answer;

/// `GET` and `PUT /_lab/settings`, `GET`, `POST` and `DELETE /_lab/faults`, `GET /_lab/calls`.
pub(super) fn answer(server: &Server, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut world = server.world();
    let done = match (method, path) {
        ("GET", "/_lab/settings") => serde_json::to_value(&world.settings),
        ("PUT", "/_lab/settings") => serde_json::from_slice::<Settings>(body).map(|settings| {
            world.settings = settings;
            json!({})
        }),
        ("GET", "/_lab/faults") => serde_json::to_value(&world.faults),
        ("POST", "/_lab/faults") => serde_json::from_slice::<Fault>(body).map(|fault| {
            world.faults.push(fault);
            json!({})
        }),
        ("DELETE", "/_lab/faults") => {
            world.faults.clear();
            server.released.send_modify(|times| *times += 1);
            Ok(json!({}))
        }
        ("GET", "/_lab/calls") => serde_json::to_value(&world.calls),
        _ => {
            let known = "there are settings (GET, PUT), faults (GET, POST, DELETE) and calls (GET)";
            return json_answer(StatusCode::NOT_FOUND, json!({"error": known}));
        }
    };
    match done {
        Ok(value) => json_answer(StatusCode::OK, value),
        Err(error) => json_answer(StatusCode::BAD_REQUEST, json!({"error": error.to_string()})),
    }
}

fn json_answer(status: StatusCode, value: serde_json::Value) -> Answer {
    Answer { status, content_type: "application/json".into(), body: format!("{value:#}\n").into() }
}
