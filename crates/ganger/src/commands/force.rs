//! `ganger force`.

use clap::Args;
use model::Results;

use super::parse_property;
use crate::{
    cli::Remote,
    control::{self, Forced, Notification, Progress, Request},
    exit::{Exit, Failure},
    output::{self, active, faint, for_terminal, results, strong},
};

/// Ask for a build.
#[derive(Args, Debug)]
pub(crate) struct Force {
    /// What to build; all builders of the scheduler when left out.
    builders: Vec<String>,

    /// The force scheduler; needed when several could do it.
    #[arg(short, long)]
    scheduler: Option<String>,

    /// Why.
    #[arg(short = 'm', long)]
    reason: Option<String>,

    /// Who asks; without it, whoever is logged in ($USER).
    #[arg(long)]
    owner: Option<String>,

    /// Branch to build.
    #[arg(short, long)]
    branch: Option<String>,

    /// Commit to build.
    #[arg(short, long)]
    revision: Option<String>,

    /// Where the code lives.
    #[arg(long)]
    repository: Option<String>,

    /// The project it belongs to.
    #[arg(long)]
    project: Option<String>,

    /// Higher is sooner.
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i64>,

    /// A property of the builds; a VALUE that is JSON has its type. Can be repeated.
    #[arg(short, long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    properties: Vec<(String, model::Json)>,

    /// Wait for the builds and tell how they go; exit with 1 when one does not succeed.
    #[arg(short, long)]
    wait: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Force {
    /// Waits until the requests are stored, or until they are built.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let force = control::Force {
            scheduler: self.scheduler,
            builders: self.builders,
            reason: self.reason,
            owner: self.owner.or_else(|| std::env::var("USER").ok()),
            branch: self.branch,
            revision: self.revision,
            repository: self.repository,
            project: self.project,
            priority: self.priority,
            properties: self.properties.into_iter().collect(),
            wait: self.wait,
        };
        let json = self.remote.json;
        let mut client = self.remote.connect().await?;
        let forced: Forced = client
            .stream(&Request::Force(force), |notification| match notification {
                Notification::Progress(progress) if json => output::json(&progress),
                Notification::Progress(progress) => tell(&progress),
                Notification::LogText(_) | Notification::Decision(_) => Ok(()),
            })
            .await?;
        if json {
            output::json(&forced)?;
        } else if !self.wait {
            tell(&Progress::Requested(forced.clone()))?;
        }
        match forced.results.map(Results::from_code) {
            None | Some(Some(Results::Success | Results::Warnings | Results::Skipped)) => Ok(Exit::Ok),
            Some(_) => {
                if !json {
                    output::note(faint("`ganger log BUILDER NUMBER` shows what happened"))?;
                }
                Ok(Exit::NotSuccessful)
            }
        }
    }
}

/// What happened, on one line.
pub(crate) fn tell(progress: &Progress) -> Result<(), Failure> {
    match progress {
        Progress::Requested(forced) => {
            for request in &forced.requests {
                output::text(format_args!(
                    "build request {} for {}",
                    request.buildrequestid,
                    strong(&request.builder)
                ))?;
            }
            Ok(())
        }
        Progress::BuildStarted(build) => output::text(format_args!(
            "{}  {}{}",
            strong(format!("{}/{}", build.builder, build.number)),
            active("started"),
            build
                .worker
                .as_ref()
                .map(|worker| faint(format!(" on {worker}")).to_string())
                .unwrap_or_default(),
        )),
        Progress::StepStarted { .. } => Ok(()),
        Progress::StepFinished { name, results: code, state_string, .. } => output::text(format_args!(
            "  {}  {}  {}",
            for_terminal(name),
            results(Some(*code)),
            faint(for_terminal(state_string))
        )),
        Progress::BuildFinished(build) => output::text(format_args!(
            "{}  {}  {}",
            strong(format!("{}/{}", build.builder, build.number)),
            results(build.results),
            for_terminal(&build.state_string)
        )),
    }
}
