//! Where nothing is to be had for now, and how often the market takes machines back.

use std::{collections::BTreeMap, time::Duration};

use model::Time;
use serde::{Deserialize, Serialize};

use crate::{Offering, ReasonCode};

/// An offering without capacity is left alone for so long at first.
const FIRST: Duration = Duration::from_secs(180);
/// And for so long at most.
const LONGEST: Duration = Duration::from_secs(1800);
/// A family whose quota is used up is left alone for so long.
const FAMILY: Duration = Duration::from_secs(600);
/// What the provider says about losses counts like so many hours of our own.
const PRIOR_HOURS: f64 = 50.0;
/// Offerings that are remembered.
const REMEMBERED: usize = 512;

/// What is known about what is for sale.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Offerings {
    offerings: BTreeMap<String, Memory>,
    /// How often something was noted about any of them.
    notes: u64,
    families: BTreeMap<String, FamilyClosed>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    closed_until: Option<Time>,
    /// For how long it is closed the next time; zero is as at first.
    next: Duration,
    hours: f64,
    losses: f64,
    /// [`Offerings::notes`] when something was last noted about it.
    noted: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FamilyClosed {
    until: Time,
    quota: Option<String>,
}

/// Something that is not bought for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Closed {
    /// The offering, or the family when its quota is used up.
    pub name: String,
    /// Until when.
    pub until: Time,
    /// Why.
    pub code: ReasonCode,
}

impl Offerings {
    /// The provider has none of it: closed for 3 minutes, and twice as long each time up to 30.
    pub fn unavailable(&mut self, now: Time, offering: &str) {
        let memory = self.memory(offering);
        let pause = memory.next.max(FIRST);
        memory.closed_until = Some(now + pause);
        memory.next = (pause * 2).min(LONGEST);
    }

    /// The provider had some of it: the next time it has none, it is closed for half as long.
    pub fn available(&mut self, offering: &str) {
        if let Some(memory) = self.offerings.get_mut(offering) {
            memory.closed_until = None;
            memory.next /= 2;
        }
    }

    /// A quota is used up: the whole family is closed for 10 minutes. Tells whether that is news.
    pub fn quota(&mut self, now: Time, family: &str, quota: Option<&str>) -> bool {
        if self.families.len() >= REMEMBERED {
            self.families.retain(|_, closed| closed.until > now);
        }
        let closed = FamilyClosed { until: now + FAMILY, quota: quota.map(str::to_owned) };
        // One alarm while it goes on: it is news again when a probe in between succeeded, which removes it.
        self.families.insert(family.to_owned(), closed).is_none()
    }

    /// A machine of the family was had: its quota is no longer used up.
    pub fn quota_free(&mut self, family: &str) {
        self.families.remove(family);
    }

    /// A machine ran for so long, and was lost to the market or not.
    pub fn ran(&mut self, offering: &str, time: Duration, lost: bool) {
        let memory = self.memory(offering);
        memory.hours += time.as_secs_f64() / 3600.0;
        memory.losses += f64::from(u8::from(lost));
        // The market's weather changes: what was long ago fades.
        if memory.hours > 10.0 * PRIOR_HOURS {
            memory.hours /= 2.0;
            memory.losses /= 2.0;
        }
    }

    /// How many times per hour a machine of it is lost: what the provider says, and what happened.
    pub fn losses_per_hour(&self, offering: &Offering) -> f64 {
        let said = offering.loss_per_hour.max(0.0);
        match self.offerings.get(&offering.name) {
            Some(memory) => (said * PRIOR_HOURS + memory.losses) / (PRIOR_HOURS + memory.hours),
            None => said,
        }
    }

    /// Until when it is not bought, and why; `None` when it is.
    pub fn closed_until(&self, now: Time, offering: &Offering) -> Option<(Time, ReasonCode)> {
        let family = self.families.get(&offering.family).map(|closed| (closed.until, ReasonCode::Quota));
        let own = self.offerings.get(&offering.name).and_then(|memory| memory.closed_until);
        let own = own.map(|until| (until, ReasonCode::NoCapacity));
        family.into_iter().chain(own).filter(|(until, _)| *until > now).max_by_key(|(until, _)| *until)
    }

    /// The name of a family's quota that is used up, when the provider said it.
    pub fn quota_of(&self, family: &str) -> Option<&str> {
        self.families.get(family)?.quota.as_deref()
    }

    /// All that is not bought for now.
    pub fn closed(&self, now: Time) -> Vec<Closed> {
        let own = self.offerings.iter().filter_map(|(name, memory)| {
            memory.closed_until.map(|until| Closed {
                name: name.clone(),
                until,
                code: ReasonCode::NoCapacity,
            })
        });
        let families = self.families.iter().map(|(name, closed)| Closed {
            name: name.clone(),
            until: closed.until,
            code: ReasonCode::Quota,
        });
        own.chain(families).filter(|closed| closed.until > now).collect()
    }

    fn memory(&mut self, offering: &str) -> &mut Memory {
        if self.offerings.len() >= REMEMBERED && !self.offerings.contains_key(offering) {
            let oldest = self.offerings.iter().min_by_key(|(_, memory)| memory.noted);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.offerings.remove(&oldest);
            }
        }
        self.notes += 1;
        let memory = self.offerings.entry(offering.to_owned()).or_default();
        memory.noted = self.notes;
        memory
    }
}
