//! Pools, instances and decisions, as they are shown.

use engine::{Notice, notice::Heard};
use model::{
    InstanceId, Json, Time,
    pool::{Budget, Money},
};
use pools::{PoolStatus, ReasonCode, Subject, pools::InstanceStatus};
use serde::Serialize;
use storage::{DecisionFilter, DecisionRow};
use tokio::io::AsyncWrite;

use super::{
    Amounts, Boot, Breaker, ClosedOffering, Decision, Decisions, DecisionsFilter, Instance, Pool, PoolDetail,
    PoolList, Reason, Totals, find,
};
use crate::control::{
    Notification, Refusal,
    house::{House, not_done},
    server::{Answers, internal},
    view::{now, unreadable},
};

/// The longest list of decisions.
const MAX_DECISIONS: u32 = 1000;

/// How many decisions are shown with a pool.
const DECISIONS_SHOWN: usize = 50;

/// Answers `pool.list`.
pub(in crate::control) async fn list(house: &House) -> Result<PoolList, Refusal> {
    let status = house.master.pools().await.map_err(not_done)?;
    Ok(PoolList { now: now(house), pools: status.iter().map(of_status).collect() })
}

/// Answers `pool.show`.
pub(in crate::control) async fn show(house: &House, name: &str) -> Result<PoolDetail, Refusal> {
    let status = find::pool_status(house, name).await?;
    let decisions = last_decisions(house, &status).await?;
    let totals = &status.totals;
    Ok(PoolDetail {
        now: now(house),
        pool: of_status(&status),
        instances: status.instances.iter().map(|one| of_instance(&status.name, one)).collect(),
        decisions,
        totals: Totals {
            launches: totals.launches.iter().map(|(code, count)| (word(code), *count)).collect(),
            ends: totals.ends.iter().map(|(code, count)| (word(code), *count)).collect(),
            never_used: totals.never_used,
            guests: totals.guests,
            refused: totals.refused,
            lost_builds: totals.lost_builds,
            cost: totals.cost.units(),
        },
    })
}

/// What a pool decided last. Somebody who tries to log in again and again does not displace the rest.
async fn last_decisions(house: &House, status: &PoolStatus) -> Result<Vec<Decision>, Refusal> {
    let refused = status.decisions.iter().filter(|one| one.code == ReasonCode::LoginRefused).count();
    if refused <= 1 {
        return Ok(status.decisions.iter().map(of_decision).collect());
    }
    let filter =
        DecisionFilter { pool: Some(status.name.clone()), limit: MAX_DECISIONS, ..DecisionFilter::default() };
    Ok(with_one_refusal(of_rows(house, filter).await?))
}

/// The last decisions, and among them only the latest refusal of a login.
fn with_one_refusal(decisions: Vec<Decision>) -> Vec<Decision> {
    let refused = word(&ReasonCode::LoginRefused);
    let latest = decisions.iter().rposition(|one| one.why.code == refused);
    let each = decisions.into_iter().enumerate();
    let mut kept: Vec<Decision> =
        each.filter(|(at, one)| one.why.code != refused || Some(*at) == latest).map(|(_, one)| one).collect();
    kept.drain(..kept.len().saturating_sub(DECISIONS_SHOWN));
    kept
}

/// Answers `pool.decisions`.
pub(in crate::control) async fn decisions<W: AsyncWrite + Unpin>(
    house: &House,
    filter: DecisionsFilter,
    answers: &mut Answers<W>,
) -> Result<Decisions, Refusal> {
    // Before the first look at the tables, so that nothing falls in between.
    let mut notices = filter.follow.then(|| house.master.subscribe());
    if let Some(pool) = &filter.pool {
        find::pool_with_a_past(house, pool).await?;
    }
    let instance = match &filter.instance {
        Some(name) => Some(find::instance(house, name).await?.id),
        None => None,
    };
    let wanted = DecisionFilter {
        pool: filter.pool.clone(),
        instance,
        request: filter.request.map(model::BuildRequestId),
        before: None,
        limit: filter.limit.min(MAX_DECISIONS),
    };
    let found = of_rows(house, wanted).await?;
    if let Some(id) = filter.request.filter(|_| found.is_empty()) {
        let row = house.store.request(model::BuildRequestId(id)).await.map_err(unreadable)?;
        row.ok_or_else(|| Refusal::not_found(format!("no build request has the number {id}")))?;
    }
    let Some(notices) = &mut notices else {
        return Ok(Decisions { now: now(house), decisions: found });
    };
    for decision in found {
        tell(answers, decision).await?;
    }
    loop {
        match notices.next().await {
            Heard::Notice(notice) => {
                if let Notice::Decision(decision) = &*notice
                    && filter.pool.as_ref().is_none_or(|pool| *pool == decision.pool)
                    && instance.is_none_or(|id| decision.subject == Subject::Instance(id))
                    && filter
                        .request
                        .is_none_or(|id| decision.subject == Subject::Request(model::BuildRequestId(id)))
                {
                    tell(answers, of_decision(decision)).await?;
                }
            }
            Heard::Missed(_) => {}
            Heard::End => return Err(Refusal::new(Refusal::TRY_AGAIN, "the master has ended")),
        }
    }
}

async fn tell<W: AsyncWrite + Unpin>(answers: &mut Answers<W>, decision: Decision) -> Result<(), Refusal> {
    answers.notify(&Notification::Decision(decision)).await.map_err(internal)
}

/// Decisions of the tables, the latest last.
pub(super) async fn of_rows(house: &House, filter: DecisionFilter) -> Result<Vec<Decision>, Refusal> {
    let rows = house.store.decisions(filter).await.map_err(unreadable)?;
    Ok(rows.into_iter().rev().map(of_row).collect())
}

fn of_row(row: DecisionRow) -> Decision {
    Decision {
        at: row.at.epoch_seconds(),
        pool: row.pool,
        instanceid: row.instance.map(|id| id.0),
        buildrequestid: row.request.map(|id| id.0),
        why: Reason { code: row.code, text: row.text },
    }
}

fn of_decision(decision: &pools::Decision) -> Decision {
    let (instanceid, buildrequestid) = match decision.subject {
        Subject::Pool => (None, None),
        Subject::Instance(id) => (Some(id.0), None),
        Subject::Request(id) => (None, Some(id.0)),
    };
    Decision {
        at: decision.at.epoch_seconds(),
        pool: decision.pool.clone(),
        instanceid,
        buildrequestid,
        why: Reason { code: word(&decision.code), text: decision.text.clone() },
    }
}

/// A pool as it is shown.
pub(in crate::control) fn of_status(status: &PoolStatus) -> Pool {
    Pool {
        name: status.name.clone(),
        max: status.max,
        min: status.min,
        wanted: status.wanted,
        live: status.live,
        by_state: status.by_state.iter().map(|(state, count)| (state.name().to_owned(), *count)).collect(),
        pending: status.pending,
        paused: status.paused.clone(),
        scaled: status.scaled,
        owner: status.owner,
        listed: status.listed,
        removed: status.removed,
        breaker: status.breaker.as_ref().map(|breaker| Breaker {
            since: breaker.since.epoch_seconds(),
            why: Reason { code: word(&breaker.code), text: breaker.text.clone() },
        }),
        closed: status.closed.iter().map(of_closed).collect(),
        price_per_hour: status.spend.hour_rate.units(),
        spent: Amounts {
            hour: None,
            day: Some(status.spend.day.units()),
            month: Some(status.spend.month.units()),
        },
        budget: of_budget(&status.budget),
        boot: Boot {
            p50_s: status.boot.p50_s,
            p95_s: status.boot.p95_s,
            samples: status.boot.samples,
            connect_rate: status.boot.connect_rate,
        },
        idle_timeout_s: status.idle_timeout_s,
        last: status.last.as_ref().map(of_reason),
    }
}

fn of_closed(closed: &pools::pools::ClosedOffering) -> ClosedOffering {
    ClosedOffering {
        name: closed.name.clone(),
        until: closed.until.epoch_seconds(),
        code: word(&closed.code),
    }
}

fn of_budget(budget: &Budget) -> Amounts {
    Amounts {
        hour: budget.hour.map(Money::units),
        day: budget.day.map(Money::units),
        month: budget.month.map(Money::units),
    }
}

fn of_reason(reason: &pools::pools::Reason) -> Reason {
    Reason { code: word(&reason.code), text: reason.text.clone() }
}

fn seconds(time: Option<Time>) -> Option<i64> {
    time.map(Time::epoch_seconds)
}

/// An instance that is not gone, as it is shown.
pub(super) fn of_instance(pool: &str, instance: &InstanceStatus) -> Instance {
    Instance {
        instanceid: instance.id.0,
        pool: pool.to_owned(),
        slot: instance.slot.clone(),
        state: instance.state.name().to_owned(),
        origin: word(&instance.origin),
        offering: instance.offering.clone(),
        market: word(&instance.market),
        price: instance.price.units(),
        cost: Some(instance.cost.units()),
        provider_id: instance.provider_id.clone(),
        image: instance.image.clone(),
        builds: instance.builds,
        running: instance.running.iter().map(|build| build.0).collect(),
        causes: instance.causes.iter().map(|request| request.0).collect(),
        planned_at: instance.planned_at.epoch_seconds(),
        launched_at: seconds(instance.launched_at),
        connected_at: seconds(instance.connected_at),
        since: instance.since.epoch_seconds(),
        held_until: seconds(instance.held_until),
        deadline: seconds(instance.deadline),
        ended_at: None,
        started: of_reason(&instance.started),
        drain: instance.drain.as_ref().map(of_reason),
        why: Some(instance.why.clone()),
        ended: None,
        console: None,
    }
}

/// A row of the ledger as it is shown: what is known of an instance that is gone.
pub(super) fn of_ledger(row: &pools::Instance) -> Instance {
    Instance {
        instanceid: row.id.0,
        pool: row.slot.pool.clone(),
        slot: row.slot.to_string(),
        state: row.state.name().to_owned(),
        origin: word(&row.origin),
        offering: row.offering.clone(),
        market: word(&row.market),
        price: row.price.units(),
        cost: row.cost.map(Money::units),
        provider_id: row.provider_id.clone(),
        image: row.image.clone(),
        builds: row.builds,
        running: Vec::new(),
        causes: row.causes.iter().map(|request| request.0).collect(),
        planned_at: row.planned_at.epoch_seconds(),
        launched_at: seconds(row.launched_at),
        connected_at: seconds(row.connected_at),
        since: row.since.epoch_seconds(),
        held_until: seconds(row.held_until),
        deadline: seconds(row.drain.as_ref().and_then(|drain| drain.deadline)),
        ended_at: seconds(row.ended_at),
        started: Reason { code: word(&row.code), text: row.text.clone() },
        drain: row.drain.as_ref().map(|drain| Reason { code: word(&drain.code), text: drain.text.clone() }),
        why: None,
        ended: row.ended.as_ref().map(|ended| Reason { code: word(&ended.code), text: ended.text.clone() }),
        console: row.console.clone(),
    }
}

/// What was decided about an instance, the latest last.
pub(super) async fn about(house: &House, instance: InstanceId) -> Result<Vec<Decision>, Refusal> {
    of_rows(house, DecisionFilter { instance: Some(instance), ..DecisionFilter::default() }).await
}

/// A word of a closed set, as the tables have it.
pub(super) fn word(of: &impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Json::String(word)) => word,
        other => other.map(|other| other.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_logins_do_not_hide_what_was_decided() {
        let decision = |(at, code): (i64, &str)| Decision {
            at,
            pool: "linux".to_owned(),
            instanceid: None,
            buildrequestid: None,
            why: Reason { code: code.to_owned(), text: String::new() },
        };
        let kept = |codes: &[&str]| -> Vec<i64> {
            let all = (0..).zip(codes.iter().copied()).map(decision).collect();
            with_one_refusal(all).iter().map(|one| one.at).collect()
        };
        const REFUSED: &str = "login_refused";
        assert_eq!(kept(&["demand", REFUSED, REFUSED, "launched", REFUSED, "connected"]), [0, 3, 4, 5]);
        assert_eq!(kept(&["demand", "launched"]), [0, 1]);
        let mut many = vec!["demand"; 60];
        many.extend([REFUSED; 500]);
        let kept = kept(&many);
        assert_eq!((kept.len(), kept.first(), kept.last()), (50, Some(&11), Some(&559)));
    }
}
