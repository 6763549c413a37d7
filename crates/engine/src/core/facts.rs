//! What expressions of a configuration see of requests, builders and workers.

use std::{cmp::Ordering, sync::Arc};

use model::{BuildRequestId, BuilderId, Json, Properties, SourceStamp, WorkerId, expression::Expression};
use serde_json::{Map, json};

use super::{Core, properties, requests::Buildset, workers::Worker};

/// A number by which something is chosen: the highest comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rank(f64);

impl Rank {
    /// Where nothing is said.
    pub(super) const NONE: Self = Self(0.0);
    /// Behind all others.
    pub(super) const LAST: Self = Self(f64::NEG_INFINITY);

    /// The first is before the second.
    pub(super) fn of_position(position: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "positions in a file")]
        Self(-(position as f64))
    }

    /// What came earlier is before what came later, in seconds.
    pub(super) fn of_age(epoch_seconds: i64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a century are exact")]
        Self(-(epoch_seconds as f64))
    }

    /// What an expression says; behind all others where that is no number.
    fn of(expression: &Expression, scope: &Map<String, Json>) -> Self {
        match expression.evaluate(scope) {
            Ok(Json::Number(number)) => number.as_f64().map_or(Self::LAST, Self),
            Ok(Json::Bool(truth)) => Self(f64::from(u8::from(truth))),
            Ok(_) | Err(_) => Self::LAST,
        }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank {}

/// What workers can be told by.
pub(super) struct WorkerFacts<'a> {
    pub(super) config: &'a config::Worker,
    pub(super) pool: Option<&'a str>,
    pub(super) running: usize,
}

impl WorkerFacts<'_> {
    fn json(&self) -> Json {
        json!({
            "name": self.config.name,
            "pool": self.pool,
            "running": self.running,
            "max_builds": self.config.max_builds,
            "prop": properties::of_worker(self.config).values(),
        })
    }
}

impl Core {
    /// How urgent a builder is by an expression, which sees its first request.
    pub(super) fn rank_of_builder(
        &self,
        expression: &Expression,
        builder: BuilderId,
        first: BuildRequestId,
    ) -> Rank {
        let scope = Map::from_iter([self.builder_entry(builder), self.request_entry("request", first)]);
        Rank::of(expression, &scope)
    }

    /// How urgent a request is by an expression.
    pub(super) fn rank_of_request(
        &self,
        expression: &Expression,
        builder: BuilderId,
        request: BuildRequestId,
    ) -> Rank {
        Rank::of(expression, &self.scope(builder, request))
    }

    /// How well a worker suits a request by an expression.
    pub(super) fn rank_of_worker(
        &self,
        expression: &Expression,
        builder: BuilderId,
        request: BuildRequestId,
        worker: &Worker,
    ) -> Rank {
        let mut scope = self.scope(builder, request);
        scope.extend(facts_of(worker).map(|facts| ("worker".to_owned(), facts.json())));
        Rank::of(expression, &scope)
    }

    /// Whether `canStartBuild` lets a worker build a request.
    pub(super) fn lets_start(&self, builder: BuilderId, request: BuildRequestId, worker: WorkerId) -> bool {
        let worker = self.workers.get(&worker).and_then(facts_of);
        worker.is_some_and(|worker| self.lets_facts_start(builder, request, &worker))
    }

    /// The same for a worker that there may not be yet. Where the expression makes no sense, it does not.
    pub(super) fn lets_facts_start(
        &self,
        builder: BuilderId,
        request: BuildRequestId,
        worker: &WorkerFacts<'_>,
    ) -> bool {
        let config = self.builders.get(&builder).and_then(|builder| builder.config.as_ref());
        let Some(expression) = config.and_then(|config| config.can_start_build.as_ref()) else { return true };
        self.look();
        let mut scope = self.scope(builder, request);
        scope.insert("worker".to_owned(), worker.json());
        expression.is_true(&scope) == Ok(true)
    }

    /// Whether an expression lets a new request make an old one superfluous.
    pub(super) fn lets_collapse(
        &self,
        expression: &Expression,
        builder: BuilderId,
        new: BuildRequestId,
        old: BuildRequestId,
    ) -> bool {
        let key = |request| Some(self.buildset_of(request)?.alike.as_ref());
        let compatible = key(new).is_some_and(|new| new.is_some() && key(old) == Some(new));
        let scope = Map::from_iter([
            self.builder_entry(builder),
            self.request_entry("new", new),
            self.request_entry("old", old),
            ("compatible".to_owned(), compatible.into()),
        ]);
        expression.is_true(&scope) == Ok(true)
    }

    fn scope(&self, builder: BuilderId, request: BuildRequestId) -> Map<String, Json> {
        let config = self.builders.get(&builder).and_then(|builder| builder.config.as_deref());
        let known = config.zip(self.buildset_of(request)).map(|(config, buildset)| {
            properties::of_request(config, &buildset.changes, &buildset.properties).values()
        });
        Map::from_iter([
            self.builder_entry(builder),
            self.request_entry("request", request),
            ("prop".to_owned(), known.unwrap_or_default()),
        ])
    }

    fn builder_entry(&self, builder: BuilderId) -> (String, Json) {
        let config = self.builders.get(&builder).and_then(|builder| builder.config.as_deref());
        let facts = config.map(
            |config| json!({ "name": config.name, "tags": config.tags, "description": config.description }),
        );
        ("builder".to_owned(), facts.unwrap_or_default())
    }

    fn buildset_of(&self, request: BuildRequestId) -> Option<&Buildset> {
        self.buildsets.get(&self.requests.get(&request)?.buildset)
    }

    fn request_entry(&self, name: &str, id: BuildRequestId) -> (String, Json) {
        (name.to_owned(), self.request_facts(id).unwrap_or_default())
    }

    fn request_facts(&self, id: BuildRequestId) -> Option<Json> {
        let request = self.requests.get(&id)?;
        let buildset = self.buildsets.get(&request.buildset)?;
        let first = buildset.sourcestamps.first();
        Some(json!({
            "id": id.0,
            "priority": request.priority,
            "submitted_at": request.submitted_at.epoch_seconds(),
            "reason": buildset.reason,
            "prop": buildset.properties.values(),
            "branch": first.map(|stamp| &stamp.branch),
            "revision": first.map(|stamp| &stamp.revision),
            "repository": first.map(|stamp| &stamp.repository),
            "project": first.map(|stamp| &stamp.project),
            "codebase": first.map(|stamp| &stamp.codebase),
            "sources": buildset.sourcestamps.iter().map(source).collect::<Vec<_>>(),
            "changes": buildset.changes.iter().map(|change| change.facts()).collect::<Vec<_>>(),
        }))
    }
}

/// What a worker can be told by, while it is in the configuration.
pub(super) fn facts_of(worker: &Worker) -> Option<WorkerFacts<'_>> {
    let pool = worker.place.as_ref().map(|place| &*place.pool);
    Some(WorkerFacts { config: worker.config.as_deref()?, pool, running: worker.running.len() })
}

fn source(stamp: &SourceStamp) -> Json {
    json!({
        "codebase": stamp.codebase,
        "repository": stamp.repository,
        "branch": stamp.branch,
        "revision": stamp.revision,
        "project": stamp.project,
        "patched": stamp.patch.is_some(),
    })
}

/// What two buildsets have in common of which the newer one makes the older one superfluous; `None` where nothing does.
///
/// As Buildbot 4.3.0 has it (`buildbot/process/buildrequest.py`, `canBeCollapsed`): the same codebases with the same
/// repository, branch and project, none patched; the same revision where no change is known; the same properties of
/// schedulers, but for the scheduler's name.
pub(super) fn alike(
    sourcestamps: &[SourceStamp],
    changes: &[Arc<model::Change>],
    all: &Properties,
) -> Option<Arc<str>> {
    if sourcestamps.iter().any(|stamp| stamp.patch.is_some()) {
        return None;
    }
    let mut sources: Vec<_> = sourcestamps
        .iter()
        .map(|stamp| {
            let has_changes = changes.iter().any(|change| change.codebase == stamp.codebase);
            let revision = stamp.revision.as_ref().filter(|_| !has_changes);
            (&stamp.codebase, &stamp.repository, &stamp.branch, &stamp.project, has_changes, revision)
        })
        .collect();
    sources.sort_unstable();
    let of_schedulers: Vec<_> = all
        .iter()
        .filter(|(name, property)| *name != "scheduler" && property.source == "Scheduler")
        .map(|(name, property)| (name, &property.value))
        .collect();
    Some(json!([sources, of_schedulers]).to_string().into())
}
