//! The sources of a configuration as tasks, and when each looks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use config::{ChangeSource, Config};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::{Desk, GitPoller};

/// So many gits run at once, whatever the number of repositories.
const GITS: usize = 4;

/// All sources of a configuration.
pub struct ChangeSources {
    desk: Arc<dyn Desk>,
    gits: Arc<Semaphore>,
}

impl ChangeSources {
    /// Sources that hand over to `desk`.
    pub fn new(desk: Arc<dyn Desk>) -> Self {
        Self { desk, gits: Arc::new(Semaphore::new(GITS)) }
    }

    /// Has the sources of the configuration in force look, until `stop`. A look that is under way then is cut off, and so
    /// is one of a source that a new configuration changes or leaves out.
    pub async fn run(self, mut config: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<String, (Arc<ChangeSource>, CancellationToken)> = BTreeMap::new();
        loop {
            let wanted = config.borrow_and_update().change_sources.clone();
            running.retain(|name, (old, end)| {
                let stays = wanted.iter().any(|new| new.name() == name && *new == *old);
                if !stays {
                    end.cancel();
                }
                stays
            });
            for source in wanted {
                if !running.contains_key(source.name()) {
                    let end = CancellationToken::new();
                    let span = info_span!("change source", source.name = source.name());
                    let look = self.look(Arc::clone(&source));
                    tasks.spawn(end.clone().run_until_cancelled_owned(look).instrument(span));
                    running.insert(source.name().to_owned(), (source, end));
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = config.changed() => if changed.is_err() { break },
                // They end only when they are told to.
                Some(_) = tasks.join_next() => {}
            }
        }
        tasks.shutdown().await;
    }

    /// Looks again and again.
    fn look(&self, source: Arc<ChangeSource>) -> impl Future<Output = ()> + use<> {
        let ChangeSource::GitPoller(config) = &*source;
        let config = Arc::clone(config);
        let poller = GitPoller::new(Arc::clone(&config), Arc::clone(&self.desk), Arc::clone(&self.gits));
        async move {
            let begun = Instant::now();
            let mut next = begun + random(config.poll_random_delay);
            if !config.poll_at_launch {
                next += config.poll_interval;
            }
            loop {
                sleep_until(next).await;
                match poller.poll().await {
                    Ok(0) => debug!("no new commits"),
                    Ok(count) => info!(count, "new commits"),
                    Err(error) => {
                        warn!(error = &error as &dyn std::error::Error, "the repository cannot be looked at")
                    }
                }
                next = after(begun, Instant::now(), config.poll_interval) + random(config.poll_random_delay);
            }
        }
    }
}

/// The next time: a whole number of intervals after `begun`.
fn after(begun: Instant, now: Instant, interval: Duration) -> Instant {
    let passed = now.duration_since(begun).as_nanos();
    let interval = interval.max(Duration::from_secs(1));
    let rest = interval.as_nanos() - passed % interval.as_nanos();
    now + Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
}

/// A time between two others.
fn random((least, most): (Duration, Duration)) -> Duration {
    let span = most.saturating_sub(least);
    let dice = getrandom::u64().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a delay need not be exact")]
    let share = dice as f64 / u64::MAX as f64;
    least + span.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_keep_their_rhythm_whatever_they_take() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let at = |now: u32| after(begun, begun + second * now, second * 60).duration_since(begun);
        assert_eq!(at(0), second * 60);
        assert_eq!(at(61), second * 120);
        assert_eq!(at(119), second * 120);
    }

    #[test]
    fn delays_are_between_their_bounds() {
        let bounds = (Duration::from_secs(3), Duration::from_secs(5));
        for _ in 0..100 {
            assert!((bounds.0..=bounds.1).contains(&random(bounds)));
        }
        assert_eq!(random((Duration::ZERO, Duration::ZERO)), Duration::ZERO);
    }
}
