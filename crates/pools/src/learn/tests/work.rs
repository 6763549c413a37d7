//! Builds and arrivals.

use model::BuilderId;

use super::*;

fn near(a: f64, b: f64, within: f64) -> bool {
    (a - b).abs() <= within
}

#[test]
fn the_normal_distribution_is_that_of_the_books() {
    let known = [
        (0.0, 0.5),
        (1.0, 0.841_345),
        (-1.0, 0.158_655),
        (1.645, 0.950_015),
        (3.0, 0.998_650),
        (-4.0, 3.167e-5),
    ];
    for (z, share) in known {
        assert!(near(jobs::normal(z), share, 2e-5), "{z}: {}", jobs::normal(z));
    }
    assert_eq!((jobs::normal(99.0), jobs::normal(-99.0)), (1.0, 0.0));
    assert!(jobs::normal(f64::NAN).is_finite());
}

#[test]
fn what_has_run_long_ends_soon_when_builds_hardly_differ() {
    let model = LogNormal { mu: 600_f64.ln(), sigma: 0.1, mean: 600.0 };
    // The median is at 600 s, one σ above it at 663 s.
    assert!(near(model.cdf(600.0), 0.5, 1e-3));
    assert!(near(model.cdf(663.1), 0.8413, 1e-3));
    assert!(near(model.ends_within(0.0, 600.0), 0.5, 1e-3));
    assert!(near(model.ends_within(600.0, 63.1), 0.6827, 2e-3));
    // Far beyond all experience: as if it ended in another such time.
    assert!(near(model.ends_within(6000.0, 120.0), 120.0 / 6120.0, 1e-9));
}

#[test]
fn a_builder_is_known_by_its_own_builds_and_at_first_by_the_others() {
    let mut jobs = Jobs::default();
    let prior = jobs.prior(&Durations::default());
    assert_eq!(jobs.model(BuilderId(1), &prior).mean, 600.0);
    jobs.took(BuilderId(1), secs(60));
    // One of its own, and three assumed.
    assert_eq!(jobs.model(BuilderId(1), &prior).mean, (60.0 + 3.0 * 600.0) / 4.0);
    for _ in 0..49 {
        jobs.took(BuilderId(1), secs(60));
    }
    assert!(jobs.model(BuilderId(1), &prior).mean < 100.0);
    assert!(jobs.model(BuilderId(2), &jobs.prior(&Durations::default())).mean < 100.0, "like all others");
    let mut pool = Durations::default();
    for _ in 0..50 {
        pool.took(secs(3000));
    }
    assert!(jobs.model(BuilderId(2), &jobs.prior(&pool)).mean > 2000.0, "like the others of its pool");
}

#[test]
fn only_the_last_fifty_builds_count() {
    let mut durations = Durations::default();
    for seconds in std::iter::repeat_n(10, 50).chain(std::iter::repeat_n(1000, 50)) {
        durations.took(secs(seconds));
    }
    let model = durations.model(&LogNormal { mu: 1000_f64.ln(), sigma: 0.1, mean: 1000.0 });
    assert!(near(model.mean, 1000.0, 1e-6) && near(model.mu.exp(), 1000.0, 1e-3));
    durations.took(Duration::ZERO);
    assert!(durations.model(&model).mu.is_finite());
}

#[test]
fn arrivals_are_those_of_five_minutes() {
    let mut arrivals = Arrivals::default();
    assert_eq!(arrivals.rate(NOW), 0.0);
    for at in [400, 290, 200, 100, 5] {
        arrivals.requested(ago(at), 1.0);
    }
    arrivals.requested(ago(5), 0.5);
    assert!(near(arrivals.rate(NOW), 4.5 / 300.0, 1e-9), "{}", arrivals.rate(NOW));
    assert_eq!(arrivals.rate(NOW + secs(400)), 0.0);
    // A clock that goes back loses nothing.
    arrivals.requested(ago(3600), 1.0);
    assert!(near(arrivals.rate(NOW), 5.5 / 300.0, 1e-9));
}
