//! A cloud that is not there: machines that boot, fail, are hard to get, cost money, and calls that go wrong.

mod bucket;
mod faults;
mod machine;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use model::{Time, pool::Money};

pub use self::{
    bucket::Buckets,
    faults::{Faults, ImageFault, Listing},
    machine::CloudMachine,
};
use super::random::Random;
use crate::{
    Capabilities, Market, Offering, ProviderError, Token,
    provider::{ApiBudget, ErrorKind, LaunchRequest, Launched, Look, Machine, MachineStatus, Quota},
};

/// What the cloud is like for one pool.
#[derive(Clone, Debug)]
pub struct CloudSpec {
    /// What can be bought.
    pub offerings: Vec<Offering>,
    /// The most machines in one call.
    pub batch: u32,
    /// Whether machines can be stopped.
    pub stops: bool,
    /// How fast calls may follow each other.
    pub api: ApiBudget,
    /// How long machines take to connect.
    pub boot: Boot,
    /// Of machines, the share that never connects.
    pub hang: f64,
    /// Of machines, the share that ends by itself while it boots.
    pub die: f64,
    /// How long a call takes.
    pub latency: Duration,
    /// How long a new machine is missing in listings.
    pub appears_after: Duration,
    /// How long one that has ended is still in listings.
    pub remembered_for: Duration,
}

/// How long machines take from the call until their worker connects.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Log-normal.
    LogNormal {
        /// Half of them take longer.
        median: Duration,
        /// How widely they differ.
        sigma: f64,
    },
    /// One of these, each as likely.
    Samples(Vec<Duration>),
}

/// An offering that costs a unit an hour, on demand.
pub fn plain_offering() -> Offering {
    Offering {
        name: "any".to_owned(),
        instance_type: "any".to_owned(),
        family: "any".to_owned(),
        market: Market::OnDemand,
        price: Money::from_units(1.0),
        bid: None,
        performance: 1.0,
        loss_per_hour: 0.0,
    }
}

impl Default for CloudSpec {
    /// One offering; boots log-normal with a median of 120 s and σ 0.35; 1 % never connects; EC2's buckets.
    fn default() -> Self {
        Self {
            offerings: vec![plain_offering()],
            batch: 1000,
            stops: false,
            api: ApiBudget::default(),
            boot: Boot::LogNormal { median: Duration::from_secs(120), sigma: 0.35 },
            hang: 0.01,
            die: 0.0,
            latency: Duration::from_secs(2),
            appears_after: Duration::from_secs(5),
            remembered_for: Duration::from_secs(600),
        }
    }
}

impl CloudSpec {
    /// What a provider would say of it.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            offerings: self.offerings.clone(),
            batch: self.batch,
            stops: self.stops,
            api: self.api,
            quota: None::<Quota>,
            image: None,
            look: Look::default(),
        }
    }
}

/// A call to launch.
#[derive(Clone, Debug)]
pub struct Ask {
    /// When.
    pub at: Time,
    /// The pool, by index.
    pub pool: usize,
    /// What was to be bought.
    pub offering: Arc<str>,
    /// The image.
    pub image: Arc<str>,
    /// How many machines were wanted.
    pub wanted: usize,
    /// How many there are.
    pub granted: usize,
}

/// The cloud.
#[derive(Debug)]
pub struct Cloud {
    /// What it is like for each pool.
    pub specs: Vec<CloudSpec>,
    /// What goes wrong.
    pub faults: Faults,
    /// All machines, also those that are gone. Their names are made from their index.
    pub machines: Vec<CloudMachine>,
    /// Calls of every kind.
    pub calls: u64,
    /// Calls to launch, all of them.
    pub asks: Vec<Ask>,
    /// Calls to launch that were turned away because there were too many.
    pub throttles: u64,
    /// For each pool, how many machines are live.
    pub live: Vec<u32>,
    /// Machines that have not been reported gone for long, for listings.
    recent: Vec<Vec<usize>>,
    buckets: Vec<Buckets>,
    tokens: HashMap<Token, Vec<usize>>,
    random: Random,
}

impl Cloud {
    /// A cloud without machines.
    pub fn new(specs: Vec<CloudSpec>, seed: u64) -> Self {
        Self {
            buckets: specs.iter().map(|spec| Buckets::new(spec.api)).collect(),
            live: vec![0; specs.len()],
            recent: vec![Vec::new(); specs.len()],
            specs,
            faults: Faults::default(),
            machines: Vec::new(),
            calls: 0,
            asks: Vec::new(),
            throttles: 0,
            tokens: HashMap::new(),
            random: Random::stream(seed, 3),
        }
    }

    /// Starts machines. Gives the answer, and the machines that are new.
    ///
    /// # Errors
    /// In the answer: what the faults make of the call.
    pub fn launch(
        &mut self,
        now: Time,
        pool: usize,
        request: &LaunchRequest,
    ) -> (Result<Launched, ProviderError>, Vec<usize>) {
        self.calls += 1;
        let (answer, new) = self.try_launch(now, pool, request);
        self.asks.push(Ask {
            at: now,
            pool,
            offering: request.offering.as_str().into(),
            image: request.image.as_str().into(),
            wanted: request.members.len(),
            granted: new.len(),
        });
        (answer, new)
    }

    fn try_launch(
        &mut self,
        now: Time,
        pool: usize,
        request: &LaunchRequest,
    ) -> (Result<Launched, ProviderError>, Vec<usize>) {
        if let Some(known) = self.tokens.get(&request.token) {
            let machines = known.iter().map(|index| self.describe(*index)).collect();
            return (Ok(Launched { machines, ..Launched::default() }), Vec::new());
        }
        let wanted = u32::try_from(request.members.len()).unwrap_or(u32::MAX);
        if self.faults.throttle || !self.buckets[pool].take(now, wanted) {
            self.throttles += 1;
            return (Err(error(ErrorKind::Throttled(None), "RequestLimitExceeded")), Vec::new());
        }
        if let Some(code) = &self.faults.config {
            return (Err(error(ErrorKind::Config, code)), Vec::new());
        }
        if self.random.chance(self.faults.call_lost) {
            return (Err(error(ErrorKind::Transport, "timeout")), Vec::new());
        }
        let Some(offering) =
            self.specs[pool].offerings.iter().find(|offering| offering.name == request.offering).cloned()
        else {
            return (Err(error(ErrorKind::Config, "InvalidParameterValue")), Vec::new());
        };
        if request.price_cap.is_some_and(|cap| cap < offering.price) {
            return (Err(error(ErrorKind::Capacity, "SpotMaxPriceTooLow")), Vec::new());
        }
        let count = |same: &dyn Fn(&CloudMachine) -> bool| {
            let live = self.machines.iter().filter(|machine| machine.is_live() && same(machine)).count();
            u32::try_from(live).unwrap_or(u32::MAX)
        };
        let capacity = self.faults.capacity.get(&offering.name).map_or(u32::MAX, |most| {
            most.saturating_sub(count(&|machine| *machine.offering == *offering.name))
        });
        let quota = self.faults.quota.get(&offering.family).map_or(u32::MAX, |most| {
            most.saturating_sub(count(&|machine| *machine.family == *offering.family))
        });
        let short = if quota < wanted && quota <= capacity {
            Some(error(ErrorKind::Quota(Some(format!("quota of {}", offering.family))), "VcpuLimitExceeded"))
        } else if capacity < wanted {
            Some(error(ErrorKind::Capacity, "InsufficientInstanceCapacity"))
        } else {
            None
        };
        let granted = wanted.min(capacity).min(quota);
        if let (0, Some(error)) = (granted, &short) {
            return (Err(error.clone()), Vec::new());
        }
        let new = self.start(now, pool, request, &offering, granted);
        self.tokens.insert(request.token.clone(), new.clone());
        if self.random.chance(self.faults.answer_lost) {
            return (Err(error(ErrorKind::Transport, "timeout")), new);
        }
        let machines = new.iter().map(|index| self.describe(*index)).collect();
        (Ok(Launched { machines, short, ..Launched::default() }), new)
    }

    fn start(
        &mut self,
        now: Time,
        pool: usize,
        request: &LaunchRequest,
        offering: &Offering,
        granted: u32,
    ) -> Vec<usize> {
        let (name, family): (Arc<str>, Arc<str>) =
            (offering.name.as_str().into(), offering.family.as_str().into());
        let mut new = Vec::new();
        for member in request.members.iter().take(granted as usize) {
            let (connects_at, dies) = self.boot(now, pool, &request.image);
            let index = self.machines.len();
            self.machines.push(CloudMachine {
                pool,
                member: member.instance,
                token: request.token.clone(),
                offering: name.clone(),
                family: family.clone(),
                price: offering.price,
                template: request.template.clone(),
                image: request.image.clone(),
                called_at: now,
                connects_at,
                dies,
                status: MachineStatus::Pending,
                ended_at: None,
                protected: false,
                used: false,
                busy: Duration::ZERO,
                running: (0, now),
                notice: None,
                ordered_end: false,
                boots: 1,
                stopped: (Duration::ZERO, None),
            });
            self.live[pool] += 1;
            self.recent[pool].push(index);
            new.push(index);
        }
        new
    }

    /// When a machine that boots now connects, if it does, and whether it ends by itself instead.
    pub fn boot(&mut self, now: Time, pool: usize, image: &str) -> (Option<Time>, bool) {
        let spec = &self.specs[pool];
        let seconds = match &spec.boot {
            Boot::LogNormal { median, sigma } => self.random.log_normal(median.as_secs_f64(), *sigma),
            Boot::Samples(samples) => {
                let index = self.random.below(samples.len());
                samples.get(index).map_or(0.0, Duration::as_secs_f64)
            }
        };
        let fate = self.random.unit();
        let broken = self.faults.images.get(image).is_some_and(|fault| fault.never_connects);
        let takes = Duration::from_secs_f64((seconds * self.faults.boot_factor).clamp(0.001, 1e7));
        if broken || fate < spec.hang {
            (None, false)
        } else if fate < spec.hang + spec.die {
            (Some(now + takes), true)
        } else {
            (Some(now + spec.latency + takes), false)
        }
    }

    /// All machines of a pool, as the faults show them.
    ///
    /// # Errors
    /// When the faults say so.
    pub fn list(&mut self, now: Time, pool: usize) -> Result<Vec<Machine>, ProviderError> {
        self.calls += 1;
        let remembered = self.specs[pool].remembered_for;
        let machines = &self.machines;
        self.recent[pool].retain(|index| {
            machines[*index].ended_at.is_none_or(|at| now.since(at) < remembered + Duration::from_secs(3600))
        });
        let as_of = match self.faults.listing {
            Listing::Fails => return Err(error(ErrorKind::Transport, "ServiceUnavailable")),
            Listing::Empty => return Ok(Vec::new()),
            Listing::Stale(age) => now - age,
            Listing::Complete | Listing::Partial(_) => now,
        };
        let mut found = Vec::new();
        for index in self.recent[pool].clone() {
            let machine = &self.machines[index];
            let visible = machine.called_at + self.specs[pool].appears_after <= as_of;
            let forgotten = machine.ended_at.is_some_and(|at| as_of.since(at) >= remembered);
            if !visible || forgotten {
                continue;
            }
            if let Listing::Partial(share) = self.faults.listing
                && !self.random.chance(share)
            {
                continue;
            }
            let mut described = self.describe(index);
            if self.machines[index].ended_at.is_some_and(|at| at > as_of) {
                described.status = MachineStatus::Running;
            }
            found.push(described);
        }
        Ok(found)
    }

    /// Asks for the end of a machine. Gives whether it was live.
    ///
    /// # Errors
    /// When the faults say so.
    pub fn terminate(&mut self, now: Time, index: usize) -> Result<bool, ProviderError> {
        self.calls += 1;
        if self.faults.throttle_terminate {
            return Err(error(ErrorKind::Throttled(None), "RequestLimitExceeded"));
        }
        if self.machines.get(index).is_some_and(|machine| machine.protected) {
            return Err(error(ErrorKind::Config, "OperationNotPermitted"));
        }
        Ok(self.end(now, index))
    }

    /// A machine is gone. Gives whether it was live.
    pub fn end(&mut self, now: Time, index: usize) -> bool {
        let Some(machine) = self.machines.get_mut(index).filter(|machine| machine.is_live()) else {
            return false;
        };
        if let Some(since) = machine.stopped.1.take() {
            machine.stopped.0 += now.since(since);
        } else {
            self.live[machine.pool] -= 1;
        }
        machine.ended_at = Some(now);
        machine.status = MachineStatus::Terminated;
        true
    }

    /// A machine stops. Gives whether it ran.
    pub fn stop(&mut self, now: Time, index: usize) -> bool {
        self.calls += 1;
        let Some(machine) = self.machines.get_mut(index).filter(|machine| machine.is_live()) else {
            return false;
        };
        if machine.stopped.1.is_some() {
            return false;
        }
        machine.stopped.1 = Some(now);
        machine.status = MachineStatus::Stopped;
        machine.connects_at = None;
        self.live[machine.pool] -= 1;
        true
    }

    /// A stopped machine boots again. Gives when it connects, if it does.
    pub fn resume(&mut self, now: Time, index: usize) -> Option<Time> {
        self.calls += 1;
        let machine = self.machines.get_mut(index).filter(|machine| machine.is_live())?;
        let since = machine.stopped.1.take()?;
        machine.stopped.0 += now.since(since);
        machine.status = MachineStatus::Pending;
        machine.boots += 1;
        let (pool, image) = (machine.pool, machine.image.clone());
        self.live[pool] += 1;
        // A machine that was there before starts in half the time.
        let connects_at = self.boot(now, pool, &image).0.map(|at| now + at.since(now) / 2);
        self.machines[index].connects_at = connects_at;
        connects_at
    }

    /// What a machine looks like to a client.
    pub fn describe(&self, index: usize) -> Machine {
        let machine = &self.machines[index];
        Machine {
            provider_id: CloudMachine::provider_id(index),
            token: Some(machine.token.clone()),
            member: Some(machine.member),
            offering: Some(machine.offering.to_string()),
            template: Some(machine.template.clone()),
            status: machine.status,
            launched_at: Some(Time::from_micros(machine.called_at.micros().saturating_add(self.faults.skew))),
            price: Some(machine.price),
            details: BTreeMap::new(),
        }
    }
}

fn error(kind: ErrorKind, code: &str) -> ProviderError {
    ProviderError { kind, code: code.to_owned(), text: "the fake cloud says so".to_owned() }
}
