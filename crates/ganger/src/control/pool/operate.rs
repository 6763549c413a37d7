//! What somebody decides about a pool or an instance.

use std::time::Duration;

use model::InstanceId;
use pools::{Operator, State};

use super::{Hold, Instance, InstanceName, Pool, PoolName, PoolPause, PoolScale, find, view};
use crate::control::{
    Refusal,
    house::{House, is_reason, not_done},
};

/// Answers `pool.drain`.
pub(in crate::control) async fn drain(house: &House, name: InstanceName) -> Result<Instance, Refusal> {
    let found = living(house, &name.instance).await?;
    match found.row.state {
        State::Terminating | State::Stopping => {
            return Err(too_late(&found, "on its way out already"));
        }
        _ => operate(house, Operator::Drain(found.id)).await?,
    }
    after(house, found.id).await
}

/// Answers `pool.hold`.
pub(in crate::control) async fn hold(house: &House, hold: Hold) -> Result<Instance, Refusal> {
    let found = living(house, &hold.instance).await?;
    if found.row.state == State::Terminating {
        return Err(too_late(&found, "being terminated"));
    }
    if hold.seconds == 0 {
        return Err(Refusal::new(Refusal::INVALID_PARAMS, "nothing can be held for no time"));
    }
    let (instance, duration) = (found.id, Duration::from_secs(hold.seconds));
    is_reason(&hold.reason)?;
    operate(house, Operator::Hold { instance, duration, reason: hold.reason }).await?;
    after(house, instance).await
}

/// Answers `pool.release`.
pub(in crate::control) async fn release(house: &House, name: InstanceName) -> Result<Instance, Refusal> {
    let found = living(house, &name.instance).await?;
    if found.row.state != State::Held {
        return Err(Refusal::not_found(format!(
            "{} is not held: it is {}",
            found.row.slot,
            found.row.state.name()
        )));
    }
    operate(house, Operator::Release(found.id)).await?;
    after(house, found.id).await
}

/// Answers `pool.pause`.
pub(in crate::control) async fn pause(house: &House, pause: PoolPause) -> Result<Pool, Refusal> {
    find::pool_status(house, &pause.pool).await?;
    is_reason(&pause.reason)?;
    operate(house, Operator::Pause { pool: pause.pool.clone(), reason: pause.reason }).await?;
    pool_after(house, &pause.pool).await
}

/// Answers `pool.resume`.
pub(in crate::control) async fn resume(house: &House, name: PoolName) -> Result<Pool, Refusal> {
    find::pool_status(house, &name.pool).await?;
    operate(house, Operator::Resume(name.pool.clone())).await?;
    pool_after(house, &name.pool).await
}

/// Answers `pool.scale`.
pub(in crate::control) async fn scale(house: &House, scale: PoolScale) -> Result<Pool, Refusal> {
    let pool = find::pool_status(house, &scale.pool).await?;
    if pool.removed {
        return Err(Refusal::not_found(format!("pool {} is no longer in the configuration", pool.name)));
    }
    if let Some(min) = scale.min.filter(|min| *min > pool.max) {
        return Err(Refusal::new(
            Refusal::INVALID_PARAMS,
            format!(
                "pool {} may have at most {} machines, so not {min}; raise its `max` first",
                pool.name, pool.max
            ),
        ));
    }
    operate(house, Operator::Scale { pool: scale.pool.clone(), min: scale.min }).await?;
    pool_after(house, &scale.pool).await
}

/// Answers `pool.trust`.
pub(in crate::control) async fn trust(house: &House, name: PoolName) -> Result<Pool, Refusal> {
    if find::pool_status(house, &name.pool).await?.listed {
        let text = format!(
            "the provider of pool {} has listed its machines: there is nothing to override",
            name.pool
        );
        return Err(Refusal::new(Refusal::INVALID_PARAMS, text));
    }
    operate(house, Operator::Trust(name.pool.clone())).await?;
    pool_after(house, &name.pool).await
}

async fn operate(house: &House, operator: Operator) -> Result<(), Refusal> {
    house.master.operate(operator).await.map_err(not_done)
}

/// The instance that somebody means, if it is not gone.
async fn living(house: &House, name: &str) -> Result<find::Found, Refusal> {
    let found = find::instance(house, name).await?;
    match found.live {
        Some(_) => Ok(found),
        None => Err(too_late(&found, "gone")),
    }
}

fn too_late(found: &find::Found, what: &str) -> Refusal {
    Refusal::not_found(format!("instance {} ({}) is {what}", found.id, found.row.slot))
}

/// How an instance is now.
async fn after(house: &House, id: InstanceId) -> Result<Instance, Refusal> {
    let found = find::instance(house, &id.to_string()).await?;
    Ok(match &found.live {
        Some((pool, live)) => view::of_instance(pool, live),
        None => view::of_ledger(&found.row),
    })
}

async fn pool_after(house: &House, name: &str) -> Result<Pool, Refusal> {
    Ok(view::of_status(&find::pool_status(house, name).await?))
}
