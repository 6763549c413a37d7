//! What holds for every plan.

use proptest::prelude::*;

use super::*;

/// The least number of fresh machines that run all requests at once: tries to deal them out.
fn fewest(requests: &[usize], most: usize) -> u32 {
    (0..)
        .find(|machines| fits(requests, &mut vec![Vec::new(); *machines], most))
        .map_or(0, |n| u32::try_from(n).unwrap())
}

fn fits(requests: &[usize], machines: &mut Vec<Vec<usize>>, most: usize) -> bool {
    let Some((builder, rest)) = requests.split_first() else { return true };
    for at in 0..machines.len() {
        // Machines that look the same are the same.
        if machines[..at].contains(&machines[at])
            || machines[at].len() >= most
            || machines[at].contains(builder)
        {
            continue;
        }
        machines[at].push(*builder);
        let fit = fits(rest, machines, most);
        machines[at].pop();
        if fit {
            return true;
        }
    }
    false
}

prop_compose! {
    fn worlds()(
        max in 0_u32..30, min in 0_u32..40, warm in 0_u32..5, overflow in 0_u32..3,
        most in 0_u32..4, live in 0_u32..10, idle in 0_u32..10, full in 0_u32..20, ages in prop::collection::vec(0_u64..900, 0..10),
        requests in prop::collection::vec((0_usize..4, 0_i64..20, 0_u64..500), 0..60), arrivals in 0_u32..200,
        quota in 0_u32..50, global in 0_u32..60, budget in 0_i64..40, seconds in 1_u64..2000,
    ) -> World {
        let mut world = World { pools: vec![Pool::new("a"), Pool::new("b")], ..World::default() };
        for pools in [&["a"][..], &["b"], &["a", "b"], &["b", "a"]] {
            world.builder(pools);
        }
        for (builder, priority, age) in requests {
            world.wait(builder, 1, priority);
            world.demand.requests.last_mut().unwrap().submitted_at = ago(age);
        }
        world.take(seconds);
        for pool in &mut world.pools {
            pool.spec.max_builds = NonZeroU32::new(most);
            (pool.spec.max, pool.spec.min, pool.spec.warm) = (max, min, Warm::Fixed(warm));
            pool.spec.classes.push(class("high", 10, 20.0));
            pool.spec.classes[1].overflow = overflow;
            pool.live = live;
            pool.idle(idle);
            pool.busy(full, 300);
            ages.iter().for_each(|age| pool.coming(1, *age));
            for _ in 0..arrivals {
                pool.learned.arrivals.requested(ago(10), 1.0);
            }
            pool.rooms = vec![Room { code: ReasonCode::Quota, more: quota, text: "quota".to_owned() }];
            pool.spec.budget.hour = Some(Money(budget * 100_000));
            pool.spend.rate = Money(i64::from(pool.live) * 100_000);
        }
        world.common.live = world.pools.iter().map(|pool| pool.live).sum();
        world.common.limits.max = Some(global);
        world
    }
}

proptest! {
    #[test]
    fn fresh_machines_are_exactly_as_many_as_needed(
        requests in prop::collection::vec(0_usize..4, 0..9), most in 0_u32..4,
    ) {
        let mut world = World::one();
        world.pool().spec.max_builds = NonZeroU32::new(most);
        world.pool().spec.classes[0].lambda = 20.0;
        for _ in 0..4 {
            world.builder(&["p"]);
        }
        for builder in &requests {
            world.wait(*builder, 1, 0);
        }
        world.take(10_000);
        let needed = fewest(&requests, if most == 0 { usize::MAX } else { most as usize });
        prop_assert_eq!(world.only().started(), needed);
    }

    #[test]
    fn no_limit_is_exceeded_and_every_request_has_its_reason(world in worlds()) {
        let plans = world.plan();
        let mut seen = 0;
        for (pool, plan) in world.pools.iter().zip(&plans) {
            let started = plan.started();
            prop_assert_eq!(started, plan.launches.iter().map(|launch| launch.count).sum::<u32>());
            if started > 0 {
                let overflow = pool.spec.classes[1].overflow;
                prop_assert!(pool.live + started <= pool.spec.max + overflow);
                prop_assert!(started <= pool.rooms[0].more);
                let cost = i64::from(pool.live + started) * 100_000;
                prop_assert!(cost <= pool.spec.budget.hour.unwrap().0);
            }
            for launch in &plan.launches {
                prop_assert!(!launch.text.is_empty() && !launch.candidates.is_empty());
                prop_assert!(launch.causes.len() <= launch.count as usize);
            }
            for outlook in &plan.requests {
                seen += 1;
                let expectation = plan.expectation(outlook.request).unwrap();
                prop_assert!(!expectation.text.is_empty());
                if let Why::Denied(at) = outlook.why {
                    prop_assert!(plan.denied.get(at).is_some_and(|denied| denied.count > 0));
                }
            }
        }
        prop_assert_eq!(seen, world.demand.requests.len());
        let started: u32 = plans.iter().map(PoolPlan::started).sum();
        prop_assert!(started == 0 || world.common.live + started <= world.common.limits.max.unwrap());
        prop_assert_eq!(world.plan(), plans, "the same question has the same answer");
    }

    #[test]
    fn with_a_shared_maximum_no_pool_gets_less_than_its_share_by_more_than_one(
        weights in prop::collection::vec(1_u32..5, 2..=3), waiting in prop::collection::vec(0_usize..40, 3), max in 0_u32..60,
    ) {
        let mut world = World::default();
        for (at, weight) in weights.iter().enumerate() {
            let name = ["a", "b", "c"][at];
            world.pools.push(Pool::new(name));
            world.pools[at].spec.weight = NonZeroU32::new(*weight).unwrap();
            let builder = world.builder(&[name]);
            world.wait(builder, waiting[at], 0);
        }
        world.common.limits.max = Some(max);
        let plans = world.plan();
        let total: u32 = weights.iter().sum();
        let given: u32 = plans.iter().map(PoolPlan::started).sum();
        let wanted: usize = waiting[..weights.len()].iter().sum();
        prop_assert_eq!(given, max.min(u32::try_from(wanted).unwrap()));
        for (at, plan) in plans.iter().enumerate() {
            let fair = f64::from(max) * f64::from(weights[at]) / f64::from(total);
            prop_assert!(plan.started() as usize == waiting[at] || f64::from(plan.started()) > fair - 1.0 - f64::EPSILON);
        }
    }
}
