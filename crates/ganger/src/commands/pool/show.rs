//! `ganger pool list` and `ganger pool show`.

use clap::Args;

use super::{
    count,
    decisions::{self, Subject},
    money, spent, until, words,
};
use crate::{
    cli::Remote,
    control::{
        Nothing, Request,
        pool::{Instance, Pool, PoolDetail, PoolList, PoolName},
    },
    exit::{Exit, Failure},
    output::{self, active, bad, faint, for_terminal, good, span, strong, warning},
};

/// List all pools.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    remote: Remote,
}

impl List {
    /// Prints the list.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let found: PoolList = self.remote.connect().await?.call(&Request::PoolList(Nothing {})).await?;
        if self.remote.json {
            output::json(&found)?;
        } else if found.pools.is_empty() {
            output::text(faint("no pools"))?;
        } else {
            for pool in &found.pools {
                output::text(line(pool))?;
                for condition in conditions(pool, found.now) {
                    output::text(format_args!("  {condition}"))?;
                }
                if let Some(last) = &pool.last {
                    output::text(format_args!("  {}", faint(for_terminal(&last.text))))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// One pool on one line.
pub(crate) fn line(pool: &Pool) -> String {
    let mut line = format!("{}  {} of {}, wanted {}", strong(&pool.name), pool.live, pool.max, pool.wanted);
    let states: Vec<String> = pool
        .by_state
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(state, n)| format!("{n} {}", words(state)))
        .collect();
    if !states.is_empty() {
        line.push_str(&format!("  {}", active(states.join(", "))));
    }
    if pool.pending > 0 {
        let waiting = count(pool.pending.into(), "request waits", "requests wait");
        line.push_str(&format!("  {}", warning(waiting)));
    }
    line
}

/// What keeps a pool from doing what it otherwise would.
pub(crate) fn conditions(pool: &Pool, now: i64) -> Vec<String> {
    let mut conditions = Vec::new();
    if pool.removed {
        conditions.push(warning("no longer in the configuration: it goes").to_string());
    }
    if !pool.owner {
        conditions.push(warning("another master decides about it, or none yet").to_string());
    } else if !pool.listed {
        let text = "nothing is started before its provider has listed the machines that there are";
        conditions.push(warning(text).to_string());
    }
    if let Some(why) = &pool.paused {
        conditions.push(warning(format!("paused: {}", for_terminal(why))).to_string());
    }
    if let Some(min) = pool.scaled {
        conditions.push(format!("at least {min} because somebody asked for so many"));
    }
    if let Some(breaker) = &pool.breaker {
        let (text, since) = (for_terminal(&breaker.why.text), span(now - breaker.since));
        conditions.push(bad(format!("{text} (for {since})")).to_string());
    }
    for closed in &pool.closed {
        let (name, code) = (for_terminal(&closed.name), for_terminal(&closed.code));
        conditions
            .push(warning(format!("{name} is tried again {}: {code}", until(closed.until, now))).to_string());
    }
    conditions
}

/// Show one pool with its instances and what it decided last.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The pool.
    pool: String,

    #[command(flatten)]
    remote: Remote,
}

impl Show {
    /// Prints the pool.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let request = Request::PoolShow(PoolName { pool: self.pool });
        let found: PoolDetail = self.remote.connect().await?.call(&request).await?;
        if self.remote.json {
            output::json(&found)?;
            return Ok(Exit::Ok);
        }
        let (pool, now) = (&found.pool, found.now);
        output::text(line(pool))?;
        for condition in conditions(pool, now) {
            output::text(format_args!("  {condition}"))?;
        }
        if pool.min > 0 {
            output::text(format_args!("  at least {}", pool.min))?;
        }
        if let Some(spent) = spent(pool.price_per_hour, pool.spent, pool.budget) {
            output::text(format_args!("  costs {spent}"))?;
        }
        output::text(format_args!("  {}", boots(pool)))?;
        if let Some(last) = &pool.last {
            output::text(format_args!("  {}", faint(for_terminal(&last.text))))?;
        }
        output::text(strong("instances"))?;
        if found.instances.is_empty() {
            output::text(format_args!("  {}", faint("none")))?;
        }
        for instance in &found.instances {
            output::text(format_args!("  {}", instance_line(instance, now)))?;
            if let Some(why) = &instance.why {
                output::text(format_args!("    {}", faint(for_terminal(why))))?;
            }
        }
        output::text(strong("since the master was started"))?;
        for text in totals(&found) {
            output::text(format_args!("  {text}"))?;
        }
        if !found.decisions.is_empty() {
            output::text(strong("decided last"))?;
            for decision in &found.decisions {
                output::text(format_args!("  {}", decisions::line(decision, now, Subject::OfPool)))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// How long machines take, and what follows from it.
fn boots(pool: &Pool) -> String {
    let boot = &pool.boot;
    let seconds = |seconds: f64| format!("{seconds:.0} s");
    let known = match boot.samples {
        0 => "by default, as none was seen yet".to_owned(),
        samples => format!(
            "from {}, {:.0} % connect",
            count(samples.into(), "boot", "boots"),
            100.0 * boot.connect_rate
        ),
    };
    let kept = match pool.idle_timeout_s {
        Some(timeout) => format!("; they are kept for {} without work", seconds(timeout)),
        // The first pass finds out.
        None if pool.last.is_none() => String::new(),
        None => "; they are kept without work".to_owned(),
    };
    format!("machines take {}, 19 of 20 at most {} ({known}){kept}", seconds(boot.p50_s), seconds(boot.p95_s))
}

fn totals(found: &PoolDetail) -> Vec<String> {
    let totals = &found.totals;
    let by_reason = |counts: &std::collections::BTreeMap<String, u64>| {
        let parts: Vec<String> = counts.iter().map(|(code, n)| format!("{n} {}", words(code))).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    };
    let sum = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum::<u64>();
    let mut lines = vec![format!(
        "{} asked for{}, {} ended{}",
        sum(&totals.launches),
        by_reason(&totals.launches),
        sum(&totals.ends),
        by_reason(&totals.ends)
    )];
    for (number, text) in [
        (totals.never_used, "ended without one build"),
        (totals.guests, "came by themselves"),
        (totals.lost_builds, "builds lost with their machine"),
        (totals.refused, "logins refused"),
    ] {
        if number > 0 {
            lines.push(format!("{number} {text}"));
        }
    }
    if totals.cost > 0.0 {
        lines.push(format!("{} for those that are gone", money(totals.cost)));
    }
    lines
}

/// One instance on one line.
pub(super) fn instance_line(instance: &Instance, now: i64) -> String {
    let state = words(&instance.state);
    let state = match instance.state.as_str() {
        "idle" => good(state).to_string(),
        "busy" => active(state).to_string(),
        "planned" | "requested" | "booting" | "ready_check" => active(state).to_string(),
        "suspect" | "lost" | "quarantined" => bad(state).to_string(),
        "gone" => faint(state).to_string(),
        _ => warning(state).to_string(),
    };
    let mut line = format!("{}  {state}", strong(&instance.slot));
    match instance.running.len() {
        0 => {}
        n => line.push_str(&format!("  {}", active(count(n as u64, "build", "builds")))),
    }
    let mut facts = vec![format!("instance {}", instance.instanceid)];
    if let Some(id) = &instance.provider_id {
        facts.push(for_terminal(id));
    }
    if instance.origin == "guest" {
        facts.push("started by somebody else".to_owned());
    }
    if !instance.offering.is_empty() {
        facts.push(for_terminal(&instance.offering));
    }
    if instance.price > 0.0 {
        facts.push(format!("{} an hour", money(instance.price)));
    }
    if instance.builds > 0 {
        facts.push(format!("has finished {}", count(instance.builds.into(), "build", "builds")));
    }
    facts.push(match instance.ended_at {
        Some(at) => format!("{} ago", span(now - at)),
        None => format!("for {}", span(now - instance.since)),
    });
    if let Some(until_then) = instance.held_until {
        facts.push(format!("held, goes {}", until(until_then, now)));
    }
    if let Some(deadline) = instance.deadline {
        facts.push(format!("goes {} at the latest", until(deadline, now)));
    }
    line.push_str(&format!("  {}", faint(facts.join(", "))));
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn before_the_first_pass_nobody_knows_how_long_machines_are_kept() {
        let boots = |idle_timeout_s: Option<f64>, is_planned: bool| {
            let amounts = json!({ "hour": null, "day": null, "month": null });
            let last = is_planned.then(|| json!({ "code": "no_demand", "text": "nothing waits" }));
            let pool = json!({
                "name": "linux", "max": 3, "min": 0, "wanted": 0, "live": 0, "by_state": {}, "pending": 0,
                "paused": null, "scaled": null, "owner": true, "listed": true, "removed": false, "breaker": null,
                "closed": [], "price_per_hour": 0.0, "spent": amounts, "budget": amounts,
                "boot": { "p50_s": 120.0, "p95_s": 180.0, "samples": 0, "connect_rate": 1.0 },
                "idle_timeout_s": idle_timeout_s, "last": last,
            });
            boots(&serde_json::from_value(pool).expect("a pool"))
        };
        assert!(boots(None, false).ends_with("as none was seen yet)"), "{}", boots(None, false));
        assert!(boots(None, true).ends_with("; they are kept without work"));
        assert!(boots(Some(4.0), true).ends_with("; they are kept for 4 s without work"));
    }
}
