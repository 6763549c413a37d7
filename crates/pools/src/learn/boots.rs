//! How long machines take from the call until they are connected.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use model::Time;
use serde::{Deserialize, Serialize};

use super::jobs::normal;

/// Boots of a kind that are remembered.
const REMEMBERED: usize = 200;
/// Boots of a kind that are remembered with those whose fellows are still on their way.
const AT_MOST: usize = 1000;
/// The last ones, which show whether something has changed.
const RECENT: usize = 20;
/// From so many on a kind is known by itself.
const KNOWN: usize = 5;
/// Outcomes that are remembered.
const OUTCOMES: u32 = 100;
/// Kinds (image and offering) that are remembered.
const KINDS: usize = 256;
/// What is assumed at first (seconds).
const PRIOR_P50: f64 = 120.0;
/// What is assumed at first of the spread of the logarithms.
const PRIOR_SIGMA: f64 = 0.35;
/// The distance from the median to the 95 % quantile of the normal distribution.
const Z95: f64 = 1.645;
/// A machine that is late is expected after this share of the usual time.
const LATE: f64 = 0.15;

/// How long machines of one kind take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BootTimes {
    /// Half of them take no longer (seconds).
    pub p50: f64,
    /// 19 of 20 take no longer (seconds).
    pub p95: f64,
    /// How many boots this is known from; of all kinds of the pool together when this kind is not known by itself.
    pub samples: u32,
    /// The share that connects at all.
    pub connect_rate: f64,
}

impl Default for BootTimes {
    fn default() -> Self {
        Self { p50: PRIOR_P50, p95: PRIOR_P50 * (Z95 * PRIOR_SIGMA).exp(), samples: 0, connect_rate: 0.99 }
    }
}

impl BootTimes {
    /// The age from which a machine counts no more (`Suspect`).
    pub fn suspect_age(&self) -> Duration {
        Duration::from_secs_f64((1.5 * self.p95).max(2.0 * self.p50).clamp(1.0, 1800.0))
    }

    /// The age at which a machine that is not connected is given up; `patient` while the breaker is open
    /// ([`crate::learn::Breaker::is_open`]) or something seems to have changed ([`crate::learn::Breaker::doubts`]).
    pub fn timeout(&self, patient: bool) -> Duration {
        let learned = Duration::from_secs_f64((3.0 * self.p95).clamp(300.0, 1800.0));
        let patience = Duration::from_secs(1200);
        if patient || self.samples < 5 { learned.max(patience) } else { learned }
    }

    /// In how many seconds a machine of this age (seconds) is expected, if it comes.
    pub fn expected_in(&self, age: f64) -> f64 {
        (self.p50 - age).max(LATE * self.p50)
    }

    /// The age (seconds) at which it is as likely that a machine never connects as that it still does. Never before half
    /// of those that connect have: else, where most never do, one after the other would be started in vain for the same
    /// request.
    pub fn doubtful_age(&self) -> f64 {
        // w = qS / (1 − q + qS) ≥ ½ where S ≥ (1 − q) / q. S falls from 1 to 0.
        let (q, sigma) = (self.connect_rate, self.sigma());
        let least = (1.0 - q) / q.max(1e-9);
        if least >= 0.5 {
            return self.p50;
        }
        let (mut low, mut high) = (-5.0, 5.0);
        for _ in 0..24 {
            let middle = f64::midpoint(low, high);
            if 1.0 - normal(middle) >= least { low = middle } else { high = middle }
        }
        (self.p50 * (low * sigma).exp()).min(self.suspect_age().as_secs_f64())
    }

    fn sigma(&self) -> f64 {
        ((self.p95 / self.p50.max(1e-3)).ln() / Z95).clamp(0.05, 2.0)
    }
}

/// The last boots of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Kind {
    /// When each was asked for and how many milliseconds it took; the one that was asked for last is last.
    last: VecDeque<(Time, u32)>,
    p50: f64,
    p95: f64,
}

impl Kind {
    fn took(&mut self, now: Time, took: Duration) {
        let asked = now - took;
        let millis = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        let at = self.last.partition_point(|(other, took)| order(*other, *took) <= order(asked, millis));
        self.last.insert(at, (asked, millis));
        // Of many that are asked for at once the fast ones are known first, and the slow ones last: only those count
        // whose fellows have all had their time.
        let settled = BootTimes { p50: self.p50, p95: self.p95, ..BootTimes::default() }.suspect_age();
        let mut known = self.last.partition_point(|(asked, _)| now.since(*asked) >= settled);
        while known > REMEMBERED || self.last.len() > AT_MOST {
            self.last.pop_front();
            known = known.saturating_sub(1);
        }
        let known = if known < KNOWN { self.last.len() } else { known };
        let mut all: Vec<u32> = self.last.iter().take(known).map(|(_, took)| *took).collect();
        let mut recent: Vec<u32> = all.iter().rev().take(RECENT).copied().collect();
        all.sort_unstable();
        recent.sort_unstable();
        let change = quantile(&recent, 0.5) / quantile(&all, 0.5).max(1e-3);
        // Seven standard errors for boots that spread as usual: an image, a region or the weather has changed, and what
        // was before says nothing any more.
        if known > RECENT && !(0.5..=2.0).contains(&change) {
            self.last.drain(..known - RECENT);
            all.clone_from(&recent);
        }
        self.p50 = quantile(&all, 0.5);
        // While boots become slower, only the recent ones show it.
        self.p95 = quantile(&all, 0.95).max(quantile(&recent, 0.9));
    }
}

/// The order of boots: as they were asked for; those that were asked for at about the same time in no order of theirs,
/// so that the slow ones of a large number are not the last ones.
fn order(asked: Time, millis: u32) -> (i64, u32) {
    (asked.epoch_seconds().div_euclid(10), millis.reverse_bits())
}

/// Seconds from sorted milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index within a short list"
)]
fn quantile(sorted: &[u32], q: f64) -> f64 {
    if sorted.is_empty() {
        return 0.0;
    }
    let at = q * (sorted.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let value = |i: usize| f64::from(sorted[i.min(sorted.len() - 1)]) / 1e3;
    value(low) * (1.0 - part) + value(low + 1) * part
}

/// How long a pool's machines take, by image and offering.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Boots {
    /// By image, then by offering.
    kinds: BTreeMap<String, BTreeMap<String, Kind>>,
    all: Kind,
    /// Whether machines connected at all, by when they were asked for; the newest last.
    cohorts: VecDeque<Cohort>,
}

/// Machines that were asked for at about the same time. Of those that never connect it is known much later than of the
/// others: counted by when that is, a burst of failures would follow a burst of boots, and neither be the share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cohort {
    /// Which ten minutes.
    asked: i64,
    connected: u32,
    failed: u32,
}

impl Cohort {
    fn of(asked: Time) -> Self {
        Self { asked: asked.epoch_seconds().div_euclid(600), connected: 0, failed: 0 }
    }

    fn len(self) -> u32 {
        self.connected.saturating_add(self.failed)
    }
}

impl Boots {
    /// A machine is connected now, so long after it was asked for.
    pub fn connected(&mut self, now: Time, image: &str, offering: &str, took: Duration) {
        self.cohort(now - took, |cohort| cohort.connected = cohort.connected.saturating_add(1));
        self.all.took(now, took);
        if !self.kinds.contains_key(image) {
            // Old images are not booted any more.
            while self.kinds.values().map(BTreeMap::len).sum::<usize>() >= KINDS {
                self.forget_oldest();
            }
        }
        self.kinds
            .entry(image.to_owned())
            .or_default()
            .entry(offering.to_owned())
            .or_default()
            .took(now, took);
    }

    /// A machine that was asked for at that time was given up before it was connected.
    pub fn failed(&mut self, asked: Time) {
        self.cohort(asked, |cohort| cohort.failed = cohort.failed.saturating_add(1));
    }

    /// How long machines of a kind take: by themselves, else those of the pool, else what is assumed at first.
    pub fn times(&self, image: &str, offering: &str) -> BootTimes {
        let kind = self.kinds.get(image).and_then(|offerings| offerings.get(offering));
        let kind = kind.filter(|kind| kind.last.len() >= KNOWN).unwrap_or(&self.all);
        self.known(kind)
    }

    /// How long the pool's machines take, of whatever kind.
    pub fn pooled(&self) -> BootTimes {
        self.known(&self.all)
    }

    /// The share of machines that connect at all.
    pub fn connect_rate(&self) -> f64 {
        let connected: u32 = self.cohorts.iter().map(|cohort| cohort.connected).sum();
        let known: u32 = self.cohorts.iter().map(|cohort| cohort.len()).sum();
        (f64::from(connected) + 9.9) / (f64::from(known) + 10.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 5")]
    fn known(&self, kind: &Kind) -> BootTimes {
        let first = BootTimes::default();
        let connect_rate = self.connect_rate();
        let n = kind.last.len();
        if n >= KNOWN {
            let samples = u32::try_from(n).unwrap_or(u32::MAX);
            return BootTimes { p50: kind.p50, p95: kind.p95.max(kind.p50 * 1.05), samples, connect_rate };
        }
        // A few are better than none: between what is assumed and what they say.
        let share = n as f64 / KNOWN as f64;
        let between = |assumed: f64, seen: f64| {
            if n == 0 { assumed } else { assumed.powf(1.0 - share) * seen.max(0.01).powf(share) }
        };
        let p50 = between(first.p50, kind.p50);
        let p95 = between(first.p95, kind.p95).max(p50 * 1.2);
        BootTimes { p50, p95, samples: u32::try_from(n).unwrap_or(u32::MAX), connect_rate }
    }

    /// Forgets the image that was booted last the longest ago.
    fn forget_oldest(&mut self) {
        let last = |offerings: &BTreeMap<String, Kind>| {
            offerings.values().filter_map(|kind| kind.last.iter().map(|(asked, _)| *asked).max()).max()
        };
        let oldest = self.kinds.iter().min_by_key(|(_, offerings)| last(offerings));
        if let Some(oldest) = oldest.map(|(image, _)| image.clone()) {
            self.kinds.remove(&oldest);
        }
    }

    fn cohort(&mut self, asked: Time, count: impl FnOnce(&mut Cohort)) {
        let new = Cohort::of(asked);
        let at = self.cohorts.partition_point(|cohort| cohort.asked < new.asked);
        if self.cohorts.get(at).is_none_or(|cohort| cohort.asked != new.asked) {
            self.cohorts.insert(at, new);
        }
        if let Some(cohort) = self.cohorts.get_mut(at) {
            count(cohort);
        }
        // As many of the newest as it takes.
        let mut known: u32 = self.cohorts.iter().map(|cohort| cohort.len()).sum();
        while let Some(oldest) = self.cohorts.front()
            && (known - oldest.len() >= OUTCOMES || self.cohorts.len() > OUTCOMES as usize)
        {
            known -= oldest.len();
            self.cohorts.pop_front();
        }
    }
}
