//! What is to be seen while it builds: a few lines that change on a terminal, lines one after another elsewhere.

use std::{
    collections::{BTreeMap, VecDeque},
    io::IsTerminal,
    time::{Duration, Instant},
};

use anstream::adapter::strip_str;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::burst::{Burst, CLASSES};
use crate::{
    control::pool::{Decision, PoolDetail},
    exit::Failure,
    output::{self, active, faint, for_terminal, good, strong, warning},
};

/// How many decisions are seen at once.
const DECISIONS: usize = 6;

/// How wide the bar is.
const BAR: usize = 32;

/// How often a line says how far it is, where lines stay.
const EVERY: Duration = Duration::from_secs(5);

/// What is to be seen.
pub(super) struct Screen {
    max: usize,
    /// What was decided since the last look: each text once, with the instances that it is about.
    decided: Vec<(String, Vec<i64>)>,
    /// What instances are called, also those that are gone.
    slots: BTreeMap<i64, String>,
    kind: Kind,
}

/// Where it is to be seen.
enum Kind {
    /// A terminal.
    Live { lines: Vec<ProgressBar>, decisions: VecDeque<String> },
    /// A file or a pipe.
    Plain { said_at: Option<Instant>, said: String },
}

impl Screen {
    pub(super) fn new(max: usize) -> Self {
        let kind = if std::io::stdout().is_terminal() {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            let line = || {
                // A template without anything that could be wrong; the usual style is no worse.
                let style = ProgressStyle::with_template("{wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                let line = all.add(ProgressBar::no_length().with_style(style));
                line.tick();
                line
            };
            Kind::Live { lines: (0..3 + DECISIONS).map(|_| line()).collect(), decisions: VecDeque::new() }
        } else {
            Kind::Plain { said_at: None, said: String::new() }
        };
        Self { max, decided: Vec::new(), slots: BTreeMap::new(), kind }
    }

    /// Something was decided. What is decided about one request of hundreds is for `ganger pool why`.
    pub(super) fn decided(&mut self, decision: Decision) {
        if decision.buildrequestid.is_some() {
            return;
        }
        let at = self.decided.iter().position(|(text, _)| *text == decision.why.text);
        match at.and_then(|at| self.decided.get_mut(at)) {
            Some((_, instances)) => instances.extend(decision.instanceid),
            None => self.decided.push((decision.why.text, decision.instanceid.into_iter().collect())),
        }
    }

    /// How it is now.
    pub(super) fn show(
        &mut self,
        passed: Duration,
        burst: &Burst,
        detail: &PoolDetail,
    ) -> Result<(), Failure> {
        for instance in &detail.instances {
            self.slots.entry(instance.instanceid).or_insert_with(|| instance.slot.clone());
        }
        let reasons: Vec<String> = std::mem::take(&mut self.decided)
            .iter()
            .map(|(text, instances)| format!("{}{}", whom(instances, &self.slots), for_terminal(text)))
            .collect();
        match &mut self.kind {
            Kind::Live { lines, decisions } => {
                decisions.extend(reasons);
                decisions.drain(..decisions.len().saturating_sub(DECISIONS));
                let mut texts = vec![
                    format!("{}  {}", bar(burst.done(), burst.total()), progress(passed, burst)),
                    format!("{}  {}", strong("waiting "), waiting(burst)),
                    format!("{}  {}", strong("machines"), machines(detail, self.max)),
                ];
                texts.extend(decisions.iter().map(|text| format!("  {}", faint(text))));
                texts.resize(lines.len(), String::new());
                for (line, text) in lines.iter().zip(texts) {
                    let colours =
                        anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
                    line.set_message(if colours { text } else { strip_str(&text).to_string() });
                }
            }
            Kind::Plain { said_at, said } => {
                for text in reasons {
                    output::text(format_args!("  {}", faint(text)))?;
                }
                let state = machines(detail, self.max);
                let is_due = said_at.is_none_or(|at| at.elapsed() >= EVERY);
                if is_due || (burst.is_over() && state != *said) {
                    output::text(format_args!(
                        "{}; waiting: {}; machines: {state}",
                        progress(passed, burst),
                        waiting(burst),
                    ))?;
                    (*said_at, *said) = (Some(Instant::now()), state);
                }
            }
        }
        Ok(())
    }

    /// Leaves the last lines as they are.
    pub(super) fn end(&mut self) {
        if let Kind::Live { lines, .. } = &self.kind {
            for line in lines {
                line.abandon();
            }
        }
    }
}

/// Whom a decision is about: the one, or how many.
fn whom(instances: &[i64], slots: &BTreeMap<i64, String>) -> String {
    match instances {
        [] => String::new(),
        [one] => slots.get(one).map_or_else(|| format!("instance {one} "), |slot| format!("{slot} ")),
        more => format!("{} machines, each: ", more.len()),
    }
}

fn bar(done: usize, total: usize) -> String {
    let full = (BAR * done).checked_div(total).unwrap_or(BAR);
    format!("{}{}", good("█".repeat(full)), faint("░".repeat(BAR - full)))
}

fn progress(passed: Duration, burst: &Burst) -> String {
    let running: usize = (0..CLASSES.len()).map(|class| burst.count(class).running).sum();
    format!("{} s: {} of {} built, {running} running", passed.as_secs(), burst.done(), burst.total())
}

fn waiting(burst: &Burst) -> String {
    let each = CLASSES.iter().enumerate().map(|(class, (name, _, _))| {
        let waiting = burst.count(class).waiting;
        let text = format!("{waiting} {name}");
        match (waiting, class) {
            (0, _) => faint(text).to_string(),
            (_, 0) => warning(text).to_string(),
            _ => text,
        }
    });
    each.collect::<Vec<_>>().join("  ")
}

fn machines(detail: &PoolDetail, max: usize) -> String {
    let states = detail.pool.by_state.iter().filter(|(_, count)| **count > 0);
    let states: Vec<String> =
        states.map(|(state, count)| format!("{count} {}", state.replace('_', " "))).collect();
    if states.is_empty() {
        return faint(format!("none of at most {max}")).to_string();
    }
    format!("{}  {}", active(states.join("  ")), faint(format!("of at most {max}")))
}
