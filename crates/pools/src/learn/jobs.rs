//! How long builds take.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::LazyLock,
    time::Duration,
};

use model::BuilderId;
use serde::{Deserialize, Serialize};

/// Builds of a builder, or of a pool, that are remembered.
const REMEMBERED: usize = 50;
/// What is assumed before anything is known counts like so many builds.
const PRIOR_WEIGHT: f64 = 3.0;
/// What is assumed when nothing at all is known: ten minutes, give or take a factor of about three.
const UNKNOWN: LogNormal = LogNormal { mu: 6.4, sigma: 1.0, mean: 600.0 };
/// Nothing takes less (seconds), as far as logarithms are concerned.
const SHORTEST: f64 = 0.01;

/// A distribution of times: their logarithms (of seconds) are normal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogNormal {
    /// The mean of the logarithms.
    pub mu: f64,
    /// Their standard deviation.
    pub sigma: f64,
    /// The mean of the times themselves, in seconds.
    pub mean: f64,
}

impl LogNormal {
    /// The share of times that are shorter than `seconds`.
    pub fn cdf(&self, seconds: f64) -> f64 {
        if seconds <= SHORTEST { 0.0 } else { normal((seconds.ln() - self.mu) / self.sigma) }
    }

    /// How likely it is that what has taken `elapsed` seconds ends within `horizon` more.
    pub fn ends_within(&self, elapsed: f64, horizon: f64) -> f64 {
        let before = self.cdf(elapsed);
        let left = 1.0 - before;
        // So late that the distribution says nothing any more: as if it ended in another such time.
        if left < 1e-4 {
            return horizon / (horizon + elapsed.max(SHORTEST));
        }
        ((self.cdf(elapsed + horizon) - before) / left).clamp(0.0, 1.0)
    }
}

/// The distribution function of the normal distribution, from a table: a plan asks for it thousands of times.
pub(crate) fn normal(z: f64) -> f64 {
    const STEPS: f64 = 64.0;
    static TABLE: LazyLock<Vec<f64>> =
        LazyLock::new(|| (0..=322).map(|i| upper_tail(f64::from(i) / STEPS)).collect());
    let at = z.abs() * STEPS;
    let tail = if at.is_nan() || at >= 320.0 {
        0.0
    } else {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 320")]
        let i = at as usize;
        #[expect(clippy::cast_precision_loss, reason = "a small integer")]
        let part = at - i as f64;
        match (TABLE.get(i), TABLE.get(i + 1)) {
            (Some(low), Some(high)) => low + (high - low) * part,
            _ => 0.0,
        }
    };
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// 1 − Φ(z) for z ≥ 0 (Abramowitz and Stegun, 26.2.17; the error is below 1e-7).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series
}

/// How long the last builds of something took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// Seconds, the newest last.
    last: VecDeque<f32>,
    sum: f64,
    sum_of_logs: f64,
    sum_of_squares: f64,
}

impl Durations {
    /// A build took so long.
    pub fn took(&mut self, duration: Duration) {
        self.last.push_back(duration.as_secs_f32());
        while self.last.len() > REMEMBERED {
            self.last.pop_front();
        }
        // From scratch, so that no error of rounding adds up.
        (self.sum, self.sum_of_logs, self.sum_of_squares) = (0.0, 0.0, 0.0);
        for seconds in &self.last {
            let seconds = f64::from(*seconds);
            let log = seconds.max(SHORTEST).ln();
            self.sum += seconds;
            self.sum_of_logs += log;
            self.sum_of_squares += log * log;
        }
    }

    /// How many are known (the last 50).
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Their distribution, with `prior` for what is not known yet.
    #[expect(clippy::cast_precision_loss, reason = "at most 50")]
    pub fn model(&self, prior: &LogNormal) -> LogNormal {
        if self.last.is_empty() {
            return *prior;
        }
        let n = self.last.len() as f64;
        let weight = n + PRIOR_WEIGHT;
        let mu = (self.sum_of_logs + PRIOR_WEIGHT * prior.mu) / weight;
        let squares = self.sum_of_squares + PRIOR_WEIGHT * (prior.sigma * prior.sigma + prior.mu * prior.mu);
        let sigma = (squares / weight - mu * mu).max(0.01).sqrt();
        LogNormal { mu, sigma, mean: (self.sum + PRIOR_WEIGHT * prior.mean) / weight }
    }
}

/// How long builds of each builder take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Jobs {
    builders: BTreeMap<BuilderId, Durations>,
    all: Durations,
}

impl Jobs {
    /// A build of a builder took so long.
    pub fn took(&mut self, builder: BuilderId, duration: Duration) {
        self.builders.entry(builder).or_default().took(duration);
        self.all.took(duration);
    }

    /// Nothing more is to be known of builders that are gone.
    pub fn retain(&mut self, keep: impl Fn(BuilderId) -> bool) {
        self.builders.retain(|builder, _| keep(*builder));
    }

    /// What to assume of a pool's builders before anything is known of them.
    pub fn prior(&self, pool: &Durations) -> LogNormal {
        pool.model(&self.all.model(&UNKNOWN))
    }

    /// How long builds of a builder take, with its pool's prior.
    pub fn model(&self, builder: BuilderId, prior: &LogNormal) -> LogNormal {
        self.builders.get(&builder).map_or(*prior, |durations| durations.model(prior))
    }
}
