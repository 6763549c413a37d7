//! The balance of what ends and what comes in while a machine boots.
//!
//! Nobody is promised the place of a build that is about to end: what has not arrived yet wants it as well. Only what
//! ends beyond what comes in is counted on.

use model::{BuilderId, Time};

use crate::{
    Demand,
    learn::{Arrivals, Jobs, LogNormal},
    plan::View,
};

/// Builds that take less than this share of a boot are short, and those that take longer than a boot are long.
const SHORT: f64 = 0.5;

/// Ends and arrivals within the time that a machine takes to boot.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// Builds that are expected to end.
    pub(super) ends: f64,
    /// Requests that are expected.
    arrivals: f64,
    /// Of what came in lately, as much as no machine can help, in as much time.
    helpless: f64,
    now: Time,
    /// The time that is looked at: that of a boot (seconds).
    horizon: f64,
    /// How long builds of the pool take (seconds).
    mean: f64,
    /// Of the ends, those of each builder (by its index); empty when nobody asks.
    by_builder: Vec<f64>,
}

impl Flow {
    /// For one of so many pools. `indices` gives the builders' indices when the ends of each builder are asked for.
    pub(super) fn new(
        now: Time,
        view: &View<'_>,
        demand: &Demand,
        durations: &mut Expected<'_>,
        horizon: f64,
        served: &dyn Fn(usize) -> bool,
        indices: Option<&[(BuilderId, usize)]>,
    ) -> Self {
        let mut by_builder = vec![0.0; if indices.is_some() { demand.builders.len() } else { 0 }];
        let mut ends = 0.0;
        let mut index = (None, None);
        for running in view.supply.running {
            let chance = durations.model(running.builder).ends_within(seconds(now, running.since), horizon);
            ends += chance;
            if let Some(indices) = indices {
                if index.0 != Some(running.builder) {
                    index = (Some(running.builder), index_of(indices, running.builder));
                }
                if let Some(ends) = index.1.and_then(|index: usize| by_builder.get_mut(index)) {
                    *ends += chance;
                }
            }
        }
        // What ordinary workers finish takes requests off the pools' hands.
        for worker in &demand.elsewhere {
            if !worker.builders.iter().any(|builder| served(*builder)) {
                continue;
            }
            for (builder, since) in &worker.running {
                let model = match builder.and_then(|builder| demand.builders.get(builder)) {
                    Some(builder) => durations.model(builder.id),
                    None => durations.prior,
                };
                ends += model.ends_within(seconds(now, *since), horizon);
            }
        }
        let arrivals = view.learned.arrivals.rate(now) * horizon;
        Self { ends, arrivals, helpless: 0.0, now, horizon, mean: durations.prior.mean, by_builder }
    }

    /// A request of one or more pools cannot be helped by a machine: nor are others like it expected to be.
    pub(super) fn leave_out(&mut self, submitted_at: Time, pools: usize) {
        let share = 1.0 / f64::from(u32::try_from(pools).unwrap_or(u32::MAX).max(1));
        self.helpless += Arrivals::part(self.now, submitted_at, share) * self.horizon;
    }

    /// Requests that are expected beyond what ends, as far as machines can help them.
    pub(super) fn missing(&self) -> f64 {
        (self.arrivals - self.helpless - self.ends).max(0.0)
    }

    /// Places that become free beyond what is going to be asked for.
    pub(super) fn soon(&self) -> u32 {
        if self.is_short() { whole(self.ends - self.taken()) } else { 0 }
    }

    /// Of those, the ones that a builder's own builds leave.
    pub(super) fn soon_of(&self, builder: usize) -> u32 {
        let own = self.by_builder.get(builder).copied().unwrap_or(0.0);
        if self.is_short() && self.ends > 0.0 { whole(own * (1.0 - self.taken() / self.ends)) } else { 0 }
    }

    /// Whether builds take much less than a boot. Only then is the balance counted on: a place is free again and again
    /// before a machine could be there. Of longer builds it is so uncertain that to wait for it costs more than the
    /// machine.
    pub(super) fn is_short(&self) -> bool {
        self.mean < SHORT * self.horizon
    }

    /// Whether builds take longer than a boot: only for those machines are started ahead. Others are done before more
    /// machines could be there.
    pub(super) fn is_long(&self) -> bool {
        self.mean >= self.horizon
    }

    /// Places that arrivals take: short builds do not take theirs for the whole time.
    fn taken(&self) -> f64 {
        self.arrivals * (self.mean / self.horizon.max(1e-3)).min(1.0)
    }
}

/// How long builds take, for one plan: the last builder is asked for again and again.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    jobs: &'a Jobs,
    pub(super) prior: LogNormal,
    last: Option<(BuilderId, LogNormal)>,
}

impl<'a> Expected<'a> {
    pub(super) fn new(jobs: &'a Jobs, prior: LogNormal) -> Self {
        Self { jobs, prior, last: None }
    }

    pub(super) fn model(&mut self, builder: BuilderId) -> LogNormal {
        match self.last {
            Some((last, model)) if last == builder => model,
            _ => {
                let model = self.jobs.model(builder, &self.prior);
                self.last = Some((builder, model));
                model
            }
        }
    }
}

/// Builders and their indices, by builder.
pub(super) fn indices(demand: &Demand) -> Vec<(BuilderId, usize)> {
    let mut indices: Vec<_> =
        demand.builders.iter().enumerate().map(|(index, builder)| (builder.id, index)).collect();
    indices.sort_unstable();
    indices
}

pub(super) fn index_of(indices: &[(BuilderId, usize)], builder: BuilderId) -> Option<usize> {
    let at = indices.binary_search_by_key(&builder, |(builder, _)| *builder).ok()?;
    indices.get(at).map(|(_, index)| *index)
}

/// Seconds that have passed.
#[expect(clippy::cast_precision_loss, reason = "microseconds of some days")]
pub(super) fn seconds(now: Time, since: Time) -> f64 {
    now.micros().saturating_sub(since.micros()).max(0) as f64 / 1e6
}

/// Rounded down, not below zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
pub(super) fn whole(number: f64) -> u32 {
    number.max(0.0) as u32
}
