//! What it came to.

use std::{path::Path, time::Duration};

use super::burst::{Burst, CLASSES};
use crate::{
    control::pool::PoolDetail,
    exit::Failure,
    output::{self, faint, good, strong, warning},
};

pub(super) fn print(
    passed: Duration,
    burst: &Burst,
    detail: &PoolDetail,
    directory: &Path,
    removed: bool,
) -> Result<(), Failure> {
    let (done, total) = (burst.done(), burst.total());
    let text = format!("{done} of {total} requests built in {} s", passed.as_secs());
    output::text("")?;
    output::text(if burst.all_succeeded() { good(text).to_string() } else { warning(text).to_string() })?;
    output::text(strong("How long requests waited for their build"))?;
    for (class, (name, priority, _)) in CLASSES.iter().enumerate() {
        let waits = burst.waits(class);
        if !waits.is_empty() {
            output::text(format_args!(
                "  {name:<7} {}  median {:>4.1} s  mean {:>4.1} s  longest {:>4.1} s  {}",
                faint(format!("priority {priority:>4}")),
                quantile(&waits, 50).as_secs_f64(),
                mean(&waits).as_secs_f64(),
                quantile(&waits, 100).as_secs_f64(),
                faint(format!("{} requests", waits.len())),
            ))?;
        }
    }
    let totals = &detail.totals;
    let launches: u64 = totals.launches.values().sum();
    output::text(strong("What the pool did"))?;
    output::text(format_args!(
        "  {launches} workers started, {} of them never used; half booted within {:.1} s",
        totals.never_used, detail.pool.boot.p50_s,
    ))?;
    for (what, reasons) in [("started", &totals.launches), ("ended", &totals.ends)] {
        let reasons: Vec<String> =
            reasons.iter().map(|(code, count)| format!("{count} {}", code.replace('_', " "))).collect();
        if !reasons.is_empty() {
            output::text(format_args!("  {what}: {}", reasons.join(", ")))?;
        }
    }
    if burst.again() > 0 {
        output::text(format_args!("  {} builds were lost with their worker and done again", burst.again()))?;
    }
    if !removed {
        output::text(format_args!(
            "The configuration, the master's log and its database are in {}.",
            directory.display()
        ))?;
    }
    Ok(())
}

/// The wait that so many of a hundred do not exceed; of none, nothing.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn mean(waits: &[Duration]) -> Duration {
    let count = u32::try_from(waits.len()).unwrap_or(u32::MAX).max(1);
    waits.iter().sum::<Duration>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_waits_that_were_there() {
        let waits: Vec<Duration> = (1..=4).map(Duration::from_secs).collect();
        assert_eq!(quantile(&waits, 50), Duration::from_secs(2));
        assert_eq!(quantile(&waits, 100), Duration::from_secs(4));
        assert_eq!(quantile(&[], 50), Duration::ZERO);
        assert_eq!(mean(&waits), Duration::from_millis(2500));
    }
}
