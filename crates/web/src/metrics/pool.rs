//! Figures of each pool.

use model::pool::Money;
use pools::{
    PoolStatus, State,
    pools::{BOUNDS, Histogram},
};

use super::{number, truth, word};
use crate::exposition::{Page, whole};

/// The states that an instance is counted in, all of them, so that none is missing while it is empty.
const STATES: [State; 14] = [
    State::Planned,
    State::Requested,
    State::Booting,
    State::Suspect,
    State::ReadyCheck,
    State::Idle,
    State::Busy,
    State::Draining,
    State::Stopping,
    State::Stopped,
    State::Lost,
    State::Quarantined,
    State::Held,
    State::Terminating,
];

pub(super) fn put(page: &mut Page, pools: &[PoolStatus]) {
    sizes(page, pools);
    conditions(page, pools);
    money(page, pools);
    learned(page, pools);
    totals(page, pools);
    histograms(page, pools);
}

/// One figure for each pool that has one.
fn gauge(
    page: &mut Page,
    pools: &[PoolStatus],
    name: &'static str,
    help: &'static str,
    value: impl Fn(&PoolStatus) -> Option<f64>,
) {
    let mut family = page.gauge(name, help);
    for pool in pools {
        if let Some(value) = value(pool) {
            family.put(&[("pool", &pool.name)], value);
        }
    }
}

fn sizes(page: &mut Page, pools: &[PoolStatus]) {
    let mut of = |name, help, value: fn(&PoolStatus) -> u32| {
        gauge(page, pools, name, help, |pool| Some(f64::from(value(pool))));
    };
    of("ganger_pool_max", "How many instances there may be.", |pool| pool.max);
    of("ganger_pool_min", "How many instances there are at least, now.", |pool| pool.min);
    of("ganger_pool_wanted", "How many instances the last pass wanted.", |pool| pool.wanted);
    of("ganger_pool_live", "Instances that count towards the maximum.", |pool| pool.live);
    of("ganger_pool_requests_pending", "Build requests that wait for it, at the last pass.", |pool| {
        pool.pending
    });
    let mut states = page.gauge("ganger_pool_instances", "Instances by state.");
    for pool in pools {
        for state in STATES {
            let count = pool.by_state.get(&state).copied().unwrap_or(0);
            states.put(&[("pool", &pool.name), ("state", state.name())], f64::from(count));
        }
    }
}

fn conditions(page: &mut Page, pools: &[PoolStatus]) {
    let mut of = |name, help, value: fn(&PoolStatus) -> bool| {
        gauge(page, pools, name, help, |pool| Some(truth(value(pool))));
    };
    of("ganger_pool_owner", "Whether this master has the pool's lease, and so decides about it.", |pool| {
        pool.owner
    });
    of(
        "ganger_pool_listed",
        "Whether the provider has listed its machines since the start; nothing is launched before.",
        |pool| pool.listed,
    );
    of("ganger_pool_paused", "Whether somebody paused it.", |pool| pool.paused.is_some());
    of(
        "ganger_pool_breaker_open",
        "Whether next to nothing is launched because machines fail to boot or the provider refuses what is configured.",
        |pool| pool.breaker.is_some(),
    );
    gauge(page, pools, "ganger_pool_lease_fence", "The number of the lease that this master has.", |pool| {
        pool.fence.map(whole)
    });
    gauge(page, pools, "ganger_pool_offerings_closed", "Offerings that are not bought for now.", |pool| {
        Some(number(pool.closed.len()))
    });
}

fn money(page: &mut Page, pools: &[PoolStatus]) {
    let mut of = |name, help, value: fn(&PoolStatus) -> Money| {
        gauge(page, pools, name, help, |pool| Some(value(pool).units()));
    };
    of(
        "ganger_pool_price_per_hour",
        "What an hour of all live instances costs, in the currency of the prices.",
        |pool| pool.spend.hour_rate,
    );
    let mut spent =
        page.gauge("ganger_pool_spent", "What was spent in this day and this month so far (UTC).");
    for pool in pools {
        for (period, money) in [("day", pool.spend.day), ("month", pool.spend.month)] {
            spent.put(&[("pool", &pool.name), ("period", period)], money.units());
        }
    }
    let mut budgets = page.gauge("ganger_pool_budget", "What may be spent in an hour, a day and a month.");
    for pool in pools {
        let budget = &pool.budget;
        for (period, money) in [("hour", budget.hour), ("day", budget.day), ("month", budget.month)] {
            if let Some(money) = money {
                budgets.put(&[("pool", &pool.name), ("period", period)], money.units());
            }
        }
    }
}

fn learned(page: &mut Page, pools: &[PoolStatus]) {
    let mut quantiles = page.gauge(
        "ganger_pool_boot_learned_seconds",
        "The time from the call to the connection that is reckoned with.",
    );
    for pool in pools {
        for (quantile, seconds) in [("0.5", pool.boot.p50_s), ("0.95", pool.boot.p95_s)] {
            quantiles.put(&[("pool", &pool.name), ("quantile", quantile)], seconds);
        }
    }
    gauge(page, pools, "ganger_pool_boot_samples", "From how many boots that is known.", |pool| {
        Some(f64::from(pool.boot.samples))
    });
    gauge(page, pools, "ganger_pool_connect_ratio", "The share of machines that connect at all.", |pool| {
        Some(pool.boot.connect_rate)
    });
    gauge(
        page,
        pools,
        "ganger_pool_idle_timeout_seconds",
        "How long an instance without work is kept.",
        |pool| Some(pool.idle_timeout_s.unwrap_or(f64::INFINITY)),
    );
}

fn totals(page: &mut Page, pools: &[PoolStatus]) {
    let mut launches =
        page.counter("ganger_pool_launches", "Instances that the provider was asked for, by the reason.");
    for pool in pools {
        for (reason, count) in &pool.totals.launches {
            launches.put(&[("pool", &pool.name), ("reason", &word(reason))], whole(*count));
        }
    }
    let mut ends = page.counter("ganger_pool_ends", "Instances that ended, by the reason.");
    for pool in pools {
        for (reason, count) in &pool.totals.ends {
            ends.put(&[("pool", &pool.name), ("reason", &word(reason))], whole(*count));
        }
    }
    let mut counter = |name, help, value: fn(&PoolStatus) -> f64| {
        let mut family = page.counter(name, help);
        for pool in pools {
            family.put(&[("pool", &pool.name)], value(pool));
        }
    };
    counter("ganger_pool_passes", "How often it was planned.", |pool| whole(pool.totals.passes));
    counter("ganger_pool_never_used", "Instances that ended without having built anything.", |pool| {
        whole(pool.totals.never_used)
    });
    counter("ganger_pool_guests", "Machines started by somebody else that were let in.", |pool| {
        whole(pool.totals.guests)
    });
    counter("ganger_pool_logins_refused", "Logins that were refused.", |pool| whole(pool.totals.refused));
    counter("ganger_pool_builds_lost", "Builds that were lost with their machine.", |pool| {
        whole(pool.totals.lost_builds)
    });
    counter(
        "ganger_pool_cost",
        "What instances that are gone have cost, in the currency of the prices.",
        |pool| pool.totals.cost.units(),
    );
    let mut calls = page.counter("ganger_pool_provider_calls", "Calls to the provider, by what was asked.");
    for pool in pools {
        for (call, count) in &pool.totals.calls {
            calls.put(&[("pool", &pool.name), ("call", call)], whole(*count));
        }
    }
    let mut errors = page.counter("ganger_pool_provider_errors", "Calls that failed, by what was asked.");
    for pool in pools {
        for (call, count) in &pool.totals.failed_calls {
            errors.put(&[("pool", &pool.name), ("call", call)], whole(*count));
        }
    }
}

fn histograms(page: &mut Page, pools: &[PoolStatus]) {
    let mut waits = page.histogram(
        "ganger_pool_queue_wait_seconds",
        "How long requests waited until their build began, by the class of their priority.",
    );
    for pool in pools {
        for (class, histogram) in &pool.totals.queue_wait {
            waits.put_histogram(
                &[("pool", &pool.name), ("class", class)],
                &BOUNDS,
                &counts(histogram),
                histogram.sum,
            );
        }
    }
    let mut boots = page
        .histogram("ganger_pool_boot_seconds", "How long instances took from the call to the connection.");
    for pool in pools {
        let boot = &pool.totals.boot;
        boots.put_histogram(&[("pool", &pool.name)], &BOUNDS, &counts(boot), boot.sum);
    }
}

/// All buckets, the one beyond the last bound included.
fn counts(histogram: &Histogram) -> Vec<u64> {
    let inside: u64 = histogram.counts.iter().sum();
    histogram.counts.iter().copied().chain([histogram.count.saturating_sub(inside)]).collect()
}
