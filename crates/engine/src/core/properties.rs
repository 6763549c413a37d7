//! Properties of a build before it starts, merged as Buildbot merges them: later sources win.
//!
//! Order and names of sources are those of Buildbot 4.3.0 (`buildbot/process/build.py`, `builder.py`,
//! `worker/base.py`): changes, request, builder, worker, build. Defaults of builder and worker only fill gaps.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use model::{BuilderId, Change, Json, Properties, SourceStamp};
use pools::Instance;

/// Where the properties of a build come from.
pub(super) struct Sources<'a> {
    pub(super) builder: &'a config::Builder,
    pub(super) builder_id: BuilderId,
    pub(super) worker: &'a config::Worker,
    pub(super) request: &'a Properties,
    pub(super) changes: &'a [Arc<Change>],
    pub(super) sourcestamps: &'a [SourceStamp],
    pub(super) owners: &'a [String],
}

/// All properties that are known before the build starts, but for its number, which may depend on them.
pub(super) fn of_build(from: &Sources<'_>) -> Properties {
    let mut all = of_changes(from.changes, from.request);
    all.set("buildername", from.builder.name.as_str(), "Builder");
    all.set("builderid", from.builder_id.0, "Builder");
    overlay(&mut all, &from.builder.properties, &from.builder.default_properties, "Builder");

    overlay(&mut all, &from.worker.properties, &Properties::new(), "Worker");
    all.set("workername", from.worker.name.as_str(), "Worker");
    overlay(&mut all, &Properties::new(), &from.worker.default_properties, "Worker");

    if let [stamp] = from.sourcestamps {
        let optional = |value: &Option<String>| value.clone().map_or(Json::Null, Json::String);
        all.set("branch", optional(&stamp.branch), "Build");
        all.set("revision", optional(&stamp.revision), "Build");
        all.set("repository", stamp.repository.as_str(), "Build");
        all.set("codebase", stamp.codebase.as_str(), "Build");
        all.set("project", stamp.project.as_str(), "Build");
    }
    if !from.owners.is_empty() {
        all.set("owners", from.owners.to_vec(), "Build");
    }
    all
}

/// What is known of a request's build before there is a worker for it.
pub(super) fn of_request(
    builder: &config::Builder,
    changes: &[Arc<Change>],
    request: &Properties,
) -> Properties {
    let mut all = of_changes(changes, request);
    all.set("buildername", builder.name.as_str(), "Builder");
    overlay(&mut all, &builder.properties, &builder.default_properties, "Builder");
    all
}

/// What a worker gives to its builds.
pub(super) fn of_worker(worker: &config::Worker) -> Properties {
    let mut all = Properties::new();
    overlay(&mut all, &worker.properties, &worker.default_properties, "Worker");
    all
}

fn of_changes(changes: &[Arc<Change>], request: &Properties) -> Properties {
    let mut all = Properties::new();
    for change in changes {
        all.update(&change.properties);
    }
    all.update(request);
    all
}

/// What a build is told about the machine of a pool that it runs on: which, of what type, at what price for an hour, and
/// how many seconds its request has waited.
pub(super) fn of_instance(all: &mut Properties, row: &Instance, instance_type: &str, waited: Duration) {
    const SOURCE: &str = "Pool";
    let id = row.provider_id.clone().unwrap_or_else(|| format!("{}@{}", row.slot.pool, row.id));
    all.set("pool", row.slot.pool.as_str(), SOURCE);
    all.set("instance_id", id, SOURCE);
    all.set("instance_type", instance_type, SOURCE);
    all.set("price", row.price.units(), SOURCE);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of years are exact")]
    all.set("queue_wait", waited.as_millis() as f64 / 1000.0, SOURCE);
}

/// Whom a build is for: authors of its changes and patches, and who asked for it. Sorted, each once.
pub(super) fn owners(
    changes: &[Arc<Change>],
    sourcestamps: &[SourceStamp],
    request: &Properties,
) -> Vec<String> {
    let authors = changes.iter().map(|change| change.author.as_str());
    let patches =
        sourcestamps.iter().filter_map(|stamp| stamp.patch.as_ref()).map(|patch| patch.author.as_str());
    let asker = request.get("owner").and_then(Json::as_str);
    let all: BTreeSet<&str> = authors.chain(patches).chain(asker).filter(|name| !name.is_empty()).collect();
    all.into_iter().map(str::to_owned).collect()
}

fn overlay(all: &mut Properties, properties: &Properties, defaults: &Properties, source: &str) {
    for (name, property) in properties {
        all.set(name.as_str(), property.value.clone(), source);
    }
    for (name, property) in defaults {
        if all.get(name).is_none() {
            all.set(name.as_str(), property.value.clone(), source);
        }
    }
}
