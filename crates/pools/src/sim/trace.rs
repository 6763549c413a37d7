//! Traces of demand: `arrival_ms,duration_ms[,builder,priority]`.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    time::Duration,
};

use model::Time;

use super::workload::{Builder, Job, Workload};

/// The longest line that is read.
const MAX_LINE: usize = 4096;
/// The most jobs that are read.
const MAX_JOBS: usize = 10_000_000;
/// The most builders that are told apart.
const MAX_BUILDERS: usize = 100_000;
/// A hundred years: later arrivals and longer jobs are no trace but noise.
const MAX_MILLIS: u64 = 100 * 366 * 24 * 3_600_000;

/// Why a trace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("cannot read the trace: {0}")]
    Io(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the trace: {problem}")]
    Line {
        /// Counts from 1.
        line: usize,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// There is nothing in it.
    #[error("the trace has no jobs; each line is `arrival_ms,duration_ms[,builder,priority]`")]
    Empty,
}

/// A trace, read.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What is to be built. Without builders in the trace there is one, `jobs`.
    pub workload: Workload,
    /// Whether lines name builders.
    pub has_builders: bool,
    /// Whether lines have priorities.
    pub has_priorities: bool,
}

/// Reads a trace whose builders are all built by one pool.
///
/// # Errors
/// When a line is wrong, or there are none.
pub fn read(mut input: impl BufRead, pool: &str) -> Result<Trace, TraceError> {
    let mut builders: BTreeMap<String, usize> = BTreeMap::new();
    let mut workload = Workload::default();
    let (mut has_builders, mut has_priorities) = (false, false);
    let mut raw = Vec::new();
    for line in 1.. {
        raw.clear();
        let wrong = |problem: String| TraceError::Line { line, problem };
        if io::Read::take(&mut input, MAX_LINE as u64 + 1).read_until(b'\n', &mut raw)? == 0 {
            break;
        }
        if raw.len() > MAX_LINE {
            return Err(wrong(format!("longer than {MAX_LINE} bytes")));
        }
        let text = std::str::from_utf8(&raw).map_err(|_| wrong("not UTF-8 text".to_owned()))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') || (line == 1 && is_header(text)) {
            continue;
        }
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        if !(2..=4).contains(&fields.len()) {
            let expected = "expected `arrival_ms,duration_ms[,builder,priority]`";
            return Err(wrong(format!("{} fields; {expected}", fields.len())));
        }
        if workload.jobs.len() == MAX_JOBS {
            return Err(wrong(format!("more than {MAX_JOBS} jobs")));
        }
        let arrival = millis(fields[0], "arrival_ms").map_err(wrong)?;
        let duration = millis(fields[1], "duration_ms").map_err(wrong)?;
        let builder = fields.get(2).copied().filter(|name| !name.is_empty());
        has_builders |= builder.is_some();
        let name = builder.unwrap_or("jobs");
        let builder = match builders.get(name) {
            Some(index) => *index,
            None if builders.len() == MAX_BUILDERS => {
                return Err(wrong(format!("more than {MAX_BUILDERS} builders")));
            }
            None => {
                workload.builders.push(Builder::new(name, pool));
                builders.insert(name.to_owned(), workload.builders.len() - 1);
                workload.builders.len() - 1
            }
        };
        let priority = match fields.get(3).copied().filter(|priority| !priority.is_empty()) {
            Some(text) => {
                has_priorities = true;
                text.parse().map_err(|_| wrong(format!("priority {text:?} is not a whole number")))?
            }
            None => 0,
        };
        workload.jobs.push(Job {
            arrival: Time::from_micros(i64::try_from(arrival).unwrap_or(0).saturating_mul(1000)),
            duration: Duration::from_millis(duration),
            builder,
            priority,
        });
    }
    if workload.jobs.is_empty() {
        return Err(TraceError::Empty);
    }
    workload.jobs.sort_by_key(|job| job.arrival);
    Ok(Trace { workload, has_builders, has_priorities })
}

fn is_header(text: &str) -> bool {
    text.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("arrival_ms"))
}

fn millis(text: &str, name: &str) -> Result<u64, String> {
    let value: u64 =
        text.parse().map_err(|_| format!("{name} {text:?} is not a whole number of milliseconds"))?;
    if value > MAX_MILLIS {
        return Err(format!("{name} {value} is more than a hundred years"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &[u8]) -> String {
        read(text, "p").unwrap_err().to_string()
    }

    #[test]
    fn a_plain_trace_has_one_builder() {
        let trace = read(&b"arrival_ms,duration_ms\n2000,60000\r\n\n1000, 5\n"[..], "p").unwrap();
        assert!(!trace.has_builders && !trace.has_priorities);
        assert_eq!(trace.workload.builders.len(), 1);
        let jobs = &trace.workload.jobs;
        assert_eq!(jobs[0].arrival, Time::from_epoch_seconds(1), "sorted by arrival");
        assert_eq!(jobs[1].duration, Duration::from_secs(60));
    }

    #[test]
    fn builders_and_priorities_are_read() {
        let trace = read(&b"1,2,linux,-3\n1,2,win\n1,2,linux,\n"[..], "p").unwrap();
        assert!(trace.has_builders && trace.has_priorities);
        let names: Vec<&str> = trace.workload.builders.iter().map(|builder| &*builder.name).collect();
        assert_eq!(names, ["linux", "win"]);
        let jobs: Vec<(usize, i64)> =
            trace.workload.jobs.iter().map(|job| (job.builder, job.priority)).collect();
        assert_eq!(jobs, [(0, -3), (1, 0), (0, 0)]);
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(error(b""), TraceError::Empty.to_string());
        assert_eq!(error(b"arrival_ms,duration_ms\n"), TraceError::Empty.to_string());
        let first = "line 1 of the trace: ";
        assert_eq!(
            error(b"1\n"),
            format!("{first}1 fields; expected `arrival_ms,duration_ms[,builder,priority]`")
        );
        assert_eq!(
            error(b"1,2\n1,-2\n"),
            "line 2 of the trace: duration_ms \"-2\" is not a whole number of milliseconds"
        );
        assert!(error(b"99999999999999,1\n").contains("a hundred years"));
        assert_eq!(error(b"1,2,b,x\n"), format!("{first}priority \"x\" is not a whole number"));
        assert_eq!(error(b"\xff,1\n"), format!("{first}not UTF-8 text"));
        assert_eq!(error(&[b'1'; 5000]), format!("{first}longer than 4096 bytes"));
    }
}
