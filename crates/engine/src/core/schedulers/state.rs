//! What schedulers keep between restarts, where Buildbot keeps it (`object_state`), so that either goes on from what the
//! other left.

use config::{Codebase, SchedulerKind};
use model::{Change, ChangeId, Json, SchedulerId, SourceStamp};
use serde_json::json;
use storage::{UPSTREAM, Write};

use crate::core::Core;

/// The last change of each codebase (`AbsoluteSourceStampsMixin`, `buildbot/util/codebase.py`, 4.3.0).
const LAST_CODEBASES: &str = "lastCodebases";

/// The class under which a scheduler of a kind keeps a key.
fn class(kind: &SchedulerKind, key: &str) -> &'static str {
    if key == UPSTREAM.1 { UPSTREAM.0 } else { kind.class() }
}

impl Core {
    /// What a scheduler has kept under a key.
    pub(super) fn kept(&self, id: SchedulerId, key: &str) -> Option<&Json> {
        let scheduler = self.schedulers.get(&id)?;
        let class = class(&scheduler.config.as_ref()?.kind, key);
        scheduler.states.get(&(class.to_owned(), key.to_owned()))
    }

    /// Has a scheduler keep a value under a key.
    pub(super) fn keep(&mut self, id: SchedulerId, key: &str, value: Json) {
        let Some(scheduler) = self.schedulers.get_mut(&id) else { return };
        let Some(config) = &scheduler.config else { return };
        let class = class(&config.kind, key).to_owned();
        let write = Write::ObjectState {
            object: scheduler.name.clone(),
            class: class.clone(),
            key: key.to_owned(),
            value: value.clone(),
        };
        scheduler.states.insert((class, key.to_owned()), value);
        self.write(write);
    }

    /// Takes note of the newest change of a codebase.
    pub(super) fn record_change(&mut self, id: SchedulerId, number: ChangeId, change: &Change) {
        let mut all = match self.kept(id, LAST_CODEBASES) {
            Some(Json::Object(all)) => all.clone(),
            _ => serde_json::Map::new(),
        };
        let last = all.get(&change.codebase).and_then(|codebase| codebase.get("lastChange"));
        if last.and_then(Json::as_i64).is_none_or(|last| number.0 > last) {
            let codebase = json!({
                "repository": change.repository,
                "branch": change.branch,
                "revision": change.revision,
                "lastChange": number.0,
            });
            all.insert(change.codebase.clone(), codebase);
            self.keep(id, LAST_CODEBASES, Json::Object(all));
        }
    }

    /// What the last change of a codebase left, where the scheduler keeps that.
    pub(super) fn last_stamp(&self, id: SchedulerId, codebase: &Codebase) -> Option<SourceStamp> {
        let config = self.schedulers.get(&id)?.config.as_ref()?;
        if !config.kind.creates_absolute_source_stamps() {
            return None;
        }
        let last = self.kept(id, LAST_CODEBASES)?.get(&codebase.name)?;
        let text = |key: &str| last.get(key).and_then(Json::as_str).map(str::to_owned);
        Some(SourceStamp {
            branch: text("branch"),
            revision: text("revision"),
            repository: text("repository").unwrap_or_default(),
            project: String::new(),
            codebase: codebase.name.clone(),
            patch: None,
        })
    }
}
