//! `ganger builds`.

use clap::Args;

use crate::{
    cli::Remote,
    control::{self, Build, BuildsFilter, Request},
    exit::{Exit, Failure},
    output::{self, faint, results, span, strong},
};

/// List builds, newest first.
#[derive(Args, Debug)]
pub(crate) struct Builds {
    /// Only those of this builder.
    builder: Option<String>,

    /// Only those that run.
    #[arg(long)]
    running: bool,

    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,

    #[command(flatten)]
    remote: Remote,
}

impl Builds {
    /// Prints the list.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let filter = BuildsFilter {
            builder: self.builder,
            complete: self.running.then_some(false),
            limit: self.limit,
        };
        let found: control::Builds = self.remote.connect().await?.call(&Request::Builds(filter)).await?;
        if self.remote.json {
            output::json(&found)?;
        } else if found.builds.is_empty() {
            output::text(faint("no builds"))?;
        } else {
            for build in &found.builds {
                output::text(line(build, found.now))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// One build on one line.
pub(crate) fn line(build: &Build, now: i64) -> String {
    let mut line =
        format!("{}  {}", strong(format!("{}/{}", build.builder, build.number)), results(build.results));
    // Buildbot's words for a build that runs say no more than that.
    if !build.state_string.is_empty() && build.state_string != "running" {
        line.push_str(&format!("  {}", output::for_terminal(&build.state_string)));
    }
    let when = match build.complete_at {
        Some(at) => format!("took {}, {} ago", span(at - build.started_at), span(now - at)),
        None => format!("for {}", span(now - build.started_at)),
    };
    let on = build.worker.as_ref().map(|worker| format!("on {worker}, ")).unwrap_or_default();
    line.push_str(&format!("  {}", faint(format!("{on}{when}"))));
    line
}
