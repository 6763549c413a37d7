//! The only reader of the wall clock.

mod steered;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::Time;
use tracing::warn;

use self::steered::{News, Skew, Steered};

/// Tells the time. Everything that needs it is handed one of these, so that a test can stop it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Time;
}

/// The clock of the machine: it starts at the wall clock's time, passes as the machine's monotonic clock does, and is
/// steered towards the wall clock, boundedly (see the module `steered`). It never runs backwards within one process,
/// and never stands.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    steered: Mutex<Steered>,
}

impl SystemClock {
    /// The clock of the machine.
    pub fn new() -> Self {
        Self { started: Instant::now(), steered: Mutex::new(Steered::starting_at(wall())) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let (now, news) = {
            let mut steered = self.steered.lock().unwrap_or_else(PoisonError::into_inner);
            steered.read(self.started.elapsed(), wall())
        };
        match news {
            None => {}
            Some(News::Apart(Skew::Ahead(by))) => warn!(
                ahead_s = by.as_secs(),
                "the machine's clock was set forward, or the machine was suspended; Ganger's time follows by and by, at most \
                 twice as fast as time passes"
            ),
            Some(News::Apart(Skew::Behind(by))) => warn!(
                behind_s = by.as_secs(),
                "the machine's clock was set back; Ganger's time waits for it by and by, at no less than half the speed at \
                 which time passes: start Ganger again to have the machine's time at once"
            ),
            Some(News::Stepped(by)) => {
                warn!(
                    by_s = by.as_secs(),
                    "Ganger's time is the machine's again: it was too far behind to catch up"
                );
            }
        }
        now
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
fn wall() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
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
