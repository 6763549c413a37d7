//! Clients that report changes: `buildbot sendchange` and hook scripts.

use model::{Change, Json, Properties, Time};
use perspective_broker::{Event, Failure, LoginId, Target, Transport, Value};
use tokio::{sync::oneshot, time::timeout};
use tracing::{debug, info};

use super::{Report, listen::Io, login::CLOSE_WITHIN, sessions::Shared};

/// How deep a property's value may be nested.
const DEPTH: usize = 32;

/// Where properties of a change come from, by Buildbot's word for it.
const SOURCE: &str = "Change";

/// Serves a client until it has said all it has to say. It hears that a change is taken when it is durable.
pub(super) async fn serve_client<S: Io>(
    mut transport: Transport<S>,
    login: LoginId,
    peer: &str,
    shared: &Shared,
) {
    let perspective = transport.broker().export();
    if let Err(error) = transport.broker().accept_login(login, perspective) {
        debug!(peer, error = &error as &dyn std::error::Error, "login cannot be answered");
        return;
    }
    loop {
        let next = tokio::select! {
            () = shared.stop.cancelled() => break,
            next = timeout(shared.limits.client_idle, transport.next()) => next,
        };
        let (target, method, args, reply) = match next {
            Ok(Ok(Some(Event::Call { target, method, args, reply, .. }))) => (target, method, args, reply),
            Ok(Ok(Some(_))) => continue,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                info!(peer, error = &error as &dyn std::error::Error, "client's connection has ended");
                break;
            }
            Err(_) => {
                debug!(peer, "closed: the client is idle");
                break;
            }
        };
        let answer = if target == Target::Local(perspective) && method == "addChange" {
            add_change(&args, shared).await
        } else {
            Err(Failure::no_such_method(&method))
        };
        if let Err(failure) = &answer {
            info!(peer, why = failure.value, "change not taken");
        }
        let Some(reply) = reply else { continue };
        let broker = transport.broker();
        let sent = match answer {
            Ok(()) => broker.answer(reply, Value::None),
            Err(failure) => broker.fail(reply, failure),
        };
        if let Err(error) = sent {
            debug!(peer, error = &error as &dyn std::error::Error, "client cannot be answered");
            break;
        }
    }
    transport.close(CLOSE_WITHIN).await;
}

async fn add_change(args: &[Value], shared: &Shared) -> Result<(), Failure> {
    let value_error = |text: String| Failure::new("builtins.ValueError", text);
    let [change] = args else {
        return Err(Failure::new("builtins.TypeError", "addChange takes one dictionary"));
    };
    let change = Box::new(read(change).map_err(value_error)?);
    let (stored, answer) = oneshot::channel();
    let ending = || Failure::new("builtins.RuntimeError", "the master is ending");
    shared.reports.send(Report::Change { change, stored }).await.map_err(|_| ending())?;
    let id = answer.await.map_err(|_| ending())?.map_err(value_error)?;
    info!(change = id.0, "change taken");
    Ok(())
}

/// Reads the dictionary of `addChange` (`buildbot/clients/sendchange.py` and `buildbot/changes/pb.py`, 4.3.0). Before 0.9
/// its keys are byte strings and it has other names for some.
fn read(value: &Value) -> Result<Change, String> {
    if value.as_dict().is_none() {
        return Err("addChange takes a dictionary".to_owned());
    }
    let text = |names: &[&str]| -> Result<Option<String>, String> {
        let Some((name, value)) =
            names.iter().find_map(|name| present(value, name).map(|value| (*name, value)))
        else {
            return Ok(None);
        };
        let text = value.as_text_lossy().ok_or_else(|| format!("`{name}` of a change is text"))?;
        Ok(Some(text.into_owned()))
    };
    // Empty stands for nothing in what clients send.
    let optional = |names: &[&str]| text(names).map(|text| text.filter(|text| !text.is_empty()));
    let author = optional(&["author", "who"])?.ok_or("a change has an author (`who`)")?;
    let files = match present(value, "files") {
        None => Vec::new(),
        Some(files) => texts(files).ok_or("`files` of a change is a list of paths")?,
    };
    let when = match ["when_timestamp", "when"].iter().find_map(|name| present(value, name)) {
        None => Time::default(),
        Some(when) => seconds(when).ok_or("`when` of a change is a number of seconds")?,
    };
    let properties = match present(value, "properties") {
        None => Properties::new(),
        Some(properties) => read_properties(properties)?,
    };
    Ok(Change {
        author,
        committer: optional(&["committer"])?,
        comments: text(&["comments"])?.unwrap_or_default(),
        files,
        branch: optional(&["branch"])?,
        revision: optional(&["revision"])?,
        revlink: text(&["revlink"])?.unwrap_or_default(),
        when,
        category: optional(&["category"])?,
        repository: text(&["repository"])?.unwrap_or_default(),
        codebase: text(&["codebase"])?.unwrap_or_default(),
        project: text(&["project"])?.unwrap_or_default(),
        properties,
    })
}

fn present<'a>(change: &'a Value, name: &str) -> Option<&'a Value> {
    change.get(name).filter(|value| !value.is_none())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_list()?.iter().map(|item| item.as_text_lossy().map(Into::into)).collect()
}

fn seconds(value: &Value) -> Option<Time> {
    let seconds = value.as_float().or_else(|| value.as_int().map(|seconds| seconds as f64))?;
    // Beyond this a number is not a time that anything was made at, and microseconds would not be exact.
    (seconds.is_finite() && seconds.abs() < 1e11).then(|| Time::from_micros((seconds * 1e6) as i64))
}

fn read_properties(value: &Value) -> Result<Properties, String> {
    let pairs = value.as_dict().ok_or("`properties` of a change is a dictionary")?;
    let mut properties = Properties::new();
    for (name, value) in pairs {
        let name = name.as_text_lossy().ok_or("a property's name is text")?;
        let value = json(value, DEPTH)
            .ok_or_else(|| format!("property `{name}` has a value that JSON does not have"))?;
        properties.set(name, value, SOURCE);
    }
    Ok(properties)
}

/// The value as JSON, where JSON has it.
fn json(value: &Value, depth: usize) -> Option<Json> {
    let deeper = depth.checked_sub(1)?;
    Some(match value.resolved() {
        Value::None => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => serde_json::Number::from_f64(*value)?.into(),
        Value::Text(text) => text.to_string().into(),
        text @ Value::Bytes(_) => text.as_text_lossy()?.into_owned().into(),
        Value::List(items) | Value::Tuple(items) => {
            items.iter().map(|item| json(item, deeper)).collect::<Option<Vec<_>>>()?.into()
        }
        Value::Dict(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(name, value)| Some((name.as_text_lossy()?.into_owned(), json(value, deeper)?)));
            Json::Object(pairs.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
