//! Why a request waits, and why an instance is there.

use engine::core::ReasonCode;
use model::BuildRequestId;
use storage::{BuildFilter, BuildOrder, DecisionFilter, RequestRow};

use super::{Expected, InstanceWhy, Reason, RequestWhy, Why, WhyFilter, find, view};
use crate::control::{
    Refusal,
    house::{House, not_done},
    view::{Names, now, unreadable},
};

/// How many builds of a request are shown: one for each time that it was lost with its machine.
const BUILDS: u32 = 20;

/// Answers `pool.why`.
pub(in crate::control) async fn why(house: &House, filter: WhyFilter) -> Result<Why, Refusal> {
    let WhyFilter { what, request: only_request, instance: only_instance } = filter;
    let row = match find::number(&what) {
        Some(id) if !only_instance => house.store.request(BuildRequestId(id)).await.map_err(unreadable)?,
        _ => None,
    };
    let request = match row {
        Some(row) => Some(of_request(house, row).await?),
        None if only_request => {
            return Err(Refusal::not_found(format!(
                "no build request has the number {}",
                find::quoted(&what)
            )));
        }
        None => None,
    };
    let instance = if only_request || what.starts_with('#') {
        None
    } else {
        match find::instance(house, &what).await {
            Ok(found) => Some(of_instance(house, &found).await?),
            Err(_) if request.is_some() => None,
            Err(refusal)
                if refusal.code == Refusal::NOT_FOUND && find::number(&what).is_some() && !only_instance =>
            {
                return Err(Refusal::not_found(format!(
                    "neither a build request nor an instance has the number {what}"
                )));
            }
            Err(refusal) => return Err(refusal),
        }
    };
    if request.is_none() && instance.is_none() {
        return Err(Refusal::not_found(format!("no build request has the number {}", find::quoted(&what))));
    }
    Ok(Why { now: now(house), request, instance })
}

async fn of_request(house: &House, row: RequestRow) -> Result<RequestWhy, Refusal> {
    let why = house.master.why(row.id).await.map_err(not_done)?;
    let mut names = Names::new(house);
    let wanted = BuildFilter {
        request: Some(row.id),
        order: BuildOrder::IdDescending,
        limit: BUILDS,
        ..BuildFilter::default()
    };
    let mut builds = Vec::new();
    for build in house.store.builds(wanted).await.map_err(unreadable)? {
        builds.push(names.build(build).await?);
    }
    // What the core does not know any more, the tables do.
    let reason = match row.results.filter(|_| row.complete) {
        Some(results) => Reason { code: "complete".to_owned(), text: format!("it is done: {results}") },
        None if why.code == ReasonCode::Unknown => Reason {
            code: "unknown".to_owned(),
            text: "this master does not have it in its queue".to_owned(),
        },
        None => Reason { code: view::word(&why.code), text: why.text },
    };
    let decisions =
        view::of_rows(house, DecisionFilter { request: Some(row.id), ..DecisionFilter::default() }).await?;
    Ok(RequestWhy {
        buildrequestid: row.id.0,
        builder: names.builder(row.builder).await?,
        priority: row.priority,
        submitted_at: row.submitted_at.epoch_seconds(),
        results: row.results.filter(|_| row.complete).map(|results| results.code()),
        why: reason,
        expected: why.pool.map(|expected| Expected {
            pool: expected.pool,
            start: expected.start.map(|at| at.epoch_seconds()),
            code: view::word(&expected.code),
        }),
        builds,
        decisions,
    })
}

async fn of_instance(house: &House, found: &find::Found) -> Result<InstanceWhy, Refusal> {
    let instance = match &found.live {
        Some((pool, live)) => {
            let console = found.row.console.clone();
            super::Instance { console, ..view::of_instance(pool, live) }
        }
        None => view::of_ledger(&found.row),
    };
    Ok(InstanceWhy { instance, decisions: view::about(house, found.id).await? })
}
