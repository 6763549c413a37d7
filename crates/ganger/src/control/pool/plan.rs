//! What a pass would do now.

use pools::plan::PoolPlan;

use super::{Denied, Outlook, Plan, PlanFilter, PlannedLaunch, Plans, Reason, find, view};
use crate::control::{
    Refusal,
    house::{House, not_done},
    view::now,
};

/// How many of the requests that wait are shown.
const MAX_REQUESTS: usize = 1000;

/// Answers `pool.plan`.
pub(in crate::control) async fn plan(house: &House, filter: PlanFilter) -> Result<Plans, Refusal> {
    if let Some(name) = &filter.pool {
        find::pool_status(house, name).await?;
    }
    let plans = house.master.plan_pools().await.map_err(not_done)?;
    let wanted = plans.iter().filter(|plan| filter.pool.as_ref().is_none_or(|name| *name == plan.pool));
    Ok(Plans { now: now(house), plans: wanted.map(of_plan).collect() })
}

fn of_plan(plan: &PoolPlan) -> Plan {
    let launches = plan.launches.iter().map(|launch| PlannedLaunch {
        count: launch.count,
        resume: launch.resume,
        offerings: launch.candidates.iter().map(|choice| choice.offering.clone()).collect(),
        why: Reason { code: view::word(&launch.code), text: launch.text.clone() },
        causes: launch.causes.iter().map(|request| request.0).collect(),
    });
    let denied = plan.denied.iter().map(|denied| Denied {
        count: denied.count,
        why: Reason { code: view::word(&denied.code), text: denied.text.clone() },
        next: denied.next.map(|at| at.epoch_seconds()),
    });
    let first = plan.requests.iter().take(MAX_REQUESTS);
    let requests = first.filter_map(|outlook| plan.expectation(outlook.request)).map(|expected| Outlook {
        buildrequestid: expected.request.0,
        start: expected.start.map(|at| at.epoch_seconds()),
        why: Reason { code: view::word(&expected.code), text: expected.text },
    });
    Plan {
        pool: plan.pool.clone(),
        wanted: plan.wanted,
        min: plan.min,
        warm: plan.warm,
        text: plan.sentence(),
        launches: launches.collect(),
        denied: denied.collect(),
        cancel: plan.cancel,
        requests: requests.collect(),
        pending: plan.requests.len(),
    }
}
