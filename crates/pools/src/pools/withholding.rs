//! Machines that the dispatcher gives no builds for reasons of its own: somebody paused their worker, or its last build
//! failed by its machinery. They are no places, so another machine may be started for what waits.

use model::{InstanceId, Time};

use super::Pools;

impl Pools {
    /// The dispatcher gives an instance no builds, or gives it builds again.
    pub(super) fn withheld(&mut self, now: Time, id: InstanceId, why: Option<String>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.withheld = why;
        let pool = &mut self.pools[entry.pool];
        if entry.withheld.is_some() {
            pool.withheld.insert(id);
        } else {
            pool.withheld.remove(&id);
        }
        self.kick(now);
    }

    /// How many machines of a pool have no work and get none.
    pub(super) fn withheld_idle(&self, at: usize) -> u32 {
        let pool = &self.pools[at];
        let idle = |id: &&InstanceId| {
            self.entries.get(id).is_some_and(|entry| pool.idle.contains(&(entry.row.since, **id)))
        };
        u32::try_from(pool.withheld.iter().filter(idle).count()).unwrap_or(u32::MAX)
    }
}
