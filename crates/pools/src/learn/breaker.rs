//! Stops buying machines that never come up.

use std::{collections::VecDeque, time::Duration};

use model::{InstanceId, Time};
use serde::{Deserialize, Serialize};

use crate::{ReasonCode, plan::Room};

/// Launches that are judged.
const WINDOW: usize = 20;
/// No verdict on fewer.
const LEAST: u32 = 5;
/// Launches that are remembered while their outcome is not known.
const REMEMBERED: usize = 4096;
/// What is configured is tried again so often after the provider refused it.
const PROBE: Duration = Duration::from_secs(300);

/// Watches launches in the order in which they were made, not in the order in which outcomes come to be known:
/// time-outs arrive in clusters, and a fifth of random failures would look like a broken image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    launches: VecDeque<Launched>,
    open: Option<Open>,
    refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Launched {
    id: InstanceId,
    at: Time,
    outcome: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    since: Time,
    successes: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Refused {
    since: Time,
    probed_at: Time,
    text: String,
}

/// The breaker opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// Whether it is open now.
    pub open: bool,
    /// Why, in a sentence without a full stop.
    pub text: String,
}

impl Breaker {
    /// A machine was asked for.
    pub fn launched(&mut self, id: InstanceId, at: Time) {
        self.launches.push_back(Launched { id, at, outcome: None });
        while self.launches.len() > REMEMBERED {
            self.launches.pop_front();
        }
    }

    /// Whether it is not known yet what became of a launch.
    pub fn awaits(&self, id: InstanceId) -> bool {
        self.launches.iter().rev().any(|launched| launched.id == id && launched.outcome.is_none())
    }

    /// A machine was connected, be it late.
    pub fn connected(&mut self, id: InstanceId) {
        if self.settle(id, true)
            && let Some(open) = &mut self.open
        {
            open.successes = open.successes.saturating_add(1);
        }
    }

    /// A machine died or was given up before it was connected.
    pub fn failed(&mut self, id: InstanceId) {
        self.settle(id, false);
    }

    /// A machine never was: the provider had none, or it was called off. That says nothing about boots.
    pub fn forget(&mut self, id: InstanceId) {
        self.launches.retain(|launched| launched.id != id);
    }

    /// Judges the last launches; those that are older than `suspect_age` have failed until they connect after all. To
    /// be called at each pass, and after each outcome.
    pub fn judge(&mut self, now: Time, suspect_age: Duration) -> Option<BreakerChange> {
        let all = self.tally(now, suspect_age, None);
        self.trim(now, suspect_age);
        match self.open {
            None if all.known >= LEAST && all.successes * 5 < all.known => {
                self.open = Some(Open { since: now, successes: 0 });
                let text = format!(
                    "{} of the last {} machines came up: only a few are tried until they do again",
                    all.successes, all.known
                );
                Some(BreakerChange { open: true, text })
            }
            Some(open) => {
                let since = self.tally(now, suspect_age, Some(open.since));
                let good = |tally: &Tally| tally.successes >= LEAST && tally.successes * 2 >= tally.known;
                if !good(&all) && !good(&since) {
                    return None;
                }
                // What was before must not open it again at once.
                self.launches.retain(|launched| launched.outcome != Some(false));
                self.open = None;
                Some(BreakerChange { open: false, text: "machines come up again".to_owned() })
            }
            None => None,
        }
    }

    /// Since when it is open, because machines do not come up or because the provider refuses what is configured.
    pub fn open_since(&self) -> Option<Time> {
        self.open.map(|open| open.since).or_else(|| self.refused.as_ref().map(|refused| refused.since))
    }

    /// Whether it is open because machines do not come up.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether so many of the last launches are late that boots may have become slower: patience is cheaper than
    /// ending machines that are about to connect.
    pub fn doubts(&self, now: Time, suspect_age: Duration) -> bool {
        let tally = self.tally(now, suspect_age, None);
        self.is_open() || (tally.known >= LEAST && tally.successes * 2 < tally.known)
    }

    /// The provider refuses what is configured.
    pub fn refused(&mut self, now: Time, text: &str) {
        let since = self.refused.as_ref().map_or(now, |refused| refused.since);
        self.refused = Some(Refused { since, probed_at: now, text: text.to_owned() });
    }

    /// The provider took a call, or the configuration has changed.
    pub fn accepted(&mut self) {
        self.refused = None;
    }

    /// How many more machines may be started, with so many `unproven` ones on their way (not yet suspect); `None` while
    /// it is closed.
    pub fn room(&self, now: Time, unproven: u32) -> Option<Room> {
        if let Some(refused) = &self.refused {
            let more = u32::from(now.since(refused.probed_at) >= PROBE).saturating_sub(unproven);
            let text = format!("the provider refuses what is configured: {}", refused.text);
            return Some(Room { code: ReasonCode::ConfigError, more, text });
        }
        let open = self.open?;
        let at_once = 2_u32 << open.successes.min(16);
        let text = format!("machines do not come up; at most {at_once} are tried at once");
        Some(Room { code: ReasonCode::Breaker, more: at_once.saturating_sub(unproven), text })
    }

    /// When the provider is asked again though it refused what is configured.
    pub fn next_probe(&self) -> Option<Time> {
        self.refused.as_ref().map(|refused| refused.probed_at + PROBE)
    }

    fn settle(&mut self, id: InstanceId, connected: bool) -> bool {
        match self.launches.iter_mut().rev().find(|launched| launched.id == id) {
            Some(launched) => {
                launched.outcome = Some(connected);
                true
            }
            None => false,
        }
    }

    fn tally(&self, now: Time, suspect_age: Duration, since: Option<Time>) -> Tally {
        let mut tally = Tally { known: 0, successes: 0 };
        for launched in self.launches.iter().rev() {
            if since.is_some_and(|since| launched.at < since) || tally.known >= WINDOW as u32 {
                break;
            }
            if let Some(connected) = launched.settled(now, suspect_age) {
                tally.known += 1;
                tally.successes += u32::from(connected);
            }
        }
        tally
    }

    /// Forgets launches that no verdict can need any more.
    fn trim(&mut self, now: Time, suspect_age: Duration) {
        let known = |launched: &Launched| launched.settled(now, suspect_age).is_some();
        // Twice the window: suspects that connect late change a verdict.
        let mut left = 2 * WINDOW;
        let keep = self.launches.iter().rev().take_while(|launched| {
            left -= usize::from(known(launched) && left > 0);
            left > 0
        });
        let keep = keep.count() + 1;
        while self.launches.len() > keep && self.launches.front().is_some_and(known) {
            self.launches.pop_front();
        }
    }
}

impl Launched {
    fn settled(&self, now: Time, suspect_age: Duration) -> Option<bool> {
        self.outcome.or_else(|| (now.since(self.at) > suspect_age).then_some(false))
    }
}

struct Tally {
    known: u32,
    successes: u32,
}
