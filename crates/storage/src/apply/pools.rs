//! Pools: their instances, what they keep, who has them, and what they decided.

use std::time::Duration;

use model::{Json, Time};

use super::{Applied, Tables};
use crate::{
    database::params,
    error::ApplyError,
    json,
    pools::{DecisionRow, InstanceRow, Lease},
    sql::pools as sql,
};

/// How many decisions are kept. At some 300 bytes each it is what a busy farm decides in weeks.
pub(crate) const DECISIONS_KEPT: i64 = 100_000;

/// After so many decisions as many old ones go, so that each time they are few.
const PRUNE_EVERY: i64 = 256;

/// How many instances of a pool that are gone are kept whatever their age.
pub(crate) const ENDED_KEPT: i64 = 1000;

/// At every so many instances that end, a few more old ones go: what has piled up is gone in time, and nobody waits for it.
const PRUNE_INSTANCES_EVERY: i64 = 16;
const PRUNE_INSTANCES_AT_ONCE: i64 = 64;

pub(super) fn instance(tables: &Tables<'_>, row: &InstanceRow) -> Applied {
    check(tables, &row.pool, row.fence)?;
    tables.run(
        sql::SET_INSTANCE,
        params![
            row.id.0,
            row.pool,
            row.slot,
            row.state,
            row.token,
            row.offering,
            row.provider_id,
            row.price.0,
            row.planned_at.micros(),
            row.connected_at.map(Time::micros),
            row.ended_at.map(Time::micros),
            row.end_code,
            row.cost.map(|cost| cost.0),
            json::text(&row.data),
            fence_column(row.fence)
        ],
    )?;
    match row.ended_at {
        Some(now) if row.state == InstanceRow::GONE && row.id.0 % PRUNE_INSTANCES_EVERY == 0 => {
            let month_before = (now.start_of_month() - Duration::from_secs(1)).start_of_month();
            let kept = ENDED_KEPT - 1;
            let values = params![row.pool, month_before.micros(), kept, PRUNE_INSTANCES_AT_ONCE];
            tables.run(sql::PRUNE_INSTANCES, values)
        }
        _ => Ok(()),
    }
}

pub(super) fn state(tables: &Tables<'_>, pool: &str, data: &Json, fence: u64) -> Applied {
    check(tables, pool, fence)?;
    tables.run(sql::SET_POOL, params![pool, json::text(data)])
}

pub(super) fn decision(tables: &Tables<'_>, row: &DecisionRow) -> Applied {
    let values = params![
        row.at.micros(),
        row.pool,
        row.instance.map(|id| id.0),
        row.request.map(|id| id.0),
        row.code,
        row.text
    ];
    let id = tables.add(sql::ADD_DECISION, values)?;
    if id % PRUNE_EVERY == 0 && id > DECISIONS_KEPT {
        tables.run(sql::PRUNE_DECISIONS, params![id - DECISIONS_KEPT])?;
    }
    Ok(())
}

/// The row of a lease.
struct Held {
    /// `None` after it was given back.
    master: Option<i64>,
    fence: i64,
    expires_at: Time,
    name: Option<String>,
}

fn held(tables: &Tables<'_>, pool: &str) -> Applied<Option<Held>> {
    tables.connection.first(sql::LEASE, params![pool], |row| {
        Ok(Held {
            master: row.get(0)?,
            fence: row.get(1)?,
            expires_at: Time::from_micros(row.get(2)?),
            name: row.get(3)?,
        })
    })
}

/// Refuses a write under a lease that is no longer the pool's.
fn check(tables: &Tables<'_>, pool: &str, fence: u64) -> Applied {
    let held = held(tables, pool)?;
    match held {
        Some(held) if held.master == Some(tables.master.0) && held.fence == fence_column(fence) => Ok(()),
        held => Err(ApplyError::Fenced {
            pool: pool.to_owned(),
            fence,
            master: held.and_then(|held| {
                let name = held.name?;
                Some(if held.master == Some(tables.master.0) {
                    format!("a later start of {name}")
                } else {
                    name
                })
            }),
        }),
    }
}

/// Takes a pool when it is free, its lease has ended, or it is this master's already.
pub(crate) fn lease(tables: &Tables<'_>, pool: &str, at: Time, ttl: Duration) -> Applied<Lease> {
    let held = held(tables, pool)?;
    if let Some(Held { master: Some(master), expires_at, name, .. }) = &held
        && *master != tables.master.0
        && *expires_at > at
    {
        let master = name.clone().unwrap_or_else(|| format!("number {master}"));
        return Ok(Lease::Other { master, expires_at: *expires_at });
    }
    let fence = held.map_or(0, |held| held.fence) + 1;
    tables.run(sql::TAKE_LEASE, params![pool, tables.master.0, fence, (at + ttl).micros()])?;
    Ok(Lease::Ours(u64::try_from(fence).unwrap_or(0)))
}

/// Whether the lease was still this master's, and now lasts longer.
pub(crate) fn renew(tables: &Tables<'_>, pool: &str, fence: u64, at: Time, ttl: Duration) -> Applied<bool> {
    let values = params![(at + ttl).micros(), pool, tables.master.0, fence_column(fence)];
    Ok(tables.connection.execute(sql::RENEW_LEASE, values)? == 1)
}

/// Gives a pool back, if it is still this master's under that number.
pub(crate) fn release(tables: &Tables<'_>, pool: &str, fence: u64) -> Applied {
    tables.run(sql::RELEASE_LEASE, params![pool, tables.master.0, fence_column(fence)])
}

/// Numbers count from 1 and never get near the end.
fn fence_column(fence: u64) -> i64 {
    i64::try_from(fence).unwrap_or(i64::MAX)
}
