//! How much work comes in.

use std::collections::VecDeque;

use model::Time;
use serde::{Deserialize, Serialize};

/// Arrivals are counted in steps of so many seconds.
const STEP: i64 = 10;
/// Steps that are remembered: five minutes.
const STEPS: usize = 30;

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

    /// Requests per second over the last five minutes.
    #[expect(clippy::cast_precision_loss, reason = "300")]
    pub fn rate(&self, now: Time) -> f64 {
        let from = now.epoch_seconds().div_euclid(STEP) - STEPS as i64;
        let count: f64 =
            self.steps.iter().rev().take_while(|(step, _)| *step > from).map(|(_, count)| count).sum();
        count / (STEP * STEPS as i64) as f64
    }
}
