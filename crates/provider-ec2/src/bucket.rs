//! Token buckets for calls, as EC2 has them: for each class of call, of each region, for all pools of this process.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use pools::{ProviderError, provider::ErrorKind};
use tokio::time::{Instant, sleep_until};

/// Calls that share a bucket
/// (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>). Ganger takes half of what an account has
/// by default, so that others can work beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// `RunInstances`.
    Run,
    /// `TerminateInstances`: in a lane of its own, so that ends are never kept waiting by starts.
    Terminate,
    /// `StartInstances`, `StopInstances`, and other changes.
    Change,
    /// `Describe…` and other questions.
    Describe,
}

impl Class {
    /// How many at once, and how many a second after that.
    fn size(self) -> (f64, f64) {
        match self {
            Self::Run => (5.0, 2.0),
            Self::Terminate => (50.0, 5.0),
            Self::Change => (25.0, 2.5),
            Self::Describe => (50.0, 10.0),
        }
    }
}

/// The longest that a call waits for its turn; then it is told to come later.
const PATIENCE: Duration = Duration::from_secs(20);

/// When each bucket would be full again, if nobody called.
type Full = Mutex<HashMap<(String, Class), Instant>>;

static BUCKETS: LazyLock<Arc<Full>> = LazyLock::new(Arc::default);

/// Waits until a call may be made. `place` names the region, and the endpoint where that is another one.
pub(crate) async fn turn(place: &str, class: Class) -> Result<(), ProviderError> {
    match reserve(&BUCKETS, place, class, Instant::now()) {
        Ok(at) => {
            sleep_until(at).await;
            Ok(())
        }
        Err(wait) => Err(ProviderError {
            kind: ErrorKind::Throttled(Some(wait)),
            code: "TooManyCalls".to_owned(),
            text: format!("so many calls wait for their turn in {place} that this one would wait {wait:.0?}"),
        }),
    }
}

/// When a call may be made, or how long it would take.
fn reserve(buckets: &Full, place: &str, class: Class, now: Instant) -> Result<Instant, Duration> {
    let (burst, rate) = class.size();
    let (burst, each) = (Duration::from_secs_f64(burst / rate), Duration::from_secs_f64(1.0 / rate));
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    let full = buckets.entry((place.to_owned(), class)).or_insert(now);
    let after = (*full).max(now) + each;
    let at = after.checked_sub(burst).unwrap_or(now).max(now);
    if at - now > PATIENCE {
        return Err(at - now);
    }
    *full = after;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_calls_come_at_the_rate() {
        let (buckets, now) = (Full::default(), Instant::now());
        let at = || reserve(&buckets, "r", Class::Run, now).map(|at| at - now);
        for _ in 0..5 {
            assert_eq!(at(), Ok(Duration::ZERO));
        }
        assert_eq!(at(), Ok(Duration::from_millis(500)));
        assert_eq!(at(), Ok(Duration::from_secs(1)));
        assert_eq!(reserve(&buckets, "r", Class::Terminate, now), Ok(now), "another class, another bucket");
        assert_eq!(reserve(&buckets, "s", Class::Run, now), Ok(now), "another region, another bucket");
        let later = now + Duration::from_secs(3600);
        assert_eq!(reserve(&buckets, "r", Class::Run, later), Ok(later), "a bucket fills again");
    }

    #[test]
    fn who_would_wait_too_long_is_told_so() {
        let (buckets, now) = (Full::default(), Instant::now());
        let refused = (0..100).find_map(|_| reserve(&buckets, "r", Class::Run, now).err());
        assert!(refused.is_some_and(|wait| wait > PATIENCE));
    }
}
