//! Boots, and whether machines come up at all.

use super::*;

/// Boots between 100 and 140 s.
fn usual(boots: &mut Boots, count: u64, factor: u64) {
    for n in 0..count {
        boots.connected(NOW, "image", "large", secs((100 + n * 13 % 41) * factor));
    }
}

#[test]
fn at_first_a_boot_takes_two_minutes() {
    let times = Boots::default().pooled();
    assert_eq!((times.p50, times.samples), (120.0, 0));
    assert!((times.p95 - 213.4).abs() < 0.5);
    assert_eq!(times.suspect_age().as_secs(), 320);
    assert_eq!(times.timeout(false), secs(1200), "nothing is known");
    assert!(times.connect_rate > 0.98);
}

#[test]
fn quantiles_are_those_of_the_kind_when_five_are_known_and_of_the_pool_before() {
    let mut boots = Boots::default();
    usual(&mut boots, 50, 1);
    for _ in 0..4 {
        boots.connected(NOW, "image", "slow", secs(1000));
    }
    assert!(boots.times("image", "slow").p50 < 141.0);
    boots.connected(NOW, "image", "slow", secs(1000));
    assert_eq!(boots.times("image", "slow").p50, 1000.0);
    let times = boots.times("image", "large");
    assert!((118.0..=122.0).contains(&times.p50) && (136.0..=140.0).contains(&times.p95), "{times:?}");
    assert!((times.timeout(false).as_secs_f64() - 3.0 * times.p95).abs() < 1e-6);
    assert!(boots.times("new-image", "large").samples > 5, "like the pool");
}

#[test]
fn a_few_boots_move_what_is_assumed() {
    let mut boots = Boots::default();
    boots.connected(NOW, "image", "local", secs(1));
    let one = boots.pooled().p50;
    boots.connected(NOW, "image", "local", secs(1));
    let two = boots.pooled().p50;
    assert!(one < 120.0 && two < one && two > 1.0, "{one} {two}");
}

#[test]
fn a_change_is_learned_from_the_last_twenty() {
    let mut boots = Boots::default();
    let run = |boots: &mut Boots, from: u64, count: u64, factor: u64| {
        for n in 0..count {
            boots.connected(
                NOW + secs((from + n) * 100),
                "image",
                "large",
                secs((100 + n * 13 % 41) * factor),
            );
        }
    };
    run(&mut boots, 0, 200, 1);
    run(&mut boots, 200, 30, 5);
    let slow = boots.pooled();
    assert!((500.0..=700.0).contains(&slow.p50), "{slow:?}");
    run(&mut boots, 230, 40, 1);
    assert!(boots.pooled().p50 < 141.0, "{:?}", boots.pooled());
}

#[test]
fn many_that_are_asked_for_at_once_are_no_change_though_the_slow_ones_come_last() {
    // Bursts of 400 whose boots take 60 to 239 s; the fast ones are known first.
    let mut boots = Boots::default();
    let mut seen = Vec::new();
    for burst in 0..5 {
        for n in 0..400 {
            let took = Duration::from_millis(60_000 + n * 450);
            boots.connected(NOW + secs(burst * 1000) + took, "image", "large", took);
            seen.push(boots.pooled().p50);
        }
    }
    // But for the very first one, of which nobody knows more yet.
    let worst = seen[400..].iter().map(|p50| (p50 - 150.0).abs()).fold(0.0, f64::max);
    assert!(worst < 15.0, "{worst}");
}

#[test]
fn boots_that_become_five_times_slower_are_not_ended_while_that_is_learned() {
    // Machines that take 5 · (100 … 140) s, asked for one each 30 s; none may be given up before it connects.
    let (mut boots, mut breaker) = (Boots::default(), Breaker::default());
    usual(&mut boots, 200, 1);
    let took = |n: u64| (100 + n * 13 % 41) * 5;
    let (start, machines) = (NOW, 100);
    for second in 0..4000_u64 {
        let now = start + secs(second);
        if second % 30 == 0 && second / 30 < machines {
            breaker.launched(InstanceId(i64::try_from(second / 30).unwrap()), now);
        }
        for n in 0..machines {
            let id = InstanceId(i64::try_from(n).unwrap());
            let Some(age) = second.checked_sub(n * 30).filter(|age| *age <= took(n)) else { continue };
            if age == took(n) {
                boots.connected(now, "image", "large", secs(age));
                breaker.connected(id);
            }
            let times = boots.pooled();
            let patient = breaker.doubts(now, times.suspect_age());
            assert!(secs(age) <= times.timeout(patient), "machine {n} is given up after {age} s");
        }
        breaker.judge(now, boots.pooled().suspect_age());
    }
    assert!(!breaker.is_open());
}

#[test]
fn failures_that_are_known_late_and_together_are_not_taken_for_the_share() {
    let mut boots = Boots::default();
    for burst in 0..4 {
        let asked = NOW + secs(burst * 3600);
        // One in five hangs; of those it is known ten minutes later, of all at once.
        for n in 0..400 {
            boots.connected(asked + secs(100 + n % 41), "image", "large", secs(100 + n % 41));
        }
        for known in 0..100 {
            boots.failed(asked);
            let rate = boots.connect_rate();
            assert!((0.79..=1.0).contains(&rate), "{rate} once {known} are known");
        }
    }
}

#[test]
fn a_machine_is_doubtful_the_sooner_the_fewer_connect() {
    let times = |connect_rate| BootTimes { connect_rate, ..BootTimes::default() };
    assert!((times(0.99).doubtful_age() - 270.0).abs() < 3.0, "{}", times(0.99).doubtful_age());
    // S = 1/4 at 0.674 σ.
    assert!((times(0.8).doubtful_age() - 152.0).abs() < 1.0);
    assert_eq!(times(0.4).doubtful_age(), 120.0, "not before half of those that connect have");
    assert!(times(1.0).doubtful_age() <= times(1.0).suspect_age().as_secs_f64());
}

fn launch(breaker: &mut Breaker, ids: std::ops::Range<i64>, at: Time) {
    for id in ids {
        breaker.launched(InstanceId(id), at);
    }
}

#[test]
fn the_breaker_opens_when_fewer_than_a_fifth_come_up() {
    let mut breaker = Breaker::default();
    launch(&mut breaker, 0..4, ago(400));
    assert_eq!(breaker.judge(NOW, secs(320)), None, "four are too few");
    launch(&mut breaker, 4..5, ago(400));
    let change = breaker.judge(NOW, secs(320)).unwrap();
    assert!(change.open && breaker.is_open());
    assert_eq!(change.text, "0 of the last 5 machines came up: only a few are tried until they do again");
    assert_eq!(breaker.judge(NOW, secs(320)), None, "said once");
}

#[test]
fn a_fifth_of_random_failures_does_not_open_it() {
    // Of every five launches the first fails; time-outs of many come at once.
    let mut breaker = Breaker::default();
    for id in 0..500 {
        breaker.launched(InstanceId(id), ago(1000));
        if id % 5 != 0 {
            breaker.connected(InstanceId(id));
        }
        assert_eq!(breaker.judge(ago(900), secs(320)), None);
    }
    for id in (0..500).step_by(5) {
        breaker.failed(InstanceId(id));
        assert_eq!(breaker.judge(NOW, secs(320)), None);
    }
}

#[test]
fn while_it_is_open_each_success_doubles_what_is_tried_and_enough_of_them_close_it() {
    let mut breaker = Breaker::default();
    launch(&mut breaker, 0..20, ago(400));
    breaker.judge(NOW, secs(320)).unwrap();
    let room = |breaker: &Breaker, unproven| breaker.room(NOW, unproven).map(|room| room.more);
    assert_eq!((room(&breaker, 0), room(&breaker, 1), room(&breaker, 9)), (Some(2), Some(1), Some(0)));
    launch(&mut breaker, 20..26, NOW);
    for (id, more) in [(20, 4), (21, 8), (22, 16), (23, 32)] {
        breaker.connected(InstanceId(id));
        assert_eq!(breaker.judge(NOW + secs(100), secs(320)), None);
        assert_eq!(room(&breaker, 0), Some(more));
    }
    breaker.connected(InstanceId(24));
    let change = breaker.judge(NOW + secs(100), secs(320)).unwrap();
    assert!(!change.open);
    assert_eq!(room(&breaker, 0), None);
    assert_eq!(breaker.judge(NOW + secs(101), secs(320)), None, "what was before does not open it again");
}

#[test]
fn machines_that_connect_late_were_no_failures() {
    let mut breaker = Breaker::default();
    launch(&mut breaker, 0..20, ago(400));
    breaker.judge(NOW, secs(320)).unwrap();
    for id in 0..9 {
        breaker.connected(InstanceId(id));
    }
    assert_eq!(breaker.judge(NOW, secs(320)), None);
    breaker.connected(InstanceId(9));
    assert!(!breaker.judge(NOW, secs(320)).unwrap().open, "half of the last 20");
}

#[test]
fn what_the_provider_did_not_have_says_nothing_about_boots() {
    let mut breaker = Breaker::default();
    launch(&mut breaker, 0..20, ago(400));
    for id in 0..20 {
        breaker.forget(InstanceId(id));
    }
    assert_eq!(breaker.judge(NOW, secs(320)), None);
}

#[test]
fn the_image_that_is_booted_is_not_forgotten_for_those_that_were() {
    let mut boots = Boots::default();
    for n in 0..600 {
        let now = NOW + secs(n * 60);
        // The first one by name is the one that is booted.
        boots.connected(now, "a", "large", secs(30));
        boots.connected(now, &format!("x{n}"), "large", secs(300));
    }
    assert!(boots.times("a", "large").p50 < 40.0, "{:?}", boots.times("a", "large"));
}

#[test]
fn memory_has_bounds() {
    let mut breaker = Breaker::default();
    launch(&mut breaker, 0..10_000, ago(5));
    launch(&mut breaker, 10_000..10_100, ago(1));
    breaker.judge(NOW, secs(320));
    for id in 0..10_100 {
        breaker.connected(InstanceId(id));
    }
    breaker.judge(NOW, secs(320));
    assert!(serde_json::to_string(&breaker).unwrap().len() < 10_000);
}

#[test]
fn what_was_learned_survives_a_restart() {
    let mut learned = Learned::default();
    usual(&mut learned.boots, 30, 1);
    launch(&mut learned.breaker, 0..9, ago(400));
    learned.breaker.judge(NOW, secs(320));
    learned.arrivals.requested(NOW, 1.0);
    learned.durations.took(secs(60));
    learned.canary.configured("one");
    learned.canary.configured("two");
    learned.offerings.unavailable(NOW, "large");
    let text = serde_json::to_string(&learned).unwrap();
    assert_eq!(serde_json::from_str::<Learned>(&text).unwrap(), learned);
    assert_eq!(
        serde_json::from_str::<Learned>("{}").unwrap(),
        Learned::default(),
        "what is new has its default"
    );
}
