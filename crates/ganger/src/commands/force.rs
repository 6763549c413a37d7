//! `ganger force`.

use clap::Args;
use model::{Json, Results};

use super::parse_pair;
use crate::{
    cli::Remote,
    control::{self, ForceScheduler, Forced, Nothing, Notification, Progress, Request},
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

    /// A parameter of the scheduler, by its full name; several of one name are a list. Where the scheduler has none of that
    /// name, a property of the builds; a VALUE that is JSON has its type then. Can be repeated.
    #[arg(short, long = "property", value_name = "NAME=VALUE", value_parser = parse_pair)]
    parameters: Vec<(String, String)>,

    /// As `--property`, with the text of a file as the value. Can be repeated.
    #[arg(long = "file", value_name = "NAME=FILE", value_parser = parse_pair)]
    files: Vec<(String, String)>,

    /// Show the parameters of the force schedulers, instead of asking for a build.
    #[arg(long = "parameters", conflicts_with = "wait")]
    show_parameters: bool,

    /// Wait for the builds and tell how they go; exit with 1 when one does not succeed.
    #[arg(short, long)]
    wait: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Force {
    /// Waits until the requests are stored, or until they are built.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        if self.show_parameters {
            return self.show().await;
        }
        let mut parameters = self.parameters;
        for (name, file) in self.files {
            let text = tokio::fs::read_to_string(&file).await.map_err(|error| {
                Failure::text(Exit::NotFound, format_args!("{file} cannot be read: {error}"))
            })?;
            parameters.push((name, text));
        }
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
            parameters,
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

impl Force {
    /// Shows what the schedulers take that are named, or that build the builders that are.
    async fn show(self) -> Result<Exit, Failure> {
        let all: Vec<ForceScheduler> =
            self.remote.connect().await?.call(&Request::ForceSchedulers(Nothing {})).await?;
        let is_meant = |one: &&ForceScheduler| {
            self.scheduler.as_ref().is_none_or(|name| one.name == *name)
                && self.builders.iter().all(|builder| one.builder_names.contains(builder))
        };
        let meant: Vec<&ForceScheduler> = all.iter().filter(is_meant).collect();
        if meant.is_empty() && !self.remote.json {
            let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            let text = format!("no force scheduler is meant; there are {}", names.join(", "));
            return Err(Failure::text(Exit::NotFound, text));
        }
        for scheduler in meant {
            if self.remote.json {
                output::json(scheduler)?;
                continue;
            }
            let builders = for_terminal(&scheduler.builder_names.join(", "));
            output::text(format_args!("{}  {}", strong(for_terminal(&scheduler.name)), faint(builders)))?;
            for field in &scheduler.all_fields {
                show_field(field)?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// A parameter, or those that are in it, a line for each.
fn show_field(field: &Json) -> Result<(), Failure> {
    let text = |key: &str| for_terminal(&model::template::to_text(&field[key]));
    if let Some(fields) = field["fields"].as_array() {
        return fields.iter().try_for_each(show_field);
    }
    let mut words = vec![text("type")];
    if field["required"] == true {
        words.push("required".to_owned());
    }
    if field["multiple"] == true {
        words.push("several".to_owned());
    }
    for (key, word) in [("choices", "one of"), ("regex", "matches"), ("default", "default")] {
        let value = &field[key];
        if !(value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)) {
            words.push(format!("{word} {}", text(key)));
        }
    }
    output::text(format_args!("  {}  {}", text("fullName"), faint(words.join(", "))))
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
