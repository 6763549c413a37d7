//! Why a request waits: a code for programs and a sentence for people.

use std::{fmt::Write as _, sync::Arc};

use model::{BuildId, BuildRequestId, BuilderId, Time, WorkerId};
use pools::plan::Expectation;
use serde::Serialize;

use super::{
    Core, Drain,
    builders::{Builder, Group},
    workers::Link,
};

/// Why a request waits, or that it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// For programs.
    pub code: ReasonCode,
    /// For people: a sentence without a full stop.
    pub text: String,
    /// What it can expect of the pool that takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Expected>,
}

/// What a request can expect of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// The pool.
    pub pool: String,
    /// When it is expected to start; `None` when nobody can say.
    pub start: Option<Time>,
    /// What decides that.
    pub code: pools::ReasonCode,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReasonCode {
    /// It does not wait: it is being built.
    Building,
    /// No request of this id waits or is being built.
    Unknown,
    /// The master starts no more builds.
    Draining,
    /// Its builder is not in the configuration.
    BuilderGone,
    /// None of the builder's workers is connected.
    NoWorkerConnected,
    /// All workers that are connected are paused, shutting down, or left alone after a failure.
    WorkersHeldBack,
    /// All workers that may build run as many builds as they may.
    WorkersBusy,
    /// Workers have room, but each of them builds this very builder already.
    BuilderBusy,
    /// A worker could build it, but for a lock.
    Lock,
    /// Its builder's `canStartBuild` lets none of the workers that are free build it.
    CanStartBuild,
    /// It waits for a machine of a pool.
    Pool,
    /// It is next.
    Next,
}

/// How many names a sentence has at most.
const NAMES: usize = 3;

impl Core {
    /// Why a request waits. Looks at all workers of its builder.
    pub fn why(&self, request: BuildRequestId) -> Reason {
        let Some(state) = self.requests.get(&request) else {
            let text = format!("build request {request} does not wait and is not being built");
            return Reason::new(ReasonCode::Unknown, text);
        };
        let builder = self.builders.get(&state.builder);
        let name = builder.map_or("?", |builder| &*builder.name);
        if let Some(build) = state.build {
            let build = self.name_of(build).unwrap_or_else(|| name.to_owned());
            return Reason::new(ReasonCode::Building, format!("{build} is building it"));
        }
        let ahead = || builder.map_or(0, |builder| builder.pending.range(..state.key(request)).count());
        let why = self.why_builder(state.builder);
        self.expected(request, &why).unwrap_or_else(|| why.behind(ahead(), name))
    }

    /// Why the first request of a builder waits.
    pub(super) fn why_builder(&self, id: BuilderId) -> Reason {
        if self.drain != Drain::Off {
            let text = "the master starts no more builds".to_owned();
            return Reason::new(ReasonCode::Draining, text);
        }
        let Some((builder, group)) =
            self.builders.get(&id).and_then(|builder| Some((builder, self.groups.get(&builder.group?)?)))
        else {
            let name = self.builders.get(&id).map_or("?", |builder| &*builder.name);
            let text = format!("builder {name} is not in the configuration");
            return Reason::new(ReasonCode::BuilderGone, text);
        };
        let mut states = States::default();
        for worker in &group.workers {
            states.add(self, id, group, *worker);
        }
        let mut reason = states.reason(builder, group.workers.len());
        if reason.code == ReasonCode::Next
            && let Some(text) = self.why_locked(group)
        {
            reason = Reason::new(ReasonCode::Lock, text);
        }
        match &builder.pools[..] {
            _ if matches!(reason.code, ReasonCode::Next | ReasonCode::Lock) => reason,
            [] => reason,
            pools => {
                let waits = format!("it waits for a machine of {}", either(pools));
                let text = if group.workers.is_empty() { waits } else { format!("{}; {waits}", reason.text) };
                Reason::new(ReasonCode::Pool, text)
            }
        }
    }

    /// Whether `canStartBuild` lets a worker build any of a builder's requests.
    fn lets_any_start(&self, id: BuilderId, worker: WorkerId) -> bool {
        let Some(builder) = self.builders.get(&id) else { return false };
        let asks = builder.config.as_ref().is_some_and(|config| config.can_start_build.is_some());
        !asks || builder.pending.iter().any(|request| self.lets_start(id, request.2, worker))
    }

    /// Which lock keeps the builds of a group from starting, if one that is the same everywhere does.
    fn why_locked(&self, group: &Group) -> Option<String> {
        let (_, builder) = group.heads.first()?;
        let builder = self.builders.get(builder)?;
        let (id, head) = (builder.group?, builder.head?);
        if self.master_locks_admit(id, head) {
            return None;
        }
        let taken = group.locks.master.iter().filter_map(|(name, mode)| {
            let key = (Arc::clone(name), None);
            let lock = self.locks.get(&key)?;
            (lock.free() < self.units(&key, *mode)).then_some((name, lock))
        });
        let Some((name, lock)) = taken.min_by_key(|(_, lock)| lock.free()) else {
            return Some("more urgent requests wait for the same locks".to_owned());
        };
        let all: Vec<String> = lock.holders().filter_map(|build| self.name_of(build)).collect();
        if all.is_empty() {
            return Some(format!("lock {name} is wanted by steps that came first"));
        }
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        Some(format!("lock {name} is taken: {}", part(&names, "has it", "have it")))
    }

    /// `builder #7`.
    fn name_of(&self, build: BuildId) -> Option<String> {
        let running = self.builds.get(&build)?;
        Some(format!("{} #{}", self.builders.get(&running.recorded)?.name, running.number))
    }

    /// What the pools said of a request when they last looked, if it waits for one; `why` is why its builder waits.
    pub(super) fn expected(&self, request: BuildRequestId, why: &Reason) -> Option<Reason> {
        if why.code != ReasonCode::Pool {
            return None;
        }
        let Expectation { pool, start, code, text, .. } = self.pools.why_request(request)?;
        let text = format!("pool {pool}: {text}");
        Some(Reason { code: ReasonCode::Pool, text, pool: Some(Expected { pool, start, code }) })
    }
}

/// `pool a`, `pool a or b`.
fn either(pools: &[Arc<str>]) -> String {
    let mut text = String::from("pool ");
    for (index, pool) in pools.iter().enumerate() {
        if index > 0 {
            text.push_str(" or ");
        }
        text.push_str(pool);
    }
    text
}

impl Reason {
    fn new(code: ReasonCode, text: String) -> Self {
        Self { code, text, pool: None }
    }

    /// The same for a request that others of its builder come before.
    pub(super) fn behind(mut self, ahead: usize, builder: &str) -> Self {
        match ahead {
            0 => {}
            1 => self.text = format!("1 request of {builder} comes first; {}", self.text),
            _ => self.text = format!("{ahead} requests of {builder} come first; {}", self.text),
        }
        self
    }
}

/// Names of a builder's workers by what keeps them from building.
#[derive(Default)]
struct States<'a> {
    away: Vec<&'a str>,
    attaching: Vec<&'a str>,
    paused: Vec<&'a str>,
    leaving: Vec<&'a str>,
    failed: Vec<&'a str>,
    full: Vec<&'a str>,
    same_builder: Vec<&'a str>,
    locked: Vec<&'a str>,
    refused: Vec<&'a str>,
}

impl<'a> States<'a> {
    fn add(&mut self, core: &'a Core, builder: BuilderId, group: &Group, id: WorkerId) {
        let Some(worker) = core.workers.get(&id) else { return };
        let list = match worker.link {
            Link::Gone => &mut self.away,
            Link::Admitted(_) | Link::Attached(_) => &mut self.attaching,
            Link::Ready(_) if worker.paused.is_some() => &mut self.paused,
            Link::Ready(_) if worker.graceful => &mut self.leaving,
            Link::Ready(_) if worker.quarantine.until.is_some() => &mut self.failed,
            Link::Ready(_) if worker.running.contains_key(&builder) => &mut self.same_builder,
            Link::Ready(_) if worker.is_full() => &mut self.full,
            Link::Ready(_) if !core.worker_locks_fit(id, &group.locks) => &mut self.locked,
            Link::Ready(_) if !core.lets_any_start(builder, id) => &mut self.refused,
            Link::Ready(_) => return,
        };
        list.push(&worker.name);
    }

    fn reason(&self, builder: &Builder, all: usize) -> Reason {
        let listed = [
            (&self.full, "is at its limit of builds", "are at their limit of builds"),
            (&self.same_builder, "builds it already", "build it already"),
            (&self.locked, "has its locks taken", "have their locks taken"),
            (&self.refused, "is ruled out by `canStartBuild`", "are ruled out by `canStartBuild`"),
            (&self.paused, "is paused", "are paused"),
            (&self.leaving, "is about to shut down", "are about to shut down"),
            (
                &self.failed,
                "is left alone for a while after a failure",
                "are left alone for a while after failures",
            ),
            (&self.attaching, "is just connecting", "are just connecting"),
            (&self.away, "is not connected", "are not connected"),
        ];
        let blocked: usize = listed.iter().map(|(names, ..)| names.len()).sum();
        let code = if blocked < all {
            ReasonCode::Next
        } else if !self.refused.is_empty() && self.full.is_empty() && self.locked.is_empty() {
            ReasonCode::CanStartBuild
        } else if !self.locked.is_empty() && self.full.is_empty() {
            ReasonCode::Lock
        } else if !self.same_builder.is_empty() && self.full.is_empty() {
            ReasonCode::BuilderBusy
        } else if !self.full.is_empty() {
            ReasonCode::WorkersBusy
        } else if self.away.len() + self.attaching.len() == all {
            ReasonCode::NoWorkerConnected
        } else {
            ReasonCode::WorkersHeldBack
        };
        if code == ReasonCode::Next {
            return Reason::new(code, "it is next".to_owned());
        }
        let mut text = format!("builder {} has no free worker: ", builder.name);
        let parts = listed.iter().filter(|(names, ..)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(names, one, many)| part(names, one, many)).collect();
        text.push_str(&parts.join(", "));
        Reason::new(code, text)
    }
}

fn part(names: &[&str], one: &str, many: &str) -> String {
    let shown = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
    let mut text = shown;
    if names.len() > NAMES {
        // Writing to a string cannot fail.
        write!(text, " and {} more", names.len() - NAMES).ok();
    }
    format!("{text} {}", if names.len() == 1 { one } else { many })
}
