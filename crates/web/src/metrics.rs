//! Which figures there are. `docs/pools.md` lists them for users.

mod master;
mod pool;
#[cfg(test)]
mod tests;

use engine::{
    core::Status,
    master::{Health, Turns},
};
use model::{Json, Time};
use pools::PoolStatus;
use serde::Serialize;

use crate::{
    exposition::{Format, Page},
    server::House,
};

/// Everything at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    version: &'static str,
    started_at: Time,
    health: Health,
    turns: Turns,
    /// `None` when the master could not say.
    status: Option<Status>,
    /// Empty when the master could not say.
    pools: Vec<PoolStatus>,
}

/// Asks the master. What it cannot say now is left out.
pub(crate) async fn look(house: &House) -> Figures {
    let status = house.master.status().await.ok();
    let pools = house.master.pools().await.unwrap_or_default();
    // Last, so that what made the others fail is seen.
    let health = house.master.health();
    let (version, started_at, turns) = (house.version, house.started_at, house.master.turns());
    Figures { version, started_at, health, turns, status, pools }
}

/// All figures, written down.
pub(crate) fn page(figures: &Figures, format: Format) -> String {
    let mut page = Page::new(format);
    master::put(&mut page, figures);
    pool::put(&mut page, &figures.pools);
    page.finish()
}

/// A word of a closed set, as `--json` has it.
fn word(of: &impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Json::String(word)) => word,
        _ => "other".to_owned(),
    }
}

/// Truth as a figure.
fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// A number of things as a figure.
fn number(of: usize) -> f64 {
    crate::exposition::whole(u64::try_from(of).unwrap_or(u64::MAX))
}
