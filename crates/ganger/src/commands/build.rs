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
        if let Some(machine) = machine(&detail.properties) {
            output::text(format_args!("  {}", faint(machine)))?;
        }
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

/// The machine of a pool that a build ran on, by the properties that say so.
fn machine(properties: &model::Properties) -> Option<String> {
    let text = |name| properties.get(name).and_then(model::Json::as_str).map(for_terminal);
    let number = |name| properties.get(name).and_then(model::Json::as_f64);
    let mut facts = vec![format!("on {} of pool {}", text("instance_id")?, text("pool")?)];
    facts.extend(text("instance_type").filter(|kind| !kind.is_empty()));
    facts.extend(number("price").filter(|price| *price > 0.0).map(|price| format!("{price} an hour")));
    facts.extend(number("queue_wait").map(|waited| format!("waited {waited:.0} s")));
    Some(facts.join(", "))
}
