//! The pools inside the core: they are told what happens, and what they decide is carried out in the same breath.

use std::{mem, sync::Arc, time::Duration};

use model::{BuildRequestId, BuilderId, InstanceId, Time};
use pools::{
    Batch as PoolBatch, Event as PoolEvent, Instance, Operator, Order, PoolStatus, ReasonCode, State,
    Subject, plan::PoolPlan,
};
use storage::{DecisionRow, InstanceRow, Write};

use super::{Action, Answer, Core, Drain, Refusal, ReplyId};
use crate::Notice;

/// How many refused logins are recorded at once, and how long it takes until one more is: whoever knocks for days fills
/// no tables.
const REFUSALS: u32 = 30;
const REFUSALS_EACH: Duration = Duration::from_secs(10);

/// How long the pools are left alone at the least.
const REST: Duration = Duration::from_millis(1);

/// How many refused logins may be recorded now.
#[derive(Debug)]
pub(super) struct Refusals {
    left: u32,
    since: Time,
    unrecorded: u64,
}

impl Refusals {
    pub(super) fn new(now: Time) -> Self {
        Self { left: REFUSALS, since: now, unrecorded: 0 }
    }

    /// How many were not recorded before this one; `None` when this one is not either.
    fn count(&mut self, now: Time) -> Option<u64> {
        while self.left < REFUSALS && now.since(self.since) >= REFUSALS_EACH {
            self.left += 1;
            self.since = self.since + REFUSALS_EACH;
        }
        if self.left == REFUSALS {
            self.since = now;
        }
        if self.left == 0 {
            self.unrecorded += 1;
            return None;
        }
        self.left -= 1;
        Some(mem::take(&mut self.unrecorded))
    }
}

/// Builds of a request that the market has ended.
#[derive(Debug, Default)]
pub(super) struct Loss {
    pub(super) times: u32,
    /// What the last one was lost on.
    pub(super) offering: Option<Arc<str>>,
    /// Machines whose workers are gone: whether the market took them shows later.
    unsure: Vec<InstanceId>,
}

impl Core {
    /// Tells the pools, and does what they decide.
    pub(super) fn tell(&mut self, now: Time, event: PoolEvent) {
        let batch = self.pools.handle(now, event);
        self.fold(now, batch);
    }

    /// Something for the pools from outside.
    pub(super) fn pools_event(&mut self, now: Time, event: PoolEvent) {
        if let PoolEvent::Offers { pool, capabilities } = &event
            && let Some(hirer) = self.hirers.get_mut(&**pool)
        {
            let offered = capabilities.offerings.iter();
            hirer.types =
                offered.map(|offering| (offering.name.clone(), offering.instance_type.clone())).collect();
        }
        self.tell(now, event);
    }

    /// Somebody decides.
    pub(super) fn operate(&mut self, now: Time, operator: Operator, reply: ReplyId) {
        let refusal = match &operator {
            Operator::Drain(instance) | Operator::Hold { instance, .. } | Operator::Release(instance) => {
                let there = self.pools.instance(*instance).is_some_and(|row| row.state.is_live());
                (!there).then_some(Refusal::NoSuchInstance(*instance))
            }
            Operator::Pause { pool, .. }
            | Operator::Resume(pool)
            | Operator::Scale { pool, .. }
            | Operator::Trust(pool) => {
                (!self.hirers.contains_key(&**pool)).then(|| Refusal::NoSuchPool(pool.clone()))
            }
        };
        if let Some(refusal) = refusal {
            return self.refuse(reply, refusal);
        }
        self.tell(now, PoolEvent::Operator(operator));
        self.reply(reply, Answer::Done);
    }

    /// A machine asks who its worker is.
    pub(super) fn enroll(
        &mut self,
        now: Time,
        applicant: &pools::Applicant,
        verifier: pools::Verifier,
        reply: ReplyId,
    ) {
        let (result, batch) = self.pools.enroll(now, applicant, verifier);
        self.fold(now, batch);
        self.reply(reply, Answer::Enrolled { pool: applicant.pool.clone(), result });
    }

    /// Takes over what the pools decide: what closes a machine closes it before anything else happens.
    pub(super) fn fold(&mut self, now: Time, batch: PoolBatch) {
        let PoolBatch { rows, pools, decisions, orders } = batch;
        for order in &orders {
            if let Order::Close { instance, why } = order {
                self.close_instance(*instance, why.clone());
            }
        }
        for row in rows {
            self.set_state(row.id, row.state);
            self.settle_losses(&row);
            // Without a lease the row is another master's to write.
            if let Some(fence) = self.pools.fence(&row.slot.pool) {
                self.write(Write::Instance(Box::new(instance_row(row, fence))));
            }
        }
        for pool in pools {
            if let (Some(fence), Some(state)) = (self.pools.fence(&pool), self.pools.state(&pool)) {
                let data = serde_json::to_value(state).unwrap_or_default();
                self.write(Write::PoolState { pool, data, fence });
            }
        }
        for decision in decisions {
            self.decided(now, decision);
        }
        for order in orders {
            self.order(now, order);
        }
    }

    fn decided(&mut self, now: Time, mut decision: pools::Decision) {
        if decision.code == ReasonCode::LoginRefused {
            match self.refusals.count(now) {
                None => return,
                Some(0) => {}
                Some(more) => decision.text = format!("{}; {more} others are not recorded", decision.text),
            }
        }
        let (instance, request) = match decision.subject {
            Subject::Pool => (None, None),
            Subject::Instance(instance) => (Some(instance), None),
            Subject::Request(request) => (None, Some(request)),
        };
        self.write(Write::Decision(DecisionRow {
            id: 0,
            at: decision.at,
            pool: decision.pool.clone(),
            instance,
            request,
            code: word(&decision.code),
            text: decision.text.clone(),
        }));
        self.notify(Notice::Decision(decision));
    }

    fn order(&mut self, now: Time, order: Order) {
        match order {
            // Done already, before all else.
            Order::Close { .. } => {}
            Order::Open { instance } => self.open_instance(instance),
            Order::Interrupt { instance, why, results } => {
                let worker = self.instances.get(&instance).and_then(|id| self.workers.get(id));
                let running = worker.map(|worker| worker.running.values().copied().collect::<Vec<_>>());
                for build in running.unwrap_or_default() {
                    if self.builds.get(&build).is_some_and(|running| running.instance == Some(instance)) {
                        self.interrupt(now, build, why.clone(), results);
                    }
                }
            }
            Order::Disconnect { instance, why } => {
                // It counts as gone at once: what it still says is not heard.
                if let Some(session) = self.session_of(instance) {
                    self.act(Action::Disconnect { session, why: why.clone() });
                    self.dismissed.push((session, why));
                }
            }
            Order::Shutdown { instance } => {
                if let Some(session) = self.session_of(instance) {
                    self.act(Action::ShutdownWorker { session });
                }
            }
            Order::Credential { instance, pool, verifier } => {
                self.act(Action::Credential { instance, pool, verifier });
            }
            call @ (Order::Launch(_)
            | Order::List { .. }
            | Order::Terminate { .. }
            | Order::Reap { .. }
            | Order::Cancel { .. }
            | Order::Stop { .. }
            | Order::Resume { .. }
            | Order::Console { .. }) => self.act(Action::Provider(call)),
        }
    }

    /// Does what is due of the pools, and gives builds to machines that were opened.
    pub(super) fn run_pools(&mut self, now: Time) {
        if self.pools.next_deadline().is_some_and(|due| due <= now) {
            let batch = self.pools.handle_timeout(now);
            self.fold(now, batch);
            if self.pools.pass_due(now) {
                let mut demand = self.demand();
                if self.drain != Drain::Off {
                    // What waits is for the next master: until then no machine is of use to it.
                    demand.requests.clear();
                }
                let batch = self.pools.pass(now, &demand);
                self.fold(now, batch);
            }
            self.pools_rest = now + REST;
        }
        while let Some((session, why)) = self.dismissed.pop() {
            self.lost(now, session, &why);
        }
        while let Some(worker) = self.reopened.pop() {
            self.offer_worker(now, worker);
        }
    }

    /// When the pools are next to be looked after.
    pub(super) fn pools_deadline(&self) -> Option<Time> {
        self.pools.next_deadline().map(|due| due.max(self.pools_rest))
    }

    /// Something happened to the demand for a builder, which is for the pools that build it, if there are any.
    pub(super) fn tell_pools_of(
        &mut self,
        now: Time,
        builder: BuilderId,
        event: impl FnOnce(Vec<Arc<str>>) -> PoolEvent,
    ) {
        if let Some(pools) = self.builders.get(&builder).map(|builder| builder.pools.clone())
            && !pools.is_empty()
        {
            self.tell(now, event(pools));
        }
    }

    /// All pools, as they are now.
    pub fn pools(&self, now: Time) -> Vec<PoolStatus> {
        self.pools.status(now)
    }

    /// What the pools would do now, and why. Nothing is done.
    pub fn plan_pools(&self, now: Time) -> Vec<PoolPlan> {
        self.pools.plan(now, &self.demand())
    }

    /// An instance, also one that has gone lately.
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.pools.instance(id)
    }

    /// A build of a request was lost with its machine, or with its connection alone.
    pub(super) fn note_loss(&mut self, request: BuildRequestId, instance: InstanceId) {
        let Some(row) = self.pools.instance(instance) else { return };
        let loss = self.losses.entry(request).or_default();
        if is_taken(row) {
            loss.count(row);
        } else if row.state != State::Gone {
            loss.unsure.push(instance);
        }
    }

    /// How a machine went shows whether builds on it were lost to the market.
    fn settle_losses(&mut self, row: &Instance) {
        if row.state != State::Gone {
            return;
        }
        for loss in self.losses.values_mut().filter(|loss| loss.unsure.contains(&row.id)) {
            loss.unsure.retain(|id| *id != row.id);
            if is_taken(row) {
                loss.count(row);
            }
        }
    }
}

impl Loss {
    fn count(&mut self, row: &Instance) {
        self.times += 1;
        self.offering = Some(row.offering.as_str().into());
    }
}

/// Whether the market took a machine back.
fn is_taken(row: &Instance) -> bool {
    let drained = row.drain.as_ref().map(|drain| drain.code);
    let ended = row.ended.as_ref().map(|ended| ended.code);
    drained.into_iter().chain(ended).any(|code| code == ReasonCode::Interrupted)
}

/// The word for a code.
fn word(code: &impl serde::Serialize) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn instance_row(row: Instance, fence: u64) -> InstanceRow {
    InstanceRow {
        data: serde_json::to_value(&row).unwrap_or_default(),
        id: row.id,
        state: word(&row.state),
        slot: row.slot.number,
        pool: row.slot.pool,
        token: row.token.0,
        offering: row.offering,
        provider_id: row.provider_id,
        price: row.price,
        planned_at: row.planned_at,
        connected_at: row.connected_at,
        ended_at: row.ended_at,
        end_code: row.ended.map(|ended| word(&ended.code)),
        cost: row.cost,
        fence,
    }
}

#[cfg(test)]
impl Core {
    /// What must be true of the pools at any time is.
    #[track_caller]
    pub(super) fn check_pools(&self, now: Time) {
        if let Err(fault) = self.pools.check(now) {
            panic!("{fault}");
        }
        for (instance, id) in &self.instances {
            let worker = &self.workers[id];
            let place = worker.place.as_ref().expect("a slot");
            assert_eq!(place.instance, Some(*instance));
            let state = self.pools.instance(*instance).map(|row| row.state);
            let builds = worker.can_build();
            assert!(
                !builds || matches!(state, Some(State::Idle | State::Busy)),
                "{} may be given builds, and is {state:?}",
                worker.name
            );
        }
    }
}
