//! What somebody means by a name.

use config::nearest;
use model::InstanceId;
use pools::{Instance, PoolStatus, pools::InstanceStatus};
use storage::{DecisionFilter, InstanceFilter, InstanceRow};

use crate::control::{
    Refusal,
    house::{House, not_done},
    server::internal,
    view::unreadable,
};

/// How many rows of a pool's past are looked through for a name.
const PAST: u32 = 1000;

/// Somebody's words in a message stay short.
const SHOWN: usize = 100;

/// An instance that was found, gone or not.
#[derive(Debug)]
pub(super) struct Found {
    /// Its id.
    pub(super) id: InstanceId,
    /// Its row.
    pub(super) row: Box<Instance>,
    /// The pool and how it is now, when it is not gone.
    pub(super) live: Option<(String, Box<InstanceStatus>)>,
}

/// The pool of this name.
fn pool_named<'a>(pools: &'a [PoolStatus], name: &str) -> Result<&'a PoolStatus, Refusal> {
    pools.iter().find(|pool| pool.name == name).ok_or_else(|| no_pool(pools, name))
}

/// How the pool of this name is now.
pub(super) async fn pool_status(house: &House, name: &str) -> Result<PoolStatus, Refusal> {
    let pools = house.master.pools().await.map_err(not_done)?;
    pool_named(&pools, name).cloned()
}

/// Whether there is a pool of this name, or was one.
pub(super) async fn pool_with_a_past(house: &House, name: &str) -> Result<(), Refusal> {
    let Err(refusal) = pool_status(house, name).await else { return Ok(()) };
    let filter = DecisionFilter { pool: Some(name.to_owned()), limit: 1, ..DecisionFilter::default() };
    match house.store.decisions(filter).await.map_err(unreadable)?.is_empty() {
        true => Err(refusal),
        false => Ok(()),
    }
}

fn no_pool(pools: &[PoolStatus], name: &str) -> Refusal {
    let names = || pools.iter().map(|pool| pool.name.as_str());
    let mut text = format!("no pool is called {}", quoted(name));
    if pools.is_empty() {
        text.push_str(": the configuration has no `[[pool]]`");
    } else if let Some(near) = nearest(name, names()) {
        text.push_str(&format!("; did you mean {near:?}?"));
    } else {
        let some: Vec<&str> = names().take(10).collect();
        let more = if pools.len() > some.len() { ", …" } else { "" };
        text.push_str(&format!("; there are {}{more}", some.join(", ")));
    }
    Refusal::not_found(text)
}

/// The name as somebody gave it, for a message.
pub(super) fn quoted(name: &str) -> String {
    format!("{:?}", name.chars().take(SHOWN).collect::<String>())
}

/// The instance that somebody means by its id, its login, its slot, or its provider's name of it. Of several that had a
/// slot it is the one that has it, or else had it last.
pub(super) async fn instance(house: &House, name: &str) -> Result<Found, Refusal> {
    let pools = house.master.pools().await.map_err(not_done)?;
    let (by_id, login) = numbered(name);
    let is_meant = |pool: &PoolStatus, one: &InstanceStatus| match by_id {
        Some(id) => one.id == id && login.is_none_or(|login| login == pool.name),
        None => one.slot == name || one.provider_id.as_deref() == Some(name),
    };
    let live = pools.iter().find_map(|pool| {
        let one = pool.instances.iter().find(|one| is_meant(pool, one))?;
        Some((pool.name.clone(), Box::new(one.clone())))
    });
    if let Some((pool, one)) = live {
        let row = row(house, one.id).await?.ok_or_else(|| unknown(&pools, name))?;
        return Ok(Found { id: one.id, row: Box::new(row), live: Some((pool, one)) });
    }
    let row = match by_id {
        Some(id) => row(house, id).await?.filter(|row| login.is_none_or(|login| login == row.slot.pool)),
        None => past(house, name).await?,
    };
    let row = row.ok_or_else(|| unknown(&pools, name))?;
    Ok(Found { id: row.id, row: Box::new(row), live: None })
}

/// `12`, or `linux@12` with the pool's name.
fn numbered(name: &str) -> (Option<InstanceId>, Option<&str>) {
    let (login, number) = match name.rsplit_once('@') {
        Some((pool, number)) => (Some(pool), number),
        None => (None, name),
    };
    match number.parse() {
        Ok(id) => (Some(InstanceId(id)), login),
        Err(_) => (None, None),
    }
}

/// A row of the ledger: the pools forget what is long gone, the tables do not.
async fn row(house: &House, id: InstanceId) -> Result<Option<Instance>, Refusal> {
    if let Some(row) = house.master.instance(id).await.map_err(not_done)? {
        return Ok(Some(row));
    }
    let filter = InstanceFilter { id: Some(id), limit: 1, ..InstanceFilter::default() };
    house.store.instances(filter).await.map_err(unreadable)?.into_iter().next().map(parse).transpose()
}

/// The last instance that had this slot, or this name at its provider.
async fn past(house: &House, name: &str) -> Result<Option<Instance>, Refusal> {
    let slot = name.rsplit_once('-').and_then(|(pool, number)| Some((pool, number.parse::<u32>().ok()?)));
    if let Some((pool, number)) = slot {
        let filter = InstanceFilter { pool: Some(pool.to_owned()), limit: PAST, ..InstanceFilter::default() };
        let rows = house.store.instances(filter).await.map_err(unreadable)?;
        if let Some(row) = rows.into_iter().find(|row| row.slot == number) {
            return parse(row).map(Some);
        }
    }
    let filter = InstanceFilter { limit: PAST, ..InstanceFilter::default() };
    let rows = house.store.instances(filter).await.map_err(unreadable)?;
    rows.into_iter().find(|row| row.provider_id.as_deref() == Some(name)).map(parse).transpose()
}

fn parse(row: InstanceRow) -> Result<Instance, Refusal> {
    serde_json::from_value(row.data)
        .map_err(|error| internal(format_args!("the row of instance {} cannot be read: {error}", row.id)))
}

/// There is no such instance. The slot that is nearest to the name may be what was meant.
fn unknown(pools: &[PoolStatus], name: &str) -> Refusal {
    let mut text = match name.parse::<i64>() {
        Ok(id) => format!("no instance has the number {id}"),
        Err(_) => format!("no instance is or was called {}", quoted(name)),
    };
    let slots = pools.iter().flat_map(|pool| &pool.instances).map(|one| one.slot.as_str());
    if let Some(near) = nearest(name, slots) {
        text.push_str(&format!("; did you mean {near:?}?"));
    }
    Refusal::not_found(text)
}

/// What somebody gives as a request's number: whether it is one.
pub(super) fn number(what: &str) -> Option<i64> {
    what.strip_prefix('#').unwrap_or(what).parse().ok()
}
