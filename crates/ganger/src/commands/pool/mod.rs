//! `ganger pool`.

mod decisions;
mod explain;
mod operate;
mod plan;
mod preflight;
mod show;

use clap::{Args, Subcommand};

pub(crate) use self::show::{conditions, line};
use crate::{
    control::pool::Amounts,
    exit::{Exit, Failure},
    output::span,
};

/// Pools of machines: what they have, what they do and why, and what somebody else decides.
#[derive(Args, Debug)]
pub(crate) struct Pool {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List all pools.
    List(show::List),
    /// Show one pool with its instances and what it decided last.
    Show(show::Show),
    /// Explain why a build request waits, or why an instance was started and is kept.
    Why(explain::Why),
    /// Say what would be done now, and why; nothing is done.
    Plan(plan::Plan),
    /// Ask the provider for everything that could keep machines from starting; nothing is started.
    Preflight(preflight::Preflight),
    /// List what was decided, the latest last; with -f as it comes.
    Decisions(decisions::Decisions),
    /// Let an instance go when its builds are done.
    Drain(operate::Drain),
    /// Keep an instance to look at it; it gets no more builds.
    Hold(operate::Hold),
    /// Keep an instance no more: it goes.
    Release(operate::Release),
    /// Start no more instances of a pool; those that are there go on.
    Pause(operate::Pause),
    /// Start instances of a pool again.
    Resume(operate::Resume),
    /// Have at least so many instances, until told otherwise.
    Scale(operate::Scale),
    /// Start instances though the provider has not said yet which machines there are.
    Trust(operate::Trust),
}

impl Pool {
    /// Does it.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        match self.what {
            What::List(list) => list.run().await,
            What::Show(show) => show.run().await,
            What::Why(why) => why.run().await,
            What::Plan(plan) => plan.run().await,
            What::Preflight(preflight) => preflight.run().await,
            What::Decisions(decisions) => decisions.run().await,
            What::Drain(drain) => drain.run().await,
            What::Hold(hold) => hold.run().await,
            What::Release(release) => release.run().await,
            What::Pause(pause) => pause.run().await,
            What::Resume(resume) => resume.run().await,
            What::Scale(scale) => scale.run().await,
            What::Trust(trust) => trust.run().await,
        }
    }
}

/// An amount of money: with cents, and small ones with more.
fn money(amount: f64) -> String {
    if amount != 0.0 && amount.abs() < 0.1 { format!("{amount:.4}") } else { format!("{amount:.2}") }
}

/// A time to come.
pub(crate) fn until(at: i64, now: i64) -> String {
    if at <= now { "any moment".to_owned() } else { format!("in {}", span(at - now)) }
}

/// A word of the tables, as people read it: `ready_check` is `ready check`.
fn words(code: &str) -> String {
    code.replace('_', " ")
}

/// How much of a thing there is: `1 request waits`, `2 requests wait`.
fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// What was spent, and what may be.
fn spent(price_per_hour: f64, spent: Amounts, budget: Amounts) -> Option<String> {
    let parts = [
        ("an hour now", Some(price_per_hour), budget.hour),
        ("today", spent.day, budget.day),
        ("this month", spent.month, budget.month),
    ];
    if parts.iter().all(|(_, amount, limit)| amount.unwrap_or(0.0) == 0.0 && limit.is_none()) {
        return None;
    }
    let parts = parts.iter().map(|(period, amount, limit)| {
        let limit = limit.map(|limit| format!(" of {}", money(limit))).unwrap_or_default();
        format!("{}{limit} {period}", money(amount.unwrap_or(0.0)))
    });
    Some(parts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_short() {
        let check = |amount, expect: &str| assert_eq!(money(amount), expect);
        check(0.0, "0.00");
        check(12.345, "12.35");
        check(0.0416, "0.0416");
        let none = Amounts { hour: None, day: Some(0.0), month: Some(0.0) };
        assert_eq!(spent(0.0, none, Amounts { hour: None, day: None, month: None }), None);
        assert_eq!(
            spent(1.5, none, Amounts { hour: Some(2.0), day: None, month: None }).as_deref(),
            Some("1.50 of 2.00 an hour now, 0.00 today, 0.00 this month")
        );
    }
}
