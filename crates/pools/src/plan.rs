//! From demand to machines: what each pool starts now, and when each request can expect to be built.
//!
//! Pure: the same arguments give the same plan. One call plans all pools, because requests choose between pools and
//! pools compete for limits. The way of a request through it:
//!
//! 1. `effective`: what a new machine cannot help is put aside (merged, locked, limited).
//! 2. `places`: machines and workers that have room for one more build take what they can.
//! 3. `ladder`: the rest is listed, in order, on idle machines, machines on their way and (by `flow`, never one by
//!    one) places that become free; another machine only when the wait is worth it.
//! 4. `minimum`: machines for work that is expected (`flow`), minima and machines kept ready.
//! 5. `limits`: what may be started of that, and what stands against the rest.
//! 6. `buy`: what is bought.

mod buy;
mod desk;
mod effective;
mod flow;
mod ladder;
mod limits;
mod minimum;
mod places;
mod schedule;
mod view;
mod wish;
mod words;

#[cfg(test)]
mod tests;

pub use view::{Coming, Common, Partly, Room, Running, Spend, Supply, View};
pub use wish::{Choice, Denied, Expectation, Launch, Outlook, PoolPlan, Why};

use model::Time;

use crate::{Demand, learn::Jobs};

/// What each pool does now, in the order of `views`.
///
/// `jobs` is how long builds of each builder take. Indices in `demand` that lead nowhere are passed over.
pub fn plan(now: Time, demand: &Demand, views: &[View<'_>], common: &Common, jobs: &Jobs) -> Vec<PoolPlan> {
    let mut desks: Vec<_> = views.iter().map(|view| desk::Desk::new(now, view, demand, jobs)).collect();
    schedule::requests(demand, &mut desks);
    for desk in &mut desks {
        minimum::fill_up(desk);
    }
    limits::share(&mut desks, common);
    desks.into_iter().map(desk::Desk::finish).collect()
}
