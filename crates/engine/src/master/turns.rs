//! What the core's timers cost, for figures: passes of the pools above all.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How often the core was woken because something was due, and how long that took since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// How often.
    pub count: u64,
    /// How long, all together. Nothing else is decided meanwhile.
    pub took: Duration,
}

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Meter {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    /// One more, which took so long.
    pub(super) fn add(&self, took: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// All until now.
    pub(super) fn turns(&self) -> Turns {
        Turns { count: self.count.load(Relaxed), took: Duration::from_nanos(self.nanos.load(Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_add_up() {
        let meter = Meter::default();
        assert_eq!(meter.turns(), Turns::default());
        meter.add(Duration::from_millis(2));
        meter.add(Duration::from_micros(500));
        assert_eq!(meter.turns(), Turns { count: 2, took: Duration::from_micros(2500) });
    }
}
