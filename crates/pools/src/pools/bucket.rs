//! Token buckets: so many at once, so many per second after that.

use std::time::Duration;

use model::Time;

/// A bucket that fills by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    size: f64,
    per_second: f64,
    level: f64,
    at: Time,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(size: u32, per_second: f64, now: Time) -> Self {
        let size = f64::from(size);
        Self { size, per_second: per_second.max(0.0), level: size, at: now }
    }

    /// Another size and speed; what is gone is gone.
    pub(super) fn resize(&mut self, size: u32, per_second: f64, now: Time) {
        let used = self.size - self.level_at(now);
        *self = Self::new(size, per_second, now);
        self.level -= used.clamp(0.0, self.size);
    }

    /// How many it has.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from float saturates"
    )]
    pub(super) fn has(&self, now: Time) -> u32 {
        (self.level_at(now) + 1e-6) as u32
    }

    /// Takes some, if it has them.
    pub(super) fn take(&mut self, now: Time, count: u32) -> bool {
        let (level, count) = (self.level_at(now), f64::from(count));
        (self.level, self.at) = (level, now.max(self.at));
        let enough = level + 1e-6 >= count;
        if enough {
            self.level -= count;
        }
        enough
    }

    /// When it has one again.
    pub(super) fn next(&self, now: Time) -> Time {
        let missing = (1.0 - self.level_at(now)).max(0.0);
        now + Duration::from_secs_f64(if self.per_second > 0.0 {
            (missing / self.per_second).min(3600.0)
        } else {
            3600.0
        })
    }

    fn level_at(&self, now: Time) -> f64 {
        (self.level + now.since(self.at).as_secs_f64() * self.per_second).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_again() {
        let at = |seconds| Time::from_epoch_seconds(seconds);
        let mut bucket = Bucket::new(5, 2.0, at(0));
        assert!(bucket.take(at(0), 5) && !bucket.take(at(0), 1));
        assert_eq!(bucket.next(at(0)), Time::from_micros(500_000));
        assert_eq!(bucket.has(at(1)), 2);
        assert!(bucket.take(at(1), 1));
        assert_eq!(bucket.has(at(100)), 5);
        bucket.resize(3, 1.0, at(100));
        assert_eq!(bucket.has(at(100)), 3);
    }
}
