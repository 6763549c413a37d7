//! Machines that are started: rows first, then the call that names them.

use std::{collections::BTreeSet, time::Duration};

use model::{InstanceId, Time};

use super::{
    Pools,
    calling::{Call, CallStatus},
    entry::Entry,
};
use crate::{
    Enrolled, Instance, Order, Origin, Slot, State, Token,
    plan::{Choice, Launch},
    provider::{Alternative, LaunchRequest, Member},
};

/// How long a call's ticket is good, from the call on: the slowest boot, and a market that takes its time.
const TICKET: Duration = Duration::from_mins(30);

/// Causes that a row names.
const CAUSES: usize = 3;

/// Secrets of rows that have no machine, for another call.
pub(super) struct Orphans {
    pub(super) members: Vec<Member>,
    pub(super) image: String,
}

impl Pools {
    /// Starts machines as planned. Those of one kind share calls, whatever they are for.
    pub(super) fn launch(&mut self, now: Time, at: usize, launches: &[Launch]) {
        let (resumed, bought): (Vec<&Launch>, Vec<&Launch>) =
            launches.iter().partition(|launch| launch.resume);
        for launch in resumed {
            self.resume(now, at, launch);
        }
        for alike in bought.chunk_by(|a, b| a.candidates == b.candidates && a.image == b.image) {
            self.buy(now, at, alike);
        }
    }

    /// Starts new machines of one kind, in as many calls as it takes.
    fn buy(&mut self, now: Time, at: usize, launches: &[&Launch]) {
        let Some(first) = launches.first() else { return };
        let Some((choice, rest)) = first.candidates.split_first() else { return };
        let each = |launch: &Launch| {
            let causes = launch.causes.iter().copied().map(Some).chain(std::iter::repeat(None));
            causes.take(launch.count as usize).collect::<Vec<_>>()
        };
        let mut wanted =
            launches.iter().flat_map(|launch| each(launch).into_iter().map(|cause| (*launch, cause)));
        let mut left: u32 = launches.iter().map(|launch| launch.count).sum();
        while left > 0 {
            let pool = &mut self.pools[at];
            let batch = pool.capabilities.as_ref().map_or(1, |capabilities| capabilities.batch.max(1));
            let count = left.min(batch).min(pool.machines.has(now));
            if count == 0 || !pool.calls.take(now, 1) || !pool.machines.take(now, count) {
                return;
            }
            left -= count;
            pool.asked = pool.asked.saturating_add(count);
            let mut members = Vec::new();
            for (launch, cause) in wanted.by_ref().take(count as usize) {
                members.push(self.plan_instance(now, at, launch, choice, cause));
            }
            let learned = &mut self.pools[at].state.learned;
            learned.canary.launched(&first.image, count);
            for member in &members {
                learned.breaker.launched(member.instance, now);
            }
            self.call(now, at, Orphans { members, image: first.image.clone() }, choice, rest);
        }
    }

    /// A row for a machine that is to be.
    fn plan_instance(
        &mut self,
        now: Time,
        at: usize,
        launch: &Launch,
        choice: &Choice,
        cause: Option<model::BuildRequestId>,
    ) -> Member {
        let id = self.mint.next_instance();
        let secret = self.mint.secret();
        let verifier = self.mint.verifier(&secret);
        let pool = &mut self.pools[at];
        let name = pool.name().to_owned();
        let enrolled = if pool.spec.enrolls { Enrolled::Awaited } else { Enrolled::Never };
        let row = Instance {
            id,
            slot: Slot { pool: name.clone(), number: pool.slots.take() },
            origin: Origin::Hired,
            state: State::Planned,
            token: Token(String::new()),
            offering: choice.offering.clone(),
            market: choice.market,
            price: choice.price,
            provider_id: None,
            template: pool.spec.template.clone(),
            image: launch.image.clone(),
            verifier: Some(verifier.clone()),
            enrolled,
            boot: None,
            causes: cause
                .into_iter()
                .chain(launch.causes.iter().copied().filter(|other| Some(*other) != cause))
                .take(CAUSES)
                .collect(),
            code: launch.code,
            text: launch.text.clone(),
            planned_at: now,
            requested_at: None,
            launched_at: None,
            connected_at: None,
            since: now,
            drain: None,
            held_until: None,
            builds: 0,
            failures: 0,
            ended: None,
            ended_at: None,
            cost: None,
            console: None,
        };
        *pool.totals.launches.entry(launch.code).or_default() += 1;
        let login = format!("{name}@{id}");
        self.add(now, Entry::new(row, at));
        // The secret of a machine that has to enroll lets no worker in.
        if enrolled == Enrolled::Never {
            self.order(Order::Credential { instance: id, pool: name, verifier: Some(verifier) });
        }
        self.note(now, id, launch.code, format!("is started: {}", launch.text));
        Member { instance: id, login, secret: Some(secret) }
    }

    /// What a call may buy instead of its first choice: on the same market, and no dearer than there is money for.
    fn others(&self, at: usize, members: &[Member], choice: &Choice, rest: &[Choice]) -> Vec<Alternative> {
        if choice.last_resort {
            return Vec::new();
        }
        let room = self.hour_room(at);
        let count = i64::try_from(members.len()).unwrap_or(i64::MAX);
        let fits = |other: &&Choice| {
            let more = other.price.0.saturating_sub(choice.price.0).saturating_mul(count);
            let affordable = more <= 0 || room.is_none_or(|room| more <= room.0);
            other.market == choice.market && !other.last_resort && affordable
        };
        let alternative =
            |other: &Choice| Alternative { offering: other.offering.clone(), price_cap: other.cap };
        rest.iter().filter(fits).map(alternative).collect()
    }

    /// Makes a call for rows.
    pub(super) fn call(&mut self, now: Time, at: usize, orphans: Orphans, choice: &Choice, rest: &[Choice]) {
        let token = self.mint.token();
        let others = self.others(at, &orphans.members, choice, rest);
        let pool = &self.pools[at];
        let ticket = pool.spec.enrolls.then(|| self.mint.ticket(pool.name(), &token, now + TICKET));
        let request = LaunchRequest {
            token: token.clone(),
            pool: pool.name().to_owned(),
            deployment: self.deployment.clone(),
            members: orphans.members,
            offering: choice.offering.clone(),
            price_cap: choice.cap,
            others,
            template: pool.spec.template.clone(),
            image: orphans.image,
            ticket,
        };
        let members: BTreeSet<InstanceId> = request.members.iter().map(|member| member.instance).collect();
        for id in &members {
            self.change(now, *id, |entry| {
                entry.row.token = token.clone();
                entry.row.offering.clone_from(&choice.offering);
                entry.row.market = choice.market;
                entry.row.price = choice.price;
            });
        }
        let call = Call {
            pool: at,
            request: Some(request),
            members,
            status: CallStatus::Out,
            rest: rest.to_vec(),
            first_at: now,
            sent_at: now,
            tries: 0,
            doubtful: false,
            absent: None,
        };
        self.calls.insert(token.clone(), call);
        self.send(now, &token);
    }
}
