//! From demand to machines: what each pool starts now, and when each request can expect to be built.
//!
//! Pure: the same arguments give the same plan. One call plans all pools, because requests choose between pools and
//! pools compete for limits.

mod view;
mod wish;

pub use view::{Coming, Common, Partly, Room, Running, Spend, Supply, View};
pub use wish::{Choice, Denied, Expectation, Launch, Outlook, PoolPlan, Why};

use model::Time;

use crate::{Demand, learn::Jobs};

/// What each pool does now, in the order of `views`.
///
/// `jobs` is how long builds of each builder take.
pub fn plan(now: Time, demand: &Demand, views: &[View<'_>], common: &Common, jobs: &Jobs) -> Vec<PoolPlan> {
    let _ = (now, demand, common, jobs);
    views.iter().map(|view| PoolPlan::new(&view.spec.name)).collect()
}
