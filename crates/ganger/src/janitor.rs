//! Deletes what is old, every day.

use std::{sync::Arc, time::Duration};

use config::{Config, Janitor};
use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};
use model::Time;
use storage::{Horizons, Pruned};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::control::House;

/// A day that cannot be reckoned, at the end of all days.
const SOME_DAY: Duration = Duration::from_hours(24);

/// Waits for the hour of each day, until it is aborted.
pub(crate) async fn run(house: Arc<House>, mut config: watch::Receiver<Arc<Config>>) {
    loop {
        let janitor = config.borrow_and_update().janitor.clone();
        let wait = async {
            match &janitor {
                Some(janitor) => {
                    tokio::time::sleep(until_next(house.clock.now(), janitor, &TimeZone::system())).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return },
            () = wait => {
                let Some(janitor) = &janitor else { continue };
                match house.store.prune(&horizons(janitor), house.clock.now()).await {
                    Ok(Pruned { logs, build_data, builds, changes }) => {
                        info!(logs, build_data, builds, changes, "the janitor has deleted what is old");
                    }
                    Err(error) => warn!(error = &error as &dyn std::error::Error, "the janitor gave up"),
                }
            }
        }
    }
}

/// What the configuration says, in the words of storage.
pub(crate) fn horizons(janitor: &Janitor) -> Horizons {
    let Janitor { log, build_data, build, change, .. } = *janitor;
    Horizons { log, build_data, build, change }
}

/// How long it is until the hour of the janitor comes, in a time zone.
fn until_next(now: Time, janitor: &Janitor, zone: &TimeZone) -> Duration {
    let next = || {
        let now = Timestamp::from_second(now.epoch_seconds()).ok()?.to_zoned(zone.clone());
        let at = civil::Time::new(janitor.hour, janitor.minute, 0, 0).ok()?;
        let today = now.date().to_datetime(at).to_zoned(zone.clone()).ok()?;
        let next = if today > now {
            today
        } else {
            now.date().checked_add(1.day()).ok()?.to_datetime(at).to_zoned(zone.clone()).ok()?
        };
        Duration::try_from(now.duration_until(&next)).ok()
    };
    next().unwrap_or(SOME_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_once_a_day_also_when_the_clocks_are_changed() {
        let zone = TimeZone::get("Europe/Berlin").expect("it is known");
        let janitor = Janitor { hour: 2, minute: 30, ..Janitor::default() };
        let check = |now: &str, seconds: u64| {
            let now: Timestamp = now.parse().expect("a time");
            let wait = until_next(Time::from_epoch_seconds(now.as_second()), &janitor, &zone);
            assert_eq!(wait.as_secs(), seconds, "{now}");
        };
        check("2026-01-10T01:00:00Z", 1800);
        check("2026-01-10T01:30:00Z", 86_400);
        // At two it becomes three, and half past two is half past three.
        check("2026-03-29T00:00:00Z", 5400);
        check("2026-10-24T23:00:00Z", 5400);
    }
}
