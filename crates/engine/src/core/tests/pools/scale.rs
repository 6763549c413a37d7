//! What an event costs in a farm of machines, counted.

use super::*;

/// `n` builders on one pool of `n` machines that run one build each, and a request that waits for each builder.
fn busy(n: usize) -> (Cloud, u64) {
    let builders: Vec<String> = (0..n).map(|i| format!("b{i}")).collect();
    let builders: Vec<(&str, &[&str])> =
        builders.iter().map(|name| (name.as_str(), &["linux"][..])).collect();
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[pool("linux", 10_000)], &builders));
    let mut last = 0;
    for _ in 0..n {
        last = cloud.log_in("linux", None);
        cloud.attach(last, "guest");
    }
    cloud.force(&[], 0).force(&[], 0);
    assert_eq!(cloud.world.core.running().len(), n);
    (cloud, last)
}

fn cost(cloud: &mut Cloud, what: impl FnOnce(&mut Cloud)) -> (u64, usize) {
    let (before, rows) = (cloud.world.core.looked_at(), cloud.rows.len());
    cloud.left.clear();
    what(cloud);
    (cloud.world.core.looked_at() - before, cloud.rows.len() - rows + cloud.left.len())
}

/// What each kind of event costs in a farm of a size.
fn costs(n: usize) -> Vec<(&'static str, (u64, usize))> {
    let (mut cloud, last) = busy(n);
    let cloud = &mut cloud;
    vec![
        (
            "a build ends, the next starts",
            cost(cloud, |c| {
                c.finish(1, Results::Success);
            }),
        ),
        (
            "a request comes",
            cost(cloud, |c| {
                c.force(&["b3"], 9);
            }),
        ),
        (
            "a machine is lost",
            cost(cloud, |c| {
                c.lose(last);
            }),
        ),
        (
            "a machine is closed",
            cost(cloud, |c| {
                c.operate(::pools::Operator::Drain(InstanceId(2)));
            }),
        ),
    ]
}

#[test]
fn an_event_costs_the_same_with_few_machines_and_with_many() {
    assert_eq!(costs(10), costs(300));
}
