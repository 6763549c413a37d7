//! `ganger pool decisions`.

use clap::Args;

use super::words;
use crate::{
    cli::Remote,
    control::{
        self, Notification, Request,
        pool::{Decision, DecisionsFilter},
    },
    exit::{Exit, Failure},
    output::{self, faint, for_terminal, span, strong},
};

/// List what was decided, the latest last; with -f as it comes.
#[derive(Args, Debug)]
pub(super) struct Decisions {
    /// Only of this pool.
    pool: Option<String>,

    /// Only about this instance, by any of its names.
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,

    /// Only about this build request.
    #[arg(long, value_name = "NUMBER")]
    request: Option<i64>,

    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,

    /// Go on with those to come.
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Decisions {
    /// Prints the list.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let filter = DecisionsFilter {
            pool: self.pool,
            instance: self.instance,
            request: self.request,
            limit: self.limit,
            follow: self.follow,
        };
        let json = self.remote.json;
        let mut client = self.remote.connect().await?;
        let found: control::pool::Decisions = client
            .stream(&Request::PoolDecisions(filter), |notification| match notification {
                Notification::Decision(decision) if json => output::json(&decision),
                Notification::Decision(decision) => {
                    output::text(line(&decision, decision.at, Subject::Whole))
                }
                Notification::LogText(_) | Notification::Progress(_) => Ok(()),
            })
            .await?;
        if json {
            output::json(&found)?;
        } else if found.decisions.is_empty() {
            output::text(faint("nothing was decided"))?;
        } else {
            for decision in &found.decisions {
                output::text(line(decision, found.now, Subject::Whole))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Whether a line says whom a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The pool, and the instance or request.
    Whole,
    /// The instance or request: the pool is known.
    OfPool,
    /// Nothing: it is known.
    Known,
}

/// One decision on one line.
pub(super) fn line(decision: &Decision, now: i64, tell: Subject) -> String {
    let mut line = String::new();
    if now > decision.at {
        line.push_str(&faint(format!("{} ago  ", span(now - decision.at))).to_string());
    }
    let subject = match (decision.instanceid, decision.buildrequestid) {
        (Some(id), _) => Some(format!("instance {id}")),
        (None, Some(id)) => Some(format!("request {id}")),
        (None, None) => None,
    };
    let whom = match (tell, subject) {
        (Subject::Whole, Some(subject)) => Some(format!("{} {subject}", decision.pool)),
        (Subject::Whole, None) => Some(decision.pool.clone()),
        (Subject::OfPool, subject) => subject,
        (Subject::Known, _) => None,
    };
    if let Some(whom) = whom {
        line.push_str(&format!("{}  ", strong(whom)));
    }
    line.push_str(&format!("{}  {}", for_terminal(&decision.why.text), faint(words(&decision.why.code))));
    line
}
