//! A pool with what is counted of it as it changes, so that no event looks at all of its instances.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use model::{
    BuildId, InstanceId, Time,
    pool::{Budget, Idle, Money, PoolSpec, Warm},
};

use super::{PoolState, Reason, Totals, books::Books, bucket::Bucket, entry::Entry, slots::Slots};
use crate::{Capabilities, Decision, Offering, ReasonCode, State, learn::BootTimes, plan::Running};

/// Instances that are gone and still known, of one pool.
pub(super) const GONE_KEPT: usize = 200;
/// Decisions that are still known, of one pool.
pub(super) const DECISIONS_KEPT: usize = 200;

/// A pool.
#[derive(Debug)]
pub(super) struct Pool {
    /// What is configured.
    pub(super) spec: Arc<PoolSpec>,
    /// The image that is configured, by the name that the provider found for it; empty until it has.
    pub(super) image: String,
    /// Whether it is no longer in the configuration.
    pub(super) removed: bool,
    /// What somebody decided, and what was learned.
    pub(super) state: PoolState,
    /// Whether `state` has changed since it was written.
    pub(super) unsaved: bool,
    /// When `state` was last written.
    pub(super) saved_at: Option<Time>,
    /// Whether this master has it.
    pub(super) lease: Lease,
    /// Comparing the ledger with the provider.
    pub(super) listing: Listing,
    /// What the provider sells, once it has said so.
    pub(super) capabilities: Option<Capabilities>,
    /// Machines asked for since the provider said what its quota allows.
    pub(super) asked: u32,
    /// Calls to launch.
    pub(super) calls: Bucket,
    /// Machines in calls to launch.
    pub(super) machines: Bucket,
    /// Calls to end machines: a lane of their own, so that nothing lives longer because much is started.
    pub(super) ends: Bucket,
    /// Refused logins that are worth a line each.
    pub(super) refusals: Bucket,

    /// All that are not gone.
    pub(super) members: BTreeSet<InstanceId>,
    counts: [u32; State::Gone as usize + 1],
    live: u32,
    rate: Money,
    /// Numbers of slots.
    pub(super) slots: Slots,
    /// By the provider's name.
    pub(super) by_provider_id: BTreeMap<String, InstanceId>,
    /// Those in state `Idle`, by the time since when.
    pub(super) idle: BTreeSet<(Time, InstanceId)>,
    /// Those on their way.
    pub(super) coming: BTreeSet<InstanceId>,
    /// Those in state `Busy`.
    pub(super) busy: BTreeSet<InstanceId>,
    /// Those that have builds which their market will not let end.
    pub(super) endangered: BTreeSet<InstanceId>,
    /// Those that the dispatcher gives no builds for a reason of its own.
    pub(super) withheld: BTreeSet<InstanceId>,
    /// Those in state `Lost`.
    pub(super) lost: BTreeSet<InstanceId>,
    /// Those in state `Stopped`.
    pub(super) stopped: BTreeSet<InstanceId>,
    /// Builds on those in state `Busy`.
    pub(super) running: Vec<Running>,
    /// Whose they are.
    pub(super) running_of: Vec<(InstanceId, BuildId)>,
    /// How many more than its maximum it was found with, and has not shed yet: the most that may be live.
    pub(super) allowance: u32,
    /// The same for the sum of hourly prices.
    pub(super) rate_allowance: Money,
    /// Those that are gone, the last ones.
    pub(super) gone: VecDeque<InstanceId>,

    /// What ended ones have cost.
    pub(super) books: Books,
    /// The books as they were written last.
    pub(super) written: Books,
    /// The last decisions.
    pub(super) decisions: VecDeque<Decision>,
    /// What the last pass said that it could not do, to say it once.
    pub(super) denied: BTreeSet<ReasonCode>,
    /// What the last pass came to.
    pub(super) last: Option<Reason>,
    /// How many requests that is said of.
    pub(super) said_of: usize,
    /// What the last pass wanted.
    pub(super) wanted: u32,
    /// The minimum at the last pass.
    pub(super) min: u32,
    /// Machines kept ready at the last pass.
    pub(super) warm: u32,
    /// How long machines without work were kept at the last pass.
    pub(super) idle_timeout: Option<Duration>,
    /// Requests that waited at the last pass.
    pub(super) pending: u32,
    /// Whether the difference between the provider's clock and ours was told.
    pub(super) skew_told: bool,
    /// Counts.
    pub(super) totals: Totals,
}

/// Whether this master has a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lease {
    /// The number of the lease that it has.
    pub(super) fence: Option<u64>,
    /// The number of the lease that it has or had last.
    pub(super) last: Option<u64>,
    /// Whether another master had the pool when its rows were read: it goes on writing them.
    pub(super) others: bool,
    /// Whether another master had the pool in between: the ledger in memory is not the one in the tables any more.
    pub(super) stale: bool,
}

/// Comparing the ledger with the provider.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Whether a listing was complete since the start, or somebody knows that there is nothing to be found.
    pub(super) complete: bool,
    /// When the next one is due.
    pub(super) due: Option<Time>,
    /// When the one that is not answered yet was asked for.
    pub(super) asked: Option<Time>,
    /// Until when it is looked for machines though none is known.
    pub(super) until: Option<Time>,
    /// How many failed in a row.
    pub(super) failed: u32,
    /// What the last failure was.
    pub(super) error: Option<String>,
    /// Machines that no row knows, by the provider's name.
    pub(super) unknown: BTreeMap<String, Sighting>,
}

/// A machine that no row knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    /// When a listing that had it was first asked for.
    pub(super) first: Time,
    /// When it was last asked to go.
    pub(super) reaped: Option<Time>,
}

impl Pool {
    /// An empty one.
    pub(super) fn new(spec: Arc<PoolSpec>, state: PoolState, now: Time) -> Self {
        let api = crate::provider::ApiBudget::default();
        let mut pool = Self {
            spec,
            image: String::new(),
            removed: false,
            state: PoolState::default(),
            unsaved: false,
            saved_at: None,
            lease: Lease::default(),
            listing: Listing::default(),
            capabilities: None,
            asked: 0,
            calls: Bucket::new(api.calls, api.calls_per_second, now),
            machines: Bucket::new(api.instances, api.instances_per_second, now),
            ends: Bucket::new(100, 5.0, now),
            refusals: Bucket::new(10, 0.1, now),
            members: BTreeSet::new(),
            counts: [0; State::Gone as usize + 1],
            live: 0,
            rate: Money::default(),
            slots: Slots::default(),
            by_provider_id: BTreeMap::new(),
            idle: BTreeSet::new(),
            coming: BTreeSet::new(),
            busy: BTreeSet::new(),
            endangered: BTreeSet::new(),
            withheld: BTreeSet::new(),
            lost: BTreeSet::new(),
            stopped: BTreeSet::new(),
            running: Vec::new(),
            running_of: Vec::new(),
            allowance: 0,
            rate_allowance: Money::default(),
            gone: VecDeque::new(),
            books: Books::default(),
            written: Books::default(),
            decisions: VecDeque::new(),
            denied: BTreeSet::new(),
            last: None,
            said_of: 0,
            wanted: 0,
            min: 0,
            warm: 0,
            idle_timeout: None,
            pending: 0,
            skew_told: false,
            totals: Totals::default(),
        };
        pool.resume(state);
        pool.set_image(pool.spec.image.clone());
        pool
    }

    /// Machines are to boot this image from now on. One that nobody has found yet changes nothing.
    pub(super) fn set_image(&mut self, image: String) {
        if !image.is_empty() {
            self.state.learned.canary.configured(&image);
            self.image = image;
        }
    }

    /// Goes on from what was kept.
    pub(super) fn resume(&mut self, state: PoolState) {
        self.books = state.books.unwrap_or_default();
        self.written = self.books;
        self.state = state;
        if self.spec.image.is_empty() {
            // Until the provider says what its image is now, machines of the last one are as wanted as they were.
            let canary = &self.state.learned.canary;
            let last = canary.trial().or_else(|| canary.rejected()).or_else(|| canary.proven());
            self.image = last.unwrap_or_default().to_owned();
        }
    }

    /// One for rows whose pool nobody configured: nothing is started, and what is there goes.
    pub(super) fn unconfigured(name: &str, now: Time) -> Self {
        let spec = PoolSpec {
            name: name.to_owned(),
            max: 0,
            min: 0,
            warm: Warm::Fixed(0),
            schedule: Vec::new(),
            classes: vec![model::pool::Class {
                name: "default".to_owned(),
                from: i64::MIN,
                lambda: 1.0,
                on_demand_after: None,
                overflow: 0,
                reserve: false,
            }],
            max_builds: None,
            idle: Idle::Derived,
            boot_timeout: None,
            builds_per_instance: None,
            max_age: None,
            max_hold: Duration::from_secs(24 * 3600),
            forecast: false,
            budget: Budget::default(),
            weight: std::num::NonZeroU32::MIN,
            stopped: None,
            billing: model::pool::Billing::Second,
            image: String::new(),
            template: String::new(),
            max_price: None,
            enrolls: false,
        };
        Self { removed: true, ..Self::new(Arc::new(spec), PoolState::default(), now) }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether the provider may be asked to start or end anything.
    pub(super) fn owned(&self) -> bool {
        self.lease.fence.is_some() && !self.lease.stale
    }

    /// How many are in a state.
    pub(super) fn count(&self, state: State) -> u32 {
        self.counts[state as usize]
    }

    /// How many count towards the maximum.
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// The sum of the hourly prices of what is live.
    pub(super) fn rate(&self) -> Money {
        self.rate
    }

    /// The most that may be live, whatever the class of requests.
    pub(super) fn max_with_overflow(&self) -> u32 {
        let overflow = self.spec.classes.iter().map(|class| class.overflow).max().unwrap_or(0);
        self.spec.max.saturating_add(overflow)
    }

    /// What an instance counts for, from now on.
    pub(super) fn count_in(&mut self, entry: &Entry) {
        let (id, state) = (entry.id(), entry.state());
        self.counts[state as usize] += 1;
        self.live += u32::from(entry.is_live());
        if entry.costs() {
            self.rate.0 = self.rate.0.saturating_add(entry.row.price.0);
        }
        match state {
            State::Planned | State::Requested | State::Booting | State::ReadyCheck => {
                self.coming.insert(id);
            }
            State::Idle => {
                self.idle.insert((entry.row.since, id));
            }
            State::Busy => {
                self.busy.insert(id);
            }
            State::Lost => {
                self.lost.insert(id);
            }
            State::Stopped => {
                self.stopped.insert(id);
            }
            _ => {}
        }
    }

    /// What an instance counted for.
    pub(super) fn count_out(&mut self, entry: &Entry) {
        let (id, state) = (entry.id(), entry.state());
        self.counts[state as usize] -= 1;
        self.live -= u32::from(entry.is_live());
        if entry.costs() {
            self.rate.0 = self.rate.0.saturating_sub(entry.row.price.0);
        }
        self.coming.remove(&id);
        self.idle.remove(&(entry.row.since, id));
        self.busy.remove(&id);
        self.lost.remove(&id);
        self.stopped.remove(&id);
    }

    /// What is for sale under a name.
    pub(super) fn offering(&self, name: &str) -> Option<&Offering> {
        self.capabilities.as_ref()?.offerings.iter().find(|offering| offering.name == name)
    }

    /// How long machines of an instance's kind take.
    pub(super) fn boot_times(&self, entry: &Entry) -> BootTimes {
        self.state.learned.boots.times(&entry.row.image, &entry.row.offering)
    }

    /// Whether an instance was made from what is no longer wanted. While a new image is tried, the machines of the
    /// previous one are the good ones; when it was given up, those of that image are the bad ones, and no others.
    pub(super) fn is_outdated(&self, entry: &Entry) -> bool {
        let canary = &self.state.learned.canary;
        if entry.is_guest() || self.removed {
            return false;
        }
        match (canary.trial(), canary.rejected()) {
            (Some(_), _) => false,
            (None, Some(bad)) => entry.row.image == bad,
            (None, None) => entry.row.template != self.spec.template || entry.row.image != self.image,
        }
    }

    /// What is said of an instance that is outdated.
    pub(super) fn why_outdated(&self, entry: &Entry) -> String {
        if self.state.learned.canary.rejected() == Some(entry.row.image.as_str()) {
            format!("its image {} is bad", entry.row.image)
        } else {
            "it was made from an old template".to_owned()
        }
    }

    /// A decision, for those who ask what it was.
    pub(super) fn remember(&mut self, decision: Decision) {
        self.decisions.push_back(decision);
        while self.decisions.len() > DECISIONS_KEPT {
            self.decisions.pop_front();
        }
    }
}
