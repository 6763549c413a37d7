//! Who decides how many machines there are: ours, or the rule of another system.

use std::fmt;

use model::{InstanceId, Time};

use super::farm::Farm;
use crate::{Batch, Event};

/// Decides how many machines there are.
///
/// It is told what happens and gives back orders, in the words of [`crate`]. It is asked to think at the time that
/// [`Policy::next`] gives.
pub trait Policy: fmt::Debug {
    /// Its name, for tables.
    fn name(&self) -> String;

    /// The simulation begins.
    fn begin(&mut self, now: Time, farm: &mut Farm) -> Batch;

    /// Something happened.
    fn handle(&mut self, now: Time, event: Event) -> Batch;

    /// The worker of an instance wants in. Gives whether it may.
    fn log_in(&mut self, now: Time, pool: &str, instance: InstanceId, boot: u32) -> (bool, Batch);

    /// When it wants to think; a time that has passed is now.
    fn next(&self) -> Option<Time>;

    /// Thinks.
    fn wake(&mut self, now: Time, farm: &mut Farm) -> Batch;

    /// What a batch writes is durable from now on.
    fn commit(&mut self, batch: &mut Batch) {
        batch.rows.clear();
        batch.pools.clear();
        batch.decisions.clear();
    }

    /// The master was killed, and starts again with what was durable.
    fn restart(&mut self, now: Time) -> Batch {
        let _nothing_is_durable = now;
        Batch::default()
    }

    /// Whether it still means to end the machine of an instance that it has.
    fn knows(&self, instance: InstanceId) -> bool {
        let _all = instance;
        true
    }

    /// What is wrong with its own books, if anything is.
    fn check(&self, now: Time) -> Option<String> {
        let _nothing = now;
        None
    }
}
