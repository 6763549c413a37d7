//! What the proxy knows beyond moto.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{Bucket, Call, Fault, Harm, Market, Settings};
use crate::ec2::{moto::Answer, query::Query, xml::Element};

/// An answer that is no success.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    pub(super) fn capacity(kind: &str, zone: &str) -> Self {
        let message = format!(
            "We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone})."
        );
        Self::new(500, "InsufficientInstanceCapacity", message)
    }

    pub(super) fn unknown(instance: &str) -> Self {
        let message = format!("The instance ID '{instance}' does not exist");
        Self::new(400, "InvalidInstanceID.NotFound", message)
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::new(500, "InternalError", format!("{error:#}"))
    }
}

/// A call with a token: what it asked for and what it was answered. Locked while it is under way.
pub(super) type Tokened = Arc<Mutex<Option<(Query, Answer)>>>;

/// A machine that was launched here.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) zone: String,
    pub(super) kind: String,
    pub(super) market: Market,
    pub(super) vcpus: usize,
    pub(super) token: String,
    pub(super) spot_request: Option<String>,
    pub(super) launched: Instant,
    pub(super) ended: Option<Instant>,
    /// Code and message, when nobody asked for its end.
    pub(super) reason: Option<(String, String)>,
}

#[derive(Debug)]
pub(super) struct World {
    start: Instant,
    pub(super) settings: Settings,
    pub(super) faults: Vec<Fault>,
    pub(super) calls: Vec<Call>,
    pub(super) tokens: HashMap<(String, String, String), Tokened>,
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) consoles: HashMap<String, String>,
    levels: HashMap<String, (f64, Instant)>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            settings: Settings::default(),
            faults: Vec::new(),
            calls: Vec::new(),
            tokens: HashMap::new(),
            machines: BTreeMap::new(),
            consoles: HashMap::new(),
            levels: HashMap::new(),
        }
    }

    /// Writes a call down; gives back its number.
    pub(super) fn log(&mut self, query: &Query) -> usize {
        let at = self.start.elapsed();
        let action = query.get("Action").to_owned();
        self.calls.push(Call { at, action, parameters: query.0.clone(), outcome: String::new() });
        self.calls.len() - 1
    }

    pub(super) fn outcome(&mut self, call: usize, outcome: &str) {
        if let Some(call) = self.calls.get_mut(call) {
            call.outcome = outcome.to_owned();
        }
    }

    /// The fault that a call meets, which is used up by it.
    pub(super) fn fault(&mut self, query: &Query) -> Option<Fault> {
        let meets = |fault: &Fault| {
            (fault.action == "*" || fault.action == query.get("Action"))
                && fault.parameters.iter().all(|(name, value)| query.get(name) == value)
        };
        let found = self.faults.iter().position(|fault| fault.times > 0 && meets(fault))?;
        self.faults[found].times -= 1;
        let mut fault = self.faults[found].clone();
        if fault.times == 0 {
            self.faults.remove(found);
        }
        fault.after |= fault.harm == Harm::Truncate;
        Some(fault)
    }

    /// Takes tokens from a bucket, where there is one.
    pub(super) fn take(&mut self, name: &str, count: usize) -> Result<(), Refusal> {
        let Some(&Bucket { size, refill }) = self.settings.buckets.get(name) else { return Ok(()) };
        let now = Instant::now();
        let (level, at) = self.levels.get(name).copied().unwrap_or((size, now));
        let level = (now.duration_since(at).as_secs_f64() * refill + level).min(size);
        let wanted = count as f64;
        let left = if level < wanted { level } else { level - wanted };
        self.levels.insert(name.to_owned(), (left, now));
        if level < wanted {
            return Err(Refusal::new(503, "RequestLimitExceeded", "Request limit exceeded."));
        }
        Ok(())
    }

    /// How many more machines a place has.
    pub(super) fn room(&self, zone: &str, kind: &str, market: Market) -> usize {
        let here = |machine: &&Machine| {
            machine.ended.is_none()
                && machine.zone == zone
                && machine.kind == kind
                && machine.market == market
        };
        let limit = self
            .settings
            .capacity
            .iter()
            .find(|place| place.zone == zone && place.kind == kind && place.market == market);
        limit.map_or(usize::MAX, |limit| {
            limit.machines.saturating_sub(self.machines.values().filter(here).count())
        })
    }

    /// How many more machines with so many processors the quota lets in.
    pub(super) fn quota(&self, market: Market, vcpus: usize) -> usize {
        let Some(&limit) = self.settings.vcpus.get(&market) else { return usize::MAX };
        let running =
            self.machines.values().filter(|machine| machine.ended.is_none() && machine.market == market);
        let used: usize = running.map(|machine| machine.vcpus).sum();
        limit.saturating_sub(used) / vcpus.max(1)
    }

    /// Whether nobody knows of the machine yet.
    pub(super) fn is_invisible(&self, instance: &str) -> bool {
        self.machines
            .get(instance)
            .is_some_and(|machine| machine.launched.elapsed() < self.settings.invisible)
    }

    /// Whether the machine ended so long ago that it is forgotten.
    pub(super) fn is_forgotten(&self, instance: &str) -> bool {
        let ended = self.machines.get(instance).and_then(|machine| machine.ended);
        ended.zip(self.settings.listed_after_end).is_some_and(|(ended, kept)| ended.elapsed() > kept)
    }

    pub(super) fn end(&mut self, instance: &str, reason: Option<(String, String)>) {
        if let Some(machine) = self.machines.get_mut(instance) {
            machine.ended.get_or_insert_with(Instant::now);
            if machine.reason.is_none() {
                machine.reason = reason;
            }
        }
    }

    /// Corrects what moto says of an instance.
    pub(super) fn correct(&self, instance: &mut Element) {
        let id = instance.get("instanceId").to_owned();
        let Some(machine) = self.machines.get(&id) else { return };
        let lasts = |since: Instant, time: Duration| since.elapsed() < time;
        let state = match machine.ended {
            Some(ended) if lasts(ended, self.settings.shutting_down) => Some((32, "shutting-down")),
            Some(_) => Some((48, "terminated")),
            None if lasts(machine.launched, self.settings.pending) => Some((0, "pending")),
            None => None,
        };
        if let Some((code, name)) = state {
            instance.put(Element::with(
                "instanceState",
                vec![Element::leaf("code", code.to_string()), Element::leaf("name", name)],
            ));
        }
        instance.set("clientToken", &machine.token);
        if let Some(request) = &machine.spot_request {
            instance.set("spotInstanceRequestId", request);
        }
        if let Some((code, message)) = &machine.reason {
            instance.put(Element::with(
                "stateReason",
                vec![Element::leaf("code", code), Element::leaf("message", message)],
            ));
        }
    }
}
