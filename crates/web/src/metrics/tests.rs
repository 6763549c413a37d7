use std::{collections::BTreeMap, time::Duration};

use engine::{
    core::{LinkStatus, WorkerStatus},
    master::Health,
};
use model::{WorkerId, pool::Budget, pool::Money};
use pools::{ReasonCode, State, pools::BreakerStatus, pools::Histogram, pools::Totals};

use super::*;

fn worker(id: i64, link: LinkStatus) -> WorkerStatus {
    WorkerStatus {
        id: WorkerId(id),
        name: format!("w{id}"),
        link,
        session: None,
        configured: true,
        paused: None,
        graceful: false,
        quarantined_until: None,
        max_builds: None,
        running: Vec::new(),
    }
}

/// As `pools` counts: seconds by bucket, and what is beyond the last one only in `count`.
fn histogram(seconds: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for seconds in seconds.iter().map(|seconds| Duration::from_secs(*seconds).as_secs_f64()) {
        let at = pools::pools::BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = histogram.counts.get_mut(at) {
            *count += 1;
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }
    histogram
}

fn pool(name: &str) -> PoolStatus {
    PoolStatus {
        name: name.to_owned(),
        max: 50,
        min: 1,
        wanted: 7,
        live: 5,
        by_state: BTreeMap::from([(State::Idle, 2), (State::Booting, 3)]),
        instances: Vec::new(),
        pending: 12,
        paused: None,
        scaled: None,
        owner: true,
        fence: Some(4),
        listed: true,
        removed: false,
        breaker: Some(BreakerStatus {
            since: Time::from_epoch_seconds(1),
            code: ReasonCode::Breaker,
            text: "too many boots fail".to_owned(),
        }),
        closed: Vec::new(),
        spend: pools::pools::Spend {
            hour_rate: Money::from_units(1.5),
            day: Money::from_units(20.25),
            month: Money::from_units(300.0),
        },
        budget: Budget { hour: Some(Money::from_units(2.0)), day: None, month: None },
        boot: pools::pools::BootStatus { p50_s: 61.5, p95_s: 120.0, samples: 9, connect_rate: 0.9 },
        idle_timeout_s: None,
        last: None,
        decisions: Vec::new(),
        totals: Totals {
            passes: 100,
            launches: BTreeMap::from([(ReasonCode::Demand, 40), (ReasonCode::MaxPrice, 2)]),
            ends: BTreeMap::from([(ReasonCode::IdleTimeout, 30)]),
            never_used: 3,
            guests: 1,
            refused: 6,
            lost_builds: 2,
            calls: BTreeMap::from([("launch", 9), ("list", 80)]),
            failed_calls: BTreeMap::from([("launch", 1)]),
            cost: Money::from_units(12.5),
            queue_wait: BTreeMap::from([
                ("high".to_owned(), histogram(&[0, 3])),
                ("normal".to_owned(), histogram(&[100, 9000])),
            ]),
            boot: histogram(&[60, 61]),
        },
    }
}

fn figures(pools: Vec<PoolStatus>) -> Figures {
    let mut workers = vec![worker(1, LinkStatus::Connected), worker(2, LinkStatus::Disconnected)];
    // A slot of a pool, and a worker that only looks like one.
    for (id, name) in [(3, "linux-3"), (4, "mac-mini")] {
        workers.push(WorkerStatus { name: name.to_owned(), ..worker(id, LinkStatus::Disconnected) });
    }
    Figures {
        version: "1.2.3",
        started_at: Time::from_epoch_seconds(1_700_000_000),
        health: Health::Good,
        turns: Turns { count: 4, took: Duration::from_millis(250) },
        status: Some(Status { workers, ..Status::default() }),
        pools,
    }
}

#[test]
fn every_figure_stands_where_users_look_for_it() {
    let text = page(&figures(vec![pool("linux"), pool("mac")]), Format::Text);
    let page = testkit::exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let check = |series: &str, expect: f64| assert_eq!(page.value(series), expect, "{series}");
    check("ganger_build_info{version=\"1.2.3\"}", 1.0);
    check("ganger_start_time_seconds", 1_700_000_000.0);
    check("ganger_database_up", 1.0);
    check("ganger_turns_total", 4.0);
    check("ganger_turn_seconds_total", 0.25);
    check("ganger_workers{state=\"connected\"}", 1.0);
    check("ganger_workers{state=\"connecting\"}", 0.0);
    check("ganger_workers{state=\"disconnected\"}", 2.0);
    check("ganger_builds_running", 0.0);
    check("ganger_requests_pending", 0.0);
    check("ganger_pool_wanted{pool=\"linux\"}", 7.0);
    check("ganger_pool_wanted{pool=\"mac\"}", 7.0);
    check("ganger_pool_instances{pool=\"linux\",state=\"booting\"}", 3.0);
    check("ganger_pool_instances{pool=\"linux\",state=\"busy\"}", 0.0);
    check("ganger_pool_requests_pending{pool=\"linux\"}", 12.0);
    check("ganger_pool_breaker_open{pool=\"linux\"}", 1.0);
    check("ganger_pool_paused{pool=\"linux\"}", 0.0);
    check("ganger_pool_lease_fence{pool=\"linux\"}", 4.0);
    check("ganger_pool_price_per_hour{pool=\"linux\"}", 1.5);
    check("ganger_pool_spent{pool=\"linux\",period=\"day\"}", 20.25);
    check("ganger_pool_budget{pool=\"linux\",period=\"hour\"}", 2.0);
    check("ganger_pool_boot_learned_seconds{pool=\"linux\",quantile=\"0.5\"}", 61.5);
    check("ganger_pool_connect_ratio{pool=\"linux\"}", 0.9);
    check("ganger_pool_idle_timeout_seconds{pool=\"linux\"}", f64::INFINITY);
    check("ganger_pool_passes_total{pool=\"linux\"}", 100.0);
    check("ganger_pool_launches_total{pool=\"linux\",reason=\"demand\"}", 40.0);
    check("ganger_pool_launches_total{pool=\"linux\",reason=\"max_price\"}", 2.0);
    check("ganger_pool_ends_total{pool=\"linux\",reason=\"idle_timeout\"}", 30.0);
    check("ganger_pool_never_used_total{pool=\"linux\"}", 3.0);
    check("ganger_pool_logins_refused_total{pool=\"linux\"}", 6.0);
    check("ganger_pool_provider_calls_total{pool=\"linux\",call=\"list\"}", 80.0);
    check("ganger_pool_provider_errors_total{pool=\"linux\",call=\"launch\"}", 1.0);
    check("ganger_pool_cost_total{pool=\"linux\"}", 12.5);
    check("ganger_pool_queue_wait_seconds_bucket{pool=\"linux\",class=\"high\",le=\"2.0\"}", 1.0);
    check("ganger_pool_queue_wait_seconds_bucket{pool=\"linux\",class=\"normal\",le=\"3600.0\"}", 1.0);
    check("ganger_pool_queue_wait_seconds_count{pool=\"linux\",class=\"normal\"}", 2.0);
    check("ganger_pool_queue_wait_seconds_sum{pool=\"linux\",class=\"normal\"}", 9100.0);
    check("ganger_pool_boot_seconds_bucket{pool=\"linux\",le=\"60.0\"}", 1.0);
    check("ganger_pool_boot_seconds_count{pool=\"mac\"}", 2.0);
    assert!(!page.values.contains_key("ganger_pool_budget{pool=\"linux\",period=\"day\"}"));
}

#[test]
fn a_master_without_pools_has_no_figures_of_pools() {
    let text = page(&figures(Vec::new()), Format::Text);
    let page = testkit::exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(page.values.keys().all(|series| !series.starts_with("ganger_pool")));
}

#[test]
fn a_database_that_does_not_answer_is_a_figure() {
    let figures = Figures { health: Health::Stalled, status: None, ..figures(Vec::new()) };
    let text = page(&figures, Format::Text);
    let page = testkit::exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(page.value("ganger_database_up"), 0.0);
    assert!(!page.values.contains_key("ganger_requests_pending"), "not zero: unknown");
}

#[test]
fn names_of_pools_and_classes_can_be_anything() {
    let text = page(&figures(vec![pool("a\"b\\c\nd é")]), Format::Text);
    let page = testkit::exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(page.value("ganger_pool_max{pool=\"a\\\"b\\\\c\\nd é\"}"), 50.0);
}
