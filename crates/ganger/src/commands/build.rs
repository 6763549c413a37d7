//! `ganger build`.

use clap::Args;

use super::{WhichBuild, builds};
use crate::{
    cli::Remote,
    control::{BuildDetail, Request},
    exit::{Exit, Failure},
    output::{self, faint, for_terminal, results, span, strong},
};

/// Show one build with its steps and properties.
#[derive(Args, Debug)]
pub(crate) struct Build {
    #[command(flatten)]
    which: WhichBuild,

    /// Print the properties too.
    #[arg(long)]
    properties: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Build {
    /// Prints the build.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let detail: BuildDetail =
            self.remote.connect().await?.call(&Request::Build(self.which.selector())).await?;
        if self.remote.json {
            output::json(&detail)?;
            return Ok(Exit::Ok);
        }
        output::text(builds::line(&detail.build, detail.now))?;
        for step in &detail.steps {
            let took = match (step.started_at, step.complete_at) {
                (Some(from), Some(to)) => format!("  took {}", span(to - from)),
                (Some(from), None) => format!("  for {}", span(detail.now - from)),
                (None, _) => String::new(),
            };
            let logs: Vec<String> = step
                .logs
                .iter()
                .map(|log| format!("{} ({} lines)", for_terminal(&log.name), log.num_lines))
                .collect();
            output::text(format_args!(
                "  {:>2}  {}  {}  {}{}  {}",
                step.number,
                strong(for_terminal(&step.name)),
                results(step.results),
                for_terminal(&step.state_string),
                faint(took),
                faint(logs.join(", ")),
            ))?;
        }
        if self.properties {
            output::text(strong("properties"))?;
            for (name, property) in &detail.properties {
                output::text(format_args!(
                    "  {} = {}  {}",
                    for_terminal(name),
                    for_terminal(&property.value.to_string()),
                    faint(for_terminal(&property.source))
                ))?;
            }
        }
        Ok(Exit::Ok)
    }
}
