//! Offerings that are sold out, dear, or taken back; quotas and budgets.

use std::time::Duration;

use model::pool::{Budget, Money};
use pools::{
    Market,
    sim::{Job, Ours, Setting, Simulation},
};

use crate::stage::{
    POOL, at, hours, jobs, offering, ours, pushes, secs, sound, with_cloud, with_pool, world,
};

const A: &str = "a/large/spot";
const B: &str = "b/large/spot";
const DEMAND: &str = "c/large/on-demand";

/// A pool that can buy in two places on the market, and on demand for more.
fn market(max: u32, jobs: Vec<Job>) -> Setting {
    let setting = with_cloud(world(max, jobs), |cloud| {
        cloud.offerings = vec![
            offering(A, Market::Spot, 0.3),
            offering(B, Market::Spot, 0.31),
            offering(DEMAND, Market::OnDemand, 1.0),
        ];
    });
    with_pool(setting, |pool| {
        for class in &mut pool.classes {
            class.on_demand_after = Some(secs(600));
        }
    })
}

fn bought(run: &Simulation<Ours>, name: &str) -> usize {
    run.cloud.machines.iter().filter(|machine| &*machine.offering == name).count()
}

#[test]
fn s07_what_is_sold_out_in_one_place_is_bought_in_the_next() {
    let mut run = ours(market(200, jobs(100, 0, 0, 1200)));
    run.cloud.faults.capacity.insert(A.to_owned(), 10);
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(bought(&run, A), 10);
    assert!(bought(&run, B) >= 90, "{} there", bought(&run, B));
    let first = run.cloud.asks.iter().find(|ask| &*ask.offering == B).unwrap();
    assert!(first.at <= at(10), "in the same pass, or when the answer was there");
    assert_eq!(bought(&run, DEMAND), 0, "nobody waits for so long");
}

#[test]
fn s07_nothing_is_asked_for_again_while_it_is_closed() {
    let mut run = ours(market(200, pushes(500, hours(6), 21)));
    for name in [A, B, DEMAND] {
        run.cloud.faults.capacity.insert(name.to_owned(), 0);
    }
    run.at(at(3 * 3600), |run| run.cloud.faults.capacity.clear());
    let outcome = run.run();
    sound(&outcome);
    for name in [A, B, DEMAND] {
        let asks: Vec<_> = run
            .cloud
            .asks
            .iter()
            .filter(|ask| &*ask.offering == name && ask.at < at(3 * 3600))
            .map(|ask| ask.at)
            .collect();
        // Calls that were under way when the first answer came are no new ones.
        let apart = asks.windows(2).map(|two| two[1].since(two[0])).filter(|apart| *apart > secs(2));
        let closest = apart.min();
        assert!(
            closest.is_none_or(|closest| closest >= secs(170)),
            "{name} was asked again after {closest:?}"
        );
        assert!(asks.len() <= 3 * 60 / 3 + 1, "{} times", asks.len());
    }
}

#[test]
fn s07_a_place_that_flaps_is_left_alone_for_longer() {
    let mut run = ours(market(200, pushes(1000, hours(12), 22)));
    for slice in 0..144 {
        run.at(at(slice * 300), move |run| {
            let most = if slice % 2 == 0 { 0 } else { 1000 };
            run.cloud.faults.capacity.insert(A.to_owned(), most);
        });
    }
    let outcome = run.run();
    sound(&outcome);
    let vain = run.cloud.asks.iter().filter(|ask| &*ask.offering == A && ask.granted == 0).count();
    assert!(vain <= 72 + 1, "asked {vain} times in vain");
}

#[test]
fn s07_on_demand_is_bought_only_after_the_wait_that_is_allowed() {
    let mut run = ours(market(200, jobs(20, 0, 0, 1200)));
    run.cloud.faults.capacity.extend([(A.to_owned(), 0), (B.to_owned(), 0)]);
    let outcome = run.run();
    sound(&outcome);
    let first = run.cloud.asks.iter().find(|ask| &*ask.offering == DEMAND).unwrap();
    assert!((at(600)..at(640)).contains(&first.at), "at {}", first.at);
    assert!(bought(&run, DEMAND) >= 20);
}

#[test]
fn s08_a_quota_closes_its_family_and_nothing_else() {
    let mut run = ours(market(200, jobs(100, 0, 0, 1200)));
    run.cloud.faults.quota.insert("a".to_owned(), 5);
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(bought(&run, A), 5);
    assert!(bought(&run, B) >= 95);
    let asks = run.cloud.asks.iter().filter(|ask| &*ask.offering == A).count();
    assert!(asks <= 5, "the family was asked {asks} times");
    let decisions = run.policy.database.decisions.as_ref().unwrap();
    let alerts = decisions.iter().filter(|decision| decision.text.contains("quota of a")).count();
    assert!(alerts >= 1, "people are told");
}

#[test]
fn s09_a_storm_loses_each_job_twice_at_most() {
    let setting = market(500, jobs(300, 0, 600, 3600));
    let mut run = ours(setting);
    // What is bought on the market is taken, again and again; what is not, is not.
    for time in 1..12 {
        run.at(at(time * 1500), |run| {
            let spot: Vec<usize> = (0..run.cloud.machines.len())
                .filter(|machine| &*run.cloud.machines[*machine].offering != DEMAND)
                .filter(|machine| run.cloud.machines[*machine].is_live() && machine % 5 < 3)
                .collect();
            for machine in spot {
                run.lose_machine(machine, "the market took it");
            }
        });
    }
    let outcome = run.run();
    sound(&outcome);
    let most = run.farm.requests().iter().map(|request| request.losses).max().unwrap();
    assert!(outcome.lost >= 100, "it was a storm: {} lost", outcome.lost);
    assert!(most <= 3, "one was lost {most} times");
    let often = run.farm.requests().iter().filter(|request| request.losses > 2).count();
    assert!(often <= 15, "{often} of 300 were lost more than twice");
}

fn notice(seconds: u64) -> (Simulation<Ours>, u32) {
    let mut run = ours(with_cloud(market(10, jobs(1, 0, 0, seconds)), |cloud| cloud.hang = 0.0));
    // Ten seconds after the build has begun, the machine has 90 s left.
    run.at(at(1), |run| {
        fn wait(run: &mut Simulation<Ours>) {
            let busy = run.connected().find(|(instance, _)| !run.farm.running_on(*instance).is_empty());
            let later = run.now() + Duration::from_secs(10);
            match busy {
                Some((_, machine)) => run.give_notice(machine, secs(90)),
                None => run.at(later, wait),
            }
        }
        wait(run);
    });
    let outcome = run.run();
    sound(&outcome);
    let losses = run.farm.requests()[0].losses;
    (run, losses)
}

#[test]
fn s10_after_a_notice_short_builds_end_and_long_ones_are_built_elsewhere() {
    let (run, losses) = notice(60);
    assert_eq!((losses, run.lost), (0, 0), "60 s fit");
    let (run, losses) = notice(600);
    assert_eq!((losses, run.lost), (1, 1), "10 min do not");
    // Its successor was started before the machine was gone.
    let first = &run.cloud.machines[0];
    assert!(run.cloud.machines[1].called_at < first.ended_at.unwrap());
}

#[test]
fn s26_a_budget_binds_in_the_middle_of_a_burst() {
    let budget = Budget { hour: Some(Money::from_units(50.0)), ..Budget::default() };
    let mut run = ours(with_pool(world(1000, jobs(300, 0, 60, 1800)), |pool| pool.budget = budget));
    for second in (0..6000).step_by(20) {
        run.at(at(second), |run| assert!(run.cloud.live[0] <= 50, "{} machines", run.cloud.live[0]));
    }
    let outcome = run.run();
    sound(&outcome);
    assert!(outcome.peak <= 50);
}

#[test]
fn s26_a_price_that_rises_twentyfold_is_not_paid_beyond_the_budget() {
    let budget = Budget {
        hour: Some(Money::from_units(50.0)),
        day: Some(Money::from_units(100.0)),
        ..Budget::default()
    };
    let setting = with_pool(world(1000, jobs(2000, 0, 4 * 3600, 1800)), |pool| pool.budget = budget);
    let mut setting = setting;
    setting.end = Some(at(23 * 3600));
    let mut run = ours(setting);
    run.at(at(1800), |run| {
        let mut dear = run.cloud.specs[0].capabilities();
        dear.offerings[0].price = Money::from_units(20.0);
        run.cloud.specs[0].offerings[0].price = Money::from_units(20.0);
        let now = run.clock();
        let batch = run.policy.offer(now, POOL, dear);
        run.apply(batch);
    });
    let outcome = run.run();
    assert_eq!(outcome.violations, Vec::<String>::new());
    let live = run.cloud.machines.iter().map(|machine| machine.price.units()).fold(0.0, f64::max);
    assert!(outcome.cost <= 100.0 + 50.0, "{} were spent, and a machine costs {live} an hour", outcome.cost);
}
