//! Instances, decisions, and what pools keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{BuildRequestId, BuilderId, InstanceId, Json, Time, pool::Money};

use super::{Conditions, Parsed, Read, all, json, workers};
use crate::{
    database::{self, Connection, Row, params},
    pools::{DecisionFilter, DecisionRow, InstanceFilter, InstanceRow, RestoredPools},
    sql::pools as sql,
};

/// How many instances of a pool that are gone are restored.
const ENDED: u32 = 200;

/// How many builds of the past are looked at, and how many of a builder are of use.
const BUILDS: u32 = 20_000;
const BUILDS_OF_BUILDER: usize = 50;

pub(crate) fn instances(connection: &Connection, filter: &InstanceFilter) -> Read<Vec<InstanceRow>> {
    let mut conditions = Conditions::default();
    conditions.equal("id", filter.id.map(|id| id.0));
    conditions.equal("pool", filter.pool.clone());
    conditions.equal("state", filter.state.clone());
    match filter.gone {
        Some(true) => conditions.condition("state = 'gone'"),
        Some(false) => conditions.condition("state <> 'gone'"),
        None => {}
    }
    conditions.page("id DESC", filter.limit, 0);
    let text = format!("{}{}", sql::INSTANCES, conditions.text);
    all(connection, &text, &conditions.values(), parse_instance)
}

fn parse_instance(row: &Row<'_>) -> Parsed<InstanceRow> {
    let id = InstanceId(row.get(0)?);
    let time = |column| Ok::<_, database::Error>(row.get::<Option<i64>>(column)?.map(Time::from_micros));
    let data: String = row.get(13)?;
    let parsed = InstanceRow {
        id,
        pool: row.get(1)?,
        slot: row.get(2)?,
        state: row.get(3)?,
        token: row.get(4)?,
        offering: row.get(5)?,
        provider_id: row.get(6)?,
        price: Money(row.get(7)?),
        planned_at: Time::from_micros(row.get(8)?),
        connected_at: time(9)?,
        ended_at: time(10)?,
        end_code: row.get(11)?,
        cost: row.get::<Option<i64>>(12)?.map(Money),
        data: Json::Null,
        fence: u64::try_from(row.get::<i64>(14)?).unwrap_or(0),
    };
    Ok(json(&data, || format!("instance {id}")).map(|data| InstanceRow { data, ..parsed }))
}

pub(crate) fn decisions(connection: &Connection, filter: &DecisionFilter) -> Read<Vec<DecisionRow>> {
    let mut conditions = Conditions::default();
    conditions.equal("pool", filter.pool.clone());
    conditions.equal("instanceid", filter.instance.map(|id| id.0));
    conditions.equal("buildrequestid", filter.request.map(|id| id.0));
    conditions.compare("id", "<", filter.before);
    conditions.page("id DESC", filter.limit, 0);
    let text = format!("{}{}", sql::DECISIONS, conditions.text);
    all(connection, &text, &conditions.values(), |row| {
        Ok(Ok(DecisionRow {
            id: row.get(0)?,
            at: Time::from_micros(row.get(1)?),
            pool: row.get(2)?,
            instance: row.get::<Option<i64>>(3)?.map(InstanceId),
            request: row.get::<Option<i64>>(4)?.map(BuildRequestId),
            code: row.get(5)?,
            text: row.get(6)?,
        }))
    })
}

pub(crate) fn live_pools(connection: &Connection) -> Read<Vec<String>> {
    let of_each: BTreeSet<String> =
        all(connection, sql::LIVE_POOLS, params![], |row| Ok(Ok(row.get(0)?)))?.into_iter().collect();
    Ok(of_each.into_iter().collect())
}

/// See [`crate::Store::restore_pools`].
pub(crate) fn restore_pools(connection: &Connection, pools: &[String]) -> Read<RestoredPools> {
    let mut restored = RestoredPools::default();
    for (name, text) in all(connection, sql::POOLS, params![], |row| Ok(Ok((row.get(0)?, row.get(1)?))))? {
        let name: String = name;
        let text: String = text;
        let data = json(&text, || format!("state of pool {name:?}"))?;
        restored.states.insert(name, data);
    }
    restored.instances = all(connection, sql::LIVE_INSTANCES, params![], parse_instance)?;
    let live: BTreeSet<&str> = restored.instances.iter().map(|row| row.pool.as_str()).collect();
    let known: BTreeSet<String> = live.into_iter().map(str::to_owned).chain(pools.iter().cloned()).collect();
    for pool in &known {
        let ended = all(connection, sql::ENDED_INSTANCES, params![pool, ENDED], parse_instance)?;
        restored.instances.extend(ended);
    }
    restored.instances.sort_unstable_by_key(|row| row.id);
    if !known.is_empty() {
        restored.durations = durations(connection)?;
        let slots = workers(connection)?.into_iter().filter(|row| is_slot(&row.name, &known));
        restored.slots = slots.map(|row| (row.name.clone(), row)).collect();
    }
    Ok(restored)
}

/// Whether a worker is called `POOL-N`.
fn is_slot(worker: &str, pools: &BTreeSet<String>) -> bool {
    worker.rsplit_once('-').is_some_and(|(pool, number)| {
        pools.contains(pool)
            && !number.starts_with('0')
            && number.parse::<u32>().is_ok_and(|parsed| parsed.to_string() == number)
    })
}

fn durations(connection: &Connection) -> Read<Vec<(BuilderId, Vec<Duration>)>> {
    let newest_first: Vec<(i64, i64)> =
        all(connection, sql::RECENT_BUILDS, params![BUILDS], |row| Ok(Ok((row.get(0)?, row.get(1)?))))?;
    let mut by_builder: BTreeMap<BuilderId, Vec<Duration>> = BTreeMap::new();
    for (builder, seconds) in newest_first {
        let durations = by_builder.entry(BuilderId(builder)).or_default();
        if durations.len() < BUILDS_OF_BUILDER {
            durations.push(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1)));
        }
    }
    for durations in by_builder.values_mut() {
        durations.reverse();
    }
    Ok(by_builder.into_iter().collect())
}
