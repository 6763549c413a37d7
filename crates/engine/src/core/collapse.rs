//! Requests that newer ones make superfluous: they are SKIPPED, in the event that brings the newer one.
//!
//! When, and which, is as in Buildbot 4.3.0 (`buildbot/process/buildrequest.py`, `BuildRequestCollapser`): all requests of
//! the same builder that nobody has claimed.

use config::CollapseRequests;
use model::{BuildRequestId, BuilderId, Results, Time};
use pools::Event as PoolEvent;
use storage::Write;

use super::Core;

impl Core {
    /// `new` has come for `builder`: what waits there and is superfluous now is SKIPPED. Looks at what is alike only, but
    /// for an expression, which sees all that waits there.
    pub(super) fn collapse(&mut self, now: Time, builder: BuilderId, new: BuildRequestId) {
        let Some(state) = self.builders.get(&builder) else { return };
        let Some(config) = state.config.clone() else { return };
        let superfluous: Vec<BuildRequestId> = match &config.collapse_requests {
            CollapseRequests::Never => return,
            CollapseRequests::Compatible => {
                let alike = self.requests.get(&new).and_then(|request| self.buildsets.get(&request.buildset));
                let Some(key) = alike.and_then(|buildset| buildset.alike.as_ref()) else { return };
                state.alike.get(key).into_iter().flatten().copied().filter(|old| *old < new).collect()
            }
            CollapseRequests::If(expression) => {
                let all = state.ages.iter().copied().filter(|old| *old < new);
                all.filter(|old| self.lets_collapse(expression, builder, new, *old)).collect()
            }
        };
        for old in superfluous {
            self.look();
            self.complete_unbuilt(now, old, Results::Skipped);
        }
    }

    /// A request that waits is not to be built.
    pub(super) fn complete_unbuilt(&mut self, now: Time, id: BuildRequestId, results: Results) {
        let Some(request) = self.requests.get(&id) else { return };
        let (builder, key, submitted_at) = (request.builder, request.key(id), request.submitted_at);
        self.dequeue(builder, key);
        self.write(Write::Claim { request: id, at: now });
        self.complete_request(now, id, results);
        self.tell_pools_of(now, builder, |pools| PoolEvent::Withdrawn { pools, submitted_at });
    }
}
