//! Token buckets, as EC2 has them for calls to launch.

use model::Time;

use crate::provider::ApiBudget;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    capacity: f64,
    per_second: f64,
    at: Time,
}

impl Bucket {
    fn new(capacity: u32, per_second: f64) -> Self {
        Self { level: capacity.into(), capacity: capacity.into(), per_second, at: Time::default() }
    }

    fn fill(&mut self, now: Time) {
        let passed = now.since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.capacity);
        self.at = self.at.max(now);
    }
}

/// A client's or a cloud's account of calls.
#[derive(Clone, Debug)]
pub struct Buckets {
    calls: Bucket,
    instances: Bucket,
}

impl Buckets {
    /// Full ones.
    pub fn new(api: ApiBudget) -> Self {
        Self {
            calls: Bucket::new(api.calls, api.calls_per_second),
            instances: Bucket::new(api.instances, api.instances_per_second),
        }
    }

    /// How many machines a call could ask for now; 0 when no call can be made.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut off at the bounds")]
    pub fn room(&mut self, now: Time) -> u32 {
        self.calls.fill(now);
        self.instances.fill(now);
        if self.calls.level + 1e-9 < 1.0 { 0 } else { (self.instances.level + 1e-9) as u32 }
    }

    /// Takes a call for so many machines, if there is room for it.
    pub fn take(&mut self, now: Time, machines: u32) -> bool {
        let room = self.room(now);
        if room == 0 || machines > room {
            return false;
        }
        self.calls.level -= 1.0;
        self.instances.level -= f64::from(machines);
        true
    }
}
