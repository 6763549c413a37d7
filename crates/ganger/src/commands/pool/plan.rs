//! `ganger pool plan`.

use clap::Args;

use super::{count, until};
use crate::{
    cli::Remote,
    control::{
        Request,
        pool::{self, PlanFilter, Plans},
    },
    exit::{Exit, Failure},
    output::{self, active, faint, for_terminal, strong, warning},
};

/// How many requests are listed for people.
const REQUESTS: usize = 20;

/// Say what would be done now, and why; nothing is done.
#[derive(Args, Debug)]
pub(super) struct Plan {
    /// The pool; all of them when left out.
    pool: Option<String>,

    #[command(flatten)]
    remote: Remote,
}

impl Plan {
    /// Prints the plan.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let request = Request::PoolPlan(PlanFilter { pool: self.pool });
        let found: Plans = self.remote.connect().await?.call(&request).await?;
        if self.remote.json {
            output::json(&found)?;
        } else if found.plans.is_empty() {
            output::text(faint("no pools"))?;
        } else {
            for plan in &found.plans {
                tell(plan, found.now)?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn tell(plan: &pool::Plan, now: i64) -> Result<(), Failure> {
    output::text(format_args!("{}  wants {}", strong(&plan.pool), plan.wanted))?;
    for launch in &plan.launches {
        let what = if launch.resume { "starts again" } else { "starts" };
        let of =
            launch.offerings.first().map(|best| format!(" of {}", for_terminal(best))).unwrap_or_default();
        output::text(format_args!(
            "  {}  {}",
            active(format!("{what} {}{of}", launch.count)),
            for_terminal(&launch.why.text)
        ))?;
    }
    for denied in &plan.denied {
        let next = denied.next.map(|at| format!(", next try {}", until(at, now))).unwrap_or_default();
        output::text(format_args!(
            "  {}  {}{next}",
            warning(format!("does not start {}", denied.count)),
            for_terminal(&denied.why.text)
        ))?;
    }
    if plan.cancel > 0 {
        output::text(format_args!("  calls off {}", count(plan.cancel.into(), "launch", "launches")))?;
    }
    if plan.launches.is_empty() && plan.denied.is_empty() {
        output::text(format_args!("  {}", for_terminal(&plan.text)))?;
    }
    for outlook in plan.requests.iter().take(REQUESTS) {
        let start = match outlook.start {
            Some(at) => format!("expected {}", until(at, now)),
            None => "nobody can say when".to_owned(),
        };
        output::text(format_args!(
            "  {}  {start}  {}",
            strong(format!("request {}", outlook.buildrequestid)),
            faint(for_terminal(&outlook.why.text))
        ))?;
    }
    let more = plan.pending.saturating_sub(plan.requests.len().min(REQUESTS));
    if more > 0 {
        output::text(format_args!(
            "  {}",
            faint(count(more as u64, "more request waits", "more requests wait"))
        ))?;
    }
    Ok(())
}
