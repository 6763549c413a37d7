//! Build requests and the sets they belong to.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use model::{BuildId, BuildRequestId, BuilderId, BuildsetId, Change, Properties, Results, SourceStamp, Time};
use storage::Write;

use super::{Answer, Core, Refusal, ReplyId, builders::QueueKey};
use crate::Notice;

/// A request that is not complete.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) buildset: BuildsetId,
    pub(super) builder: BuilderId,
    pub(super) priority: i64,
    pub(super) submitted_at: Time,
    /// The build that answers it; `None` while it waits.
    pub(super) build: Option<BuildId>,
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
}

impl Core {
    /// Records a set with a request for each of its builders, and starts what can be started.
    pub(super) fn add_buildset(&mut self, now: Time, new: NewBuildset) -> (BuildsetId, Vec<BuildRequestId>) {
        let NewBuildset { reason, sourcestamps, changes, properties, builders, priority } = new;
        let buildset = self.ids.next_buildset();
        self.write(Write::Buildset {
            id: buildset,
            external_id: None,
            reason: reason.clone(),
            submitted_at: now,
            sourcestamps: sourcestamps.clone(),
            properties: properties.clone(),
            parent: None,
            rebuilt_build: None,
        });
        let mut requests = Vec::with_capacity(builders.len());
        for &builder in &builders {
            let id = self.ids.next_request();
            let waited_for = false;
            self.write(Write::Request { id, buildset, builder, priority, submitted_at: now, waited_for });
            requests.push(id);
        }
        self.notify(Notice::BuildsetAdded { buildset, requests: requests.clone(), reason: reason.clone() });
        self.buildsets.insert(
            buildset,
            Buildset {
                reason,
                sourcestamps: sourcestamps.into(),
                changes: changes.into(),
                properties: Arc::new(properties),
                open: requests.iter().copied().collect(),
                results: Results::Success,
            },
        );
        for (&request, &builder) in requests.iter().zip(&builders) {
            self.notify(Notice::RequestAdded { request, buildset, builder });
            self.hold(request, Request { buildset, builder, priority, submitted_at: now, build: None });
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
            return self.stop_build(build, reason, reply);
        }
        let (builder, key, submitted_at) = (request.builder, request.key(id), request.submitted_at);
        self.dequeue(builder, key);
        self.write(Write::Claim { request: id, at: now });
        self.complete_request(now, id, Results::Cancelled);
        self.tell_pools_of(now, builder, |pools| pools::Event::Withdrawn { pools, submitted_at });
        self.reply(reply, Answer::Done);
    }

    /// Closes a request, and its set when that was the last.
    pub(super) fn complete_request(&mut self, now: Time, id: BuildRequestId, results: Results) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.losses.remove(&id);
        self.write(Write::CompleteRequest { request: id, results, at: now });
        self.notify(Notice::RequestCompleted { request: id, results });
        if let Some(buildset) = self.buildsets.get_mut(&request.buildset) {
            buildset.open.remove(&id);
            buildset.results = buildset.results.worst(results);
        }
        self.complete_buildset_if_done(now, request.buildset);
    }

    pub(super) fn complete_buildset_if_done(&mut self, now: Time, id: BuildsetId) {
        let Some(buildset) = self.buildsets.get(&id) else { return };
        if buildset.open.is_empty() {
            let results = buildset.results;
            self.buildsets.remove(&id);
            self.write(Write::CompleteBuildset { buildset: id, results, at: now });
            self.notify(Notice::BuildsetCompleted { buildset: id, results });
        }
    }
}
