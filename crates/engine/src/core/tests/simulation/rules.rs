//! What holds at all times.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{BuildRequestId, Results};
use storage::Write;

use super::{
    super::super::{BuildOrder, LinkStatus},
    super::{Action, Batch},
    Job, Sim,
};

impl Sim {
    /// Whether no request that waited was more urgent than the one that is built now. Of the requests that waited
    /// `before`, those wait that are still open, and those that are started later in the same batch.
    pub(super) fn check_turn(
        &self,
        order: &BuildOrder,
        before: &BTreeSet<BuildRequestId>,
        later: &VecDeque<BuildRequestId>,
    ) {
        let urgency = |id: &BuildRequestId| {
            let row = &self.tables.requests[id].row;
            (-row.priority, row.submitted_at.epoch_seconds(), *id)
        };
        let status = self.core.builders();
        let waits = |id: &&BuildRequestId| {
            let request = &self.tables.requests[id];
            later.contains(id) || (request.results.is_none() && !request.claimed)
        };
        for id in before.iter().filter(waits).filter(|id| urgency(id) < urgency(&order.requests[0])) {
            let builder = status.iter().find(|builder| builder.id == self.tables.requests[id].row.builder);
            let Some(builder) = builder else { continue };
            let runs = |job: &Job| job.builder == builder.name && job.worker == order.worker.name;
            let could = builder.workers.contains(&order.worker.name)
                && !self.jobs.values().any(runs)
                && self.ledger.is_idle(&builder.name, &order.worker.name)
                && !status.iter().any(|other| {
                    other.id != builder.id
                        && other.pending > 0
                        && self.ledger.share(&builder.name, &other.name)
                })
                && !self.ledger.share(&builder.name, &order.builder.name);
            assert!(!could, "request {id} of {} was more urgent than {:?}", builder.name, order.requests);
        }
    }

    /// Nothing that could be built is left over, and nothing that waits is less urgent than what could take its place.
    pub(super) fn check(&self) {
        let status = self.core.status();
        let running: BTreeSet<(&str, &str)> =
            status.running.iter().map(|build| (build.builder.as_str(), build.worker.as_str())).collect();
        assert_eq!(running.len(), self.jobs.len());
        let workers: BTreeMap<&str, _> =
            status.workers.iter().map(|worker| (worker.name.as_str(), worker)).collect();
        for builder in status.builders.iter().filter(|builder| builder.pending > 0) {
            for worker in builder.workers.iter().filter_map(|name| workers.get(name.as_str())) {
                let room = worker.max_builds.is_none_or(|max| worker.running.len() < max as usize);
                let open = worker.link == LinkStatus::Connected
                    && worker.configured
                    && worker.paused.is_none()
                    && !worker.graceful
                    && worker.quarantined_until.is_none();
                let same = running.contains(&(builder.name.as_str(), worker.name.as_str()));
                let idle = self.ledger.is_idle(&builder.name, &worker.name);
                let is_before_others = status.builders.iter().all(|other| {
                    other.id == builder.id
                        || other.pending == 0
                        || !self.ledger.share(&builder.name, &other.name)
                });
                assert!(
                    !(room && open && !same && idle && is_before_others),
                    "{} waits although {} could build it",
                    builder.name,
                    worker.name
                );
            }
        }
        let waiting: BTreeSet<BuildRequestId> =
            status.pending.iter().map(|pending| pending.request).collect();
        let open = self.tables.requests.iter().filter(|(_, request)| request.results.is_none());
        for (id, request) in open {
            let built = status.running.iter().any(|build| build.requests.contains(id));
            assert!(waiting.contains(id) != built, "request {id} is lost or doubled");
            assert_eq!(request.claimed, built);
        }
        for pending in &status.pending {
            assert!(!pending.why.text.is_empty());
        }
    }

    /// Whoever is SKIPPED without a build has somebody newer of its builder to build instead.
    pub(super) fn check_superfluous(&self, batch: &Batch) {
        for write in &batch.writes {
            let Write::CompleteRequest { request, results: Results::Skipped, .. } = write else { continue };
            if self.tables.builds.values().any(|build| build.request == *request) {
                continue;
            }
            let builder = self.tables.requests[request].row.builder;
            let newer = self.tables.requests.range(request..).skip(1);
            let mut open = newer.filter(|(_, newer)| newer.row.builder == builder);
            assert!(open.next().is_some(), "request {request} is skipped for nobody");
        }
    }
}

/// What a build that is started is for.
pub(super) fn first_request(action: &Action) -> Option<BuildRequestId> {
    match action {
        Action::StartBuild(order) => order.requests.first().copied(),
        _ => None,
    }
}
