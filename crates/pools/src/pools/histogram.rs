//! Counts by size, as metrics want them.

use std::time::Duration;

use serde::Serialize;

/// Upper bounds of the buckets, in seconds. What is longer is only in `count`.
pub const BOUNDS: [f64; 14] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];

/// How often durations of each size were seen since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// How many were at most as long as each of [`BOUNDS`], each counted once, in the first bucket that it fits.
    pub counts: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(count) = self.counts.get_mut(BOUNDS.partition_point(|bound| *bound < seconds)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for seconds in [0, 1, 2, 3, 4000] {
            histogram.add(Duration::from_secs(seconds));
        }
        assert_eq!(histogram.counts[..4], [2, 1, 1, 0]);
        assert_eq!((histogram.count, histogram.sum), (5, 4006.0));
    }
}
