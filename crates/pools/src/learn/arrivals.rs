//! How much work comes in.

use std::collections::VecDeque;

use model::Time;
use serde::{Deserialize, Serialize};

/// Arrivals are counted in steps of so many seconds.
const STEP: i64 = 10;
/// Steps that are remembered: five minutes.
const STEPS: usize = 30;
/// What one request in all these steps is in a second.
#[expect(clippy::cast_precision_loss, reason = "300")]
const EACH: f64 = 1.0 / (STEP * STEPS as i64) as f64;

/// How many requests came in lately: five minutes, in steps of ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arrivals {
    /// The newest last: which step, and how many.
    steps: VecDeque<(i64, f64)>,
}

impl Arrivals {
    /// A request came in. A builder of several pools counts in each of them with its `share`: one divided by their
    /// number.
    pub fn requested(&mut self, now: Time, share: f64) {
        let step = now.epoch_seconds().div_euclid(STEP);
        match self.steps.back_mut() {
            Some((last, count)) if *last >= step => *count += share,
            _ => self.steps.push_back((step, share)),
        }
        while self.steps.len() > STEPS {
            self.steps.pop_front();
        }
    }

    /// A request that came in at that time is none any more.
    pub fn withdrawn(&mut self, submitted_at: Time, share: f64) {
        let step = submitted_at.epoch_seconds().div_euclid(STEP);
        if let Some((_, count)) = self.steps.iter_mut().rev().find(|(other, _)| *other == step) {
            *count = (*count - share).max(0.0);
        }
    }

    /// Requests per second over the last five minutes.
    pub fn rate(&self, now: Time) -> f64 {
        self.steps
            .iter()
            .rev()
            .take_while(|(step, _)| counts(*step, now))
            .map(|(_, count)| count)
            .sum::<f64>()
            * EACH
    }

    /// What a request that came in at that time adds to the rate.
    pub fn part(now: Time, submitted_at: Time, share: f64) -> f64 {
        if counts(submitted_at.epoch_seconds().div_euclid(STEP), now) { share * EACH } else { 0.0 }
    }
}

/// Whether a step still counts.
fn counts(step: i64, now: Time) -> bool {
    step > now.epoch_seconds().div_euclid(STEP) - STEPS as i64
}
