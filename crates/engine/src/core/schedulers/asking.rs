//! What every scheduler does in the end: it asks for a buildset.
//!
//! Source stamps, properties and priorities come together as in Buildbot 4.3.0 (`buildbot/schedulers/base.py`).

use std::{collections::BTreeMap, sync::Arc};

use config::{Codebase, Priority};
use model::{Change, ChangeId, Json, Properties, SchedulerId, SourceStamp, Time, template::Context};
use serde_json::Map;
use storage::Parent;

use super::Remembered;
use crate::core::{Core, requests::NewBuildset};

/// A buildset that a scheduler wants, on its way to be one.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) reason: String,
    pub(super) sourcestamps: Vec<SourceStamp>,
    /// The changes that its source stamps are, oldest first.
    pub(super) changes: Vec<Arc<Change>>,
    /// What its priority may depend on: all changes that it is about.
    pub(super) about: Vec<Arc<Change>>,
    /// Properties that somebody gave; those of the scheduler and of the changes win.
    pub(super) properties: Properties,
    /// Instead of the scheduler's.
    pub(super) builder_names: Option<Vec<String>>,
    /// Instead of the scheduler's.
    pub(super) priority: Option<i64>,
    /// The build that triggered it.
    pub(super) parent: Option<Parent>,
    /// Whether that waits for it.
    pub(super) waited_for: bool,
}

impl Wish {
    /// Builds these source stamps.
    pub(super) fn of(reason: String, sourcestamps: Vec<SourceStamp>) -> Self {
        Self {
            reason,
            sourcestamps,
            changes: Vec::new(),
            about: Vec::new(),
            properties: Properties::new(),
            builder_names: None,
            priority: None,
            parent: None,
            waited_for: false,
        }
    }
}

impl Core {
    /// The buildset that a scheduler asks for.
    pub(super) fn wished(&self, config: &config::Scheduler, wish: Wish) -> NewBuildset {
        let Wish { reason, sourcestamps, changes, about, mut properties, builder_names, priority, .. } = wish;
        let names = builder_names.as_ref().unwrap_or(&config.builder_names);
        let priority = priority.unwrap_or_else(|| decided(config, names, &about));
        let builders = self.builders_named(names);
        lay_over(&mut properties, config, &changes, &sourcestamps);
        NewBuildset {
            reason,
            sourcestamps,
            changes,
            properties,
            builders,
            priority,
            scheduler: config.name.clone(),
            parent: wish.parent,
            waited_for: wish.waited_for,
        }
    }

    /// Asks for builds of the newest change of each codebase; a codebase without one is built as configured.
    pub(super) fn build_changes(
        &mut self,
        now: Time,
        id: SchedulerId,
        config: &config::Scheduler,
        reason: &str,
        changes: &BTreeMap<ChangeId, Remembered>,
    ) {
        let mut codebases: Vec<_> = config.codebases.iter().collect();
        codebases.sort_by(|a, b| a.name.cmp(&b.name));
        let mut sourcestamps = Vec::with_capacity(codebases.len());
        let mut built = Vec::new();
        for codebase in codebases {
            let of_it = || {
                changes.values().map(|remembered| &remembered.change).filter(|c| c.codebase == codebase.name)
            };
            let Some(newest) = of_it().next_back() else {
                sourcestamps.push(self.default_stamp(id, codebase));
                continue;
            };
            let stamp = newest.source_stamp();
            built.extend(of_it().filter(|change| change.source_stamp() == stamp).cloned());
            sourcestamps.push(stamp);
        }
        let about = changes.values().map(|remembered| Arc::clone(&remembered.change)).collect();
        let wish = Wish { changes: built, about, ..Wish::of(reason.to_owned(), sourcestamps) };
        let new = self.wished(config, wish);
        self.add_buildset(now, new);
    }

    /// What is built of a codebase when nothing says otherwise: what is configured, or what its last change left where
    /// the scheduler keeps that.
    pub(super) fn default_stamp(&self, id: SchedulerId, codebase: &Codebase) -> SourceStamp {
        self.last_stamp(id, codebase).unwrap_or_else(|| configured_stamp(codebase))
    }
}

/// What is built of a codebase as the configuration has it.
fn configured_stamp(codebase: &Codebase) -> SourceStamp {
    SourceStamp {
        branch: codebase.branch.clone(),
        revision: codebase.revision.clone(),
        repository: codebase.repository.clone(),
        project: String::new(),
        codebase: codebase.name.clone(),
        patch: None,
    }
}

/// Where the properties of schedulers come from.
const SOURCE: &str = "Scheduler";

/// Lays the properties of a scheduler, and then those of changes, over `properties`.
fn lay_over(
    properties: &mut Properties,
    config: &config::Scheduler,
    changes: &[Arc<Change>],
    sourcestamps: &[SourceStamp],
) {
    let mut of_changes = Properties::new();
    for change in changes {
        of_changes.update(&change.properties);
    }
    // What a property is rendered with is what is known without rendering.
    let mut known = properties.clone();
    known.set("scheduler", config.name.as_str(), SOURCE);
    known.update(&of_changes);
    let surroundings = Surroundings { properties: &known, sourcestamps };
    for (name, value) in &config.properties {
        match value.render(&surroundings) {
            Ok(value) => properties.set(name.as_str(), value, SOURCE),
            Err(error) => {
                tracing::warn!(
                    scheduler = config.name,
                    property = name,
                    error = &error as &dyn std::error::Error,
                    "a property of a scheduler has no value; it is left out"
                );
            }
        }
    }
    properties.set("scheduler", config.name.as_str(), SOURCE);
    properties.update(&of_changes);
}

/// The priority that a scheduler gives its requests.
fn decided(config: &config::Scheduler, builder_names: &[String], about: &[Arc<Change>]) -> i64 {
    let expression = match &config.priority {
        Priority::Fixed(priority) => return *priority,
        Priority::Expression(expression) => expression,
    };
    let changes = about.iter().map(|change| change.facts()).collect();
    let scope = Map::from_iter([
        ("builderNames".to_owned(), Json::from(builder_names.to_vec())),
        ("changes".to_owned(), Json::Array(changes)),
    ]);
    let value = expression.evaluate(&scope).map_err(|error| error.to_string());
    let number = value.and_then(|value| match value {
        Json::Bool(truth) => Ok(i64::from(truth)),
        other => other.as_i64().ok_or_else(|| format!("{other} is no whole number")),
    });
    number.unwrap_or_else(|error| {
        tracing::warn!(scheduler = config.name, error, "a scheduler's priority has no value; it is 0");
        0
    })
}

/// What the properties of a scheduler are rendered with: there is no worker yet, and no secret.
struct Surroundings<'a> {
    properties: &'a Properties,
    sourcestamps: &'a [SourceStamp],
}

impl Context for Surroundings<'_> {
    fn property(&self, name: &str) -> Option<Json> {
        self.properties.get(name).cloned()
    }

    fn source(&self, codebase: &str, attribute: &str) -> Option<Json> {
        let stamp = self.sourcestamps.iter().find(|stamp| stamp.codebase == codebase)?;
        stamp.facts().get(attribute).cloned()
    }

    fn named(&self, name: &str) -> Option<Json> {
        match name {
            "prop" => Some(self.properties.values()),
            "src" => Some(crate::build::sources(self.sourcestamps)),
            _ => None,
        }
    }
}
