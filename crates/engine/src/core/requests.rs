//! Build requests and the sets they belong to.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use model::{BuildId, BuildRequestId, BuilderId, BuildsetId, Change, Properties, Results, SourceStamp, Time};
use storage::{Parent, Write};

use super::{
    Answer, Core, Refusal, ReplyId, TriggeredBuild,
    builders::QueueKey,
    facts::{self, Rank},
    schedulers::Upstream,
    widths,
};
use crate::Notice;

/// A request that is not complete.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) buildset: BuildsetId,
    pub(super) builder: BuilderId,
    pub(super) priority: i64,
    pub(super) submitted_at: Time,
    /// How urgent its builder's expression found it when it began to wait.
    pub(super) score: Rank,
    /// The build that answers it; `None` while it waits.
    pub(super) build: Option<BuildId>,
    /// Who hears when it is complete.
    pub(super) waiter: Option<ReplyId>,
    /// Builds of it that have ended; kept only while somebody waits.
    pub(super) ended: Vec<TriggeredBuild>,
}

impl Request {
    pub(super) fn key(&self, id: BuildRequestId) -> QueueKey {
        (Reverse(self.priority), self.submitted_at.epoch_seconds(), id)
    }
}

/// A set that is not complete.
#[derive(Debug)]
pub(super) struct Buildset {
    pub(super) reason: String,
    pub(super) sourcestamps: Arc<[SourceStamp]>,
    /// The changes that its source stamps are, oldest first.
    pub(super) changes: Arc<[Arc<Change>]>,
    pub(super) properties: Arc<Properties>,
    /// What it has in common with those that it makes superfluous.
    pub(super) alike: Option<Arc<str>>,
    /// Requests that are not complete.
    pub(super) open: BTreeSet<BuildRequestId>,
    /// The worst of those that are; SUCCESS to begin with.
    pub(super) results: Results,
}

/// What a scheduler wants to have built.
#[derive(Debug)]
pub(super) struct NewBuildset {
    pub(super) reason: String,
    pub(super) sourcestamps: Vec<SourceStamp>,
    pub(super) changes: Vec<Arc<Change>>,
    pub(super) properties: Properties,
    pub(super) builders: Vec<BuilderId>,
    pub(super) priority: i64,
    /// The scheduler that wants it.
    pub(super) scheduler: String,
    /// The build that triggered it.
    pub(super) parent: Option<Parent>,
    /// Whether that waits for it.
    pub(super) waited_for: bool,
}

impl Core {
    /// Records a set with a request for each of its builders, and starts what can be started.
    pub(super) fn add_buildset(&mut self, now: Time, new: NewBuildset) -> (BuildsetId, Vec<BuildRequestId>) {
        let NewBuildset { mut reason, mut sourcestamps, changes, mut properties, builders, .. } = new;
        let priority = widths::fit_priority(new.priority);
        widths::fit_buildset(&mut reason, &mut sourcestamps, &mut properties);
        let (parent, waited_for) = (new.parent, new.waited_for);
        let buildset = self.ids.next_buildset();
        self.write(Write::Buildset {
            id: buildset,
            external_id: None,
            reason: reason.clone(),
            submitted_at: now,
            sourcestamps: sourcestamps.clone(),
            properties: properties.clone(),
            parent,
            rebuilt_build: None,
        });
        self.await_upstream(&new.scheduler, buildset);
        let mut requests = Vec::with_capacity(builders.len());
        for &builder in &builders {
            let id = self.ids.next_request();
            self.write(Write::Request { id, buildset, builder, priority, submitted_at: now, waited_for });
            requests.push(id);
        }
        self.notify(Notice::BuildsetAdded { buildset, requests: requests.clone(), reason: reason.clone() });
        self.buildsets.insert(
            buildset,
            Buildset {
                reason,
                alike: facts::alike(&sourcestamps, &changes, &properties),
                sourcestamps: sourcestamps.into(),
                changes: changes.into(),
                properties: Arc::new(properties),
                open: requests.iter().copied().collect(),
                results: Results::Success,
            },
        );
        for (&request, &builder) in requests.iter().zip(&builders) {
            self.notify(Notice::RequestAdded { request, buildset, builder });
            self.hold(
                request,
                Request {
                    buildset,
                    builder,
                    priority,
                    submitted_at: now,
                    score: Rank::NONE,
                    build: None,
                    waiter: None,
                    ended: Vec::new(),
                },
            );
            self.collapse(now, builder, request);
            self.cancel_obsolete(now, request);
        }
        for &builder in &builders {
            self.tell_pools_of(now, builder, |pools| pools::Event::Requested { pools });
            self.offer_builder(now, builder);
        }
        if requests.is_empty() {
            self.complete_buildset_if_done(now, buildset);
        }
        (buildset, requests)
    }

    /// Lets a request wait.
    pub(super) fn hold(&mut self, id: BuildRequestId, request: Request) {
        let (builder, key) = (request.builder, request.key(id));
        self.requests.insert(id, request);
        self.enqueue(builder, key);
    }

    /// Somebody does not want a request any more.
    pub(super) fn cancel_request(&mut self, now: Time, id: BuildRequestId, reason: String, reply: ReplyId) {
        let Some(request) = self.requests.get(&id) else {
            return self.refuse(reply, Refusal::NoSuchRequest(id));
        };
        if let Some(build) = request.build {
            return self.stop_build(now, build, reason, reply);
        }
        self.withdraw(now, id, &reason);
        self.reply(reply, Answer::Done);
    }

    /// Completes a request that waits as CANCELLED; one that is being built has its build stopped.
    pub(super) fn withdraw(&mut self, now: Time, id: BuildRequestId, reason: &str) {
        let Some(request) = self.requests.get(&id) else { return };
        if let Some(build) = request.build {
            return self.interrupt(now, build, reason.to_owned(), Results::Cancelled);
        }
        self.complete_unbuilt(now, id, Results::Cancelled);
    }

    /// Closes a request, and its set when that was the last.
    pub(super) fn complete_request(&mut self, now: Time, id: BuildRequestId, results: Results) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.losses.remove(&id);
        self.forget_watched(request.builder, id);
        self.write(Write::CompleteRequest { request: id, results, at: now });
        self.notify(Notice::RequestCompleted { request: id, results });
        if let Some(buildset) = self.buildsets.get_mut(&request.buildset) {
            buildset.open.remove(&id);
            buildset.results = buildset.results.worst(results);
        }
        if let Some(waiter) = request.waiter {
            self.tell_waiter(now, waiter, id, results, request.ended);
        }
        self.complete_buildset_if_done(now, request.buildset);
    }

    pub(super) fn complete_buildset_if_done(&mut self, now: Time, id: BuildsetId) {
        if self.buildsets.get(&id).is_none_or(|buildset| !buildset.open.is_empty()) {
            return;
        }
        let Some(Buildset { results, sourcestamps, changes, .. }) = self.buildsets.remove(&id) else {
            return;
        };
        self.write(Write::CompleteBuildset { buildset: id, results, at: now });
        self.notify(Notice::BuildsetCompleted { buildset: id, results });
        self.upstream_done(Upstream { buildset: id, results, sourcestamps, changes });
    }
}
