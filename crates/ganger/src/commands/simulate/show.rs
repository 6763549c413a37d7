//! Results as people read them.

use model::Time;
use pools::sim::{Outcome, Waits};

use super::{Done, input::Given};
use crate::{
    exit::Failure,
    output::{self, bad, faint, span, strong},
};

const COLUMNS: [&str; 10] =
    ["", "mean wait", "p50", "p90", "p99", "urgent p99", "overhead", "launches", "unused", "cost"];

/// Prints all runs: what was built, a line for each run, and more of a single one.
pub(super) fn all(given: &Given, done: &[Done]) -> Result<(), Failure> {
    let jobs = &given.workload.jobs;
    let first = jobs.first().map_or_else(Time::default, |job| job.arrival);
    let last = jobs.last().map_or(first, |job| job.arrival);
    let took = span(i64::try_from(last.since(first).as_secs()).unwrap_or(i64::MAX));
    let hours = given.workload.work().as_secs_f64() / 3600.0;
    output::text(format!("{} jobs within {took}, {hours:.1} h of work", strong(jobs.len())))?;
    output::text("")?;
    let rows: Vec<[String; 10]> = done.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([COLUMNS[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    output::text(faint(line(&COLUMNS.map(str::to_owned), &widths)))?;
    for row in &rows {
        output::text(line(row, &widths))?;
    }
    if let [only] = done {
        output::text("")?;
        detail(&only.outcome)?;
    }
    for run in done {
        for problem in &run.outcome.violations {
            output::text(format!("{}: {}: {problem}", bad("wrong"), run.variant.name))?;
        }
    }
    Ok(())
}

fn row(done: &Done) -> [String; 10] {
    let outcome = &done.outcome;
    [
        done.variant.name.clone(),
        seconds(outcome.mean_wait_s),
        seconds(outcome.p50_wait_s),
        seconds(outcome.p90_wait_s),
        seconds(outcome.p99_wait_s),
        seconds(outcome.high_p99_wait_s),
        format!("{:.1} h", outcome.overhead_h),
        outcome.launches.to_string(),
        outcome.never_used.to_string(),
        format!("{:.2}", outcome.cost),
    ]
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

fn line(cells: &[String; 10], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if column == 0 {
            line.push_str(&format!("{cell:<width$}"));
        } else {
            line.push_str(&format!("  {cell:>width$}"));
        }
    }
    line
}

fn detail(outcome: &Outcome) -> Result<(), Failure> {
    let Outcome { finished, merged, failed, lost, peak, api_calls, throttles, busy_h, overhead_h, .. } =
        outcome;
    for Waits { priority, jobs, mean, p50, p90, p99, max } in &outcome.waits {
        output::text(format!(
            "priority {priority}: {jobs} jobs waited {mean:.1} s on average, p50 {p50:.1} s, p90 {p90:.1} s, p99 {p99:.1} s, at most {max:.1} s"
        ))?;
    }
    output::text(format!(
        "{finished} built, {merged} merged into others, {failed} failed by their machine, {lost} lost and built again"
    ))?;
    let share = 100.0 * overhead_h / (busy_h + overhead_h).max(f64::MIN_POSITIVE);
    output::text(format!(
        "at most {peak} machines at once; of what they cost, {share:.0} % was not spent on building"
    ))?;
    output::text(format!("{api_calls} calls of the cloud, {throttles} of them throttled"))
}
