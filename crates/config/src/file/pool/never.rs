//! Pools that could be read, and that could never start a machine; and what is said in vain.

use std::sync::Arc;

use ::model::pool::{Budget, Money, PoolLimits};

use crate::{
    model::Builder,
    pool::{Pool, PoolProvider},
    value::Value,
};

/// Looks at each pool with all that it has to do with. Pools come with their tables.
pub(in crate::file) fn check(pools: &[(Arc<Pool>, Value<'_>)], limits: &PoolLimits, builders: &[Builder]) {
    for (pool, table) in pools {
        within(table, limits);
        affordable(pool, table, limits);
        if is_empty(pool) {
            used(pool, table, pools, builders);
        }
    }
}

/// Reports minima that all pools together may not have.
fn within(table: &Value<'_>, limits: &PoolLimits) {
    let Some(max) = limits.max else { return };
    let schedules = table.entry("schedule").and_then(|all| all.elements()).into_iter().flatten();
    for one in std::iter::once(*table).chain(schedules) {
        if let Some(min) = one.entry("min")
            && min
                .get()
                .as_integer()
                .and_then(|min| min.as_str().parse().ok())
                .is_some_and(|min: u32| min > max)
        {
            min.error(format!("`min` is more than `max` of `[pool-limits]`, which is {max}"));
        }
    }
}

/// Reports prices that nothing can be bought at, and limits to what costs nothing.
fn affordable(pool: &Pool, table: &Value<'_>, limits: &PoolLimits) {
    let price = pool.provider.price();
    if price == Money::default() {
        if pool.spec.budget != Budget::default()
            && let Some(budget) = table.entry("budget")
        {
            budget
                .warning("a budget does nothing where machines cost nothing")
                .help("`price`, where its machines come from, says what an hour of one costs");
        }
        return;
    }
    // On the spot market machines cost less.
    if matches!(&pool.provider, PoolProvider::Ec2(template) if template.spot.is_some()) {
        return;
    }
    let provider = super::PROVIDERS.iter().find_map(|key| table.entry(key));
    let Some(at) = provider.and_then(|provider| provider.entry("price")) else { return };
    let most = [
        ("`max-price` is", pool.spec.max_price),
        ("the pool's budget for an hour is", pool.spec.budget.hour),
        ("the pool's budget for a month is", pool.spec.budget.month),
        ("the budget of all pools for an hour is", limits.budget.hour),
        ("the budget of all pools for a month is", limits.budget.month),
    ];
    if let Some((what, most)) =
        most.into_iter().find_map(|(what, most)| Some((what, most.filter(|most| *most < price)?)))
    {
        let (price, most) = (price.units(), most.units());
        at.error(format!("no machine can ever be started: one costs {price} an hour, and {what} {most}"));
    }
}

/// Reports a pool without machines that some builder has nothing beside. One that nobody uses may be on its way out.
fn used(pool: &Pool, table: &Value<'_>, pools: &[(Arc<Pool>, Value<'_>)], builders: &[Builder]) {
    let is_none = |name: &String| pools.iter().any(|(pool, _)| pool.spec.name == *name && is_empty(pool));
    let needs =
        |builder: &&Builder| builder.workers.contains(&pool.spec.name) && builder.workers.iter().all(is_none);
    if let (Some(builder), Some(max)) = (builders.iter().find(needs), table.entry("max")) {
        max.error(format!(
            "no machine can ever be started: `max` is 0, and builder {:?} has no other workers",
            builder.name
        ))
        .help("`ganger pool pause` starts no machines for a while, and lets in those that others start");
    }
}

/// Whether a pool can have no machine of any kind.
fn is_empty(pool: &Pool) -> bool {
    pool.spec.max == 0 && pool.spec.classes.iter().all(|class| class.overflow == 0)
}
