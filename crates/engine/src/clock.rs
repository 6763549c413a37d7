//! The only reader of the wall clock.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use model::Time;

/// Tells the time. Everything that needs it is handed one of these, so that a test can stop it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Time;
}

/// The clock of the machine. It never runs backwards within one process: a clock that is set back stands still until
/// it has caught up.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl SystemClock {
    /// The clock of the machine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let before = self.latest.fetch_max(now, Ordering::Relaxed);
        Time::from_micros(now.max(before))
    }
}

/// A clock for tests, which goes with tokio's: it starts at a time of one's choice and moves as paused time is
/// advanced.
#[derive(Debug)]
pub struct TestClock {
    started: tokio::time::Instant,
    origin: Time,
}

impl TestClock {
    /// A clock that shows `origin` now. Needs a tokio runtime around it.
    pub fn starting_at(origin: Time) -> Self {
        Self { started: tokio::time::Instant::now(), origin }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        self.origin + self.started.elapsed()
    }
}
