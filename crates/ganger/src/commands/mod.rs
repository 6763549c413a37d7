//! One module for each command.

pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod cancel;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod force;
pub(crate) mod log;
pub(crate) mod new;
pub(crate) mod pool;
pub(crate) mod prune;
pub(crate) mod quickstart;
pub(crate) mod reload;
pub(crate) mod shutdown;
pub(crate) mod simulate;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop_build;
pub(crate) mod worker;

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

use crate::{
    cli::{Cli, Command, Remote},
    control::{BuildSelector, Client},
    exit::{Exit, Failure},
    output,
};

/// The name of the configuration within its directory.
pub(crate) const CONFIGURATION: &str = "ganger.toml";

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    let verbose = cli.verbose;
    if !matches!(cli.command, Command::Start(_)) {
        log_to_stderr(verbose, LogFormat::Text, "warn");
    }
    match cli.command {
        Command::Check(check) => check.run(),
        Command::Completions(completions) => completions.run(),
        Command::New(new) => new.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Start(start) => start.run(verbose),
        Command::Quickstart(quickstart) => wait_for(quickstart.run()),
        Command::Build(build) => wait_for(build.run()),
        Command::Builds(builds) => wait_for(builds.run()),
        Command::Cancel(cancel) => wait_for(cancel.run()),
        Command::Change(change) => wait_for(change.run()),
        Command::Force(force) => wait_for(force.run()),
        Command::Log(log) => wait_for(log.run()),
        Command::Pool(pool) => wait_for(pool.run()),
        Command::Prune(prune) => wait_for(prune.run()),
        Command::Reload(reload) => wait_for(reload.run()),
        Command::Shutdown(shutdown) => wait_for(shutdown.run()),
        Command::Status(status) => wait_for(status.run()),
        Command::StopBuild(stop) => wait_for(stop.run()),
        Command::Worker(worker) => wait_for(worker.run()),
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// Sends what the program logs to standard error. `$GANGER_LOG` has the last word on how much.
fn log_to_stderr(verbose: u8, format: LogFormat, quiet: &str) {
    let level = match verbose {
        0 => quiet,
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("GANGER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours = output::stderr_has_colours();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_span_events(FmtSpan::NONE);
    match format {
        LogFormat::Text => subscriber.with_ansi(colours).with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}

/// Runs a command that talks to the master.
fn wait_for(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

impl Remote {
    /// Connects to the master.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&control_socket(&self.directory)?).await
    }
}

/// Where the master of a directory has its control socket. A configuration that is wrong, or that is not there, does not
/// keep anybody from talking to a master that runs: its usual place is tried.
pub(crate) fn control_socket(directory: &Path) -> Result<PathBuf, Failure> {
    let file = directory.join(CONFIGURATION);
    let directory = std::path::absolute(directory)?;
    Ok(config::load(&file)
        .map_or_else(|_| directory.join("ganger.sock"), |loaded| loaded.config.master.control_socket))
}

/// A build, on the command line.
#[derive(Args, Debug)]
pub(crate) struct WhichBuild {
    /// A builder, for its newest build; BUILDER/NUMBER; or a build id.
    #[arg(value_name = "BUILDER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    build: String,

    /// Number of the build, when BUILDER is only the builder.
    #[arg(value_name = "NUMBER")]
    number: Option<i64>,
}

impl WhichBuild {
    /// The build that is meant.
    pub(crate) fn selector(self) -> BuildSelector {
        if let Some(number) = self.number {
            return BuildSelector::Number(self.build, number);
        }
        if let Ok(id) = self.build.parse() {
            return BuildSelector::Id(id);
        }
        // Names of builders may have slashes in them.
        match self.build.rsplit_once('/').map(|(builder, number)| (builder, number.parse())) {
            Some((builder, Ok(number))) => BuildSelector::Number(builder.to_owned(), number),
            _ => BuildSelector::Newest(self.build),
        }
    }
}

/// Reads `NAME=VALUE`; a value that is JSON has its type, any other is text.
pub(crate) fn parse_property(text: &str) -> Result<(String, model::Json), String> {
    let (name, value) = parse_pair(text)?;
    Ok((name, serde_json::from_str(&value).unwrap_or_else(|_| value.into())))
}

/// Reads `NAME=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        None => Err("it is given as NAME=VALUE".to_owned()),
        Some(("", _)) => Err("there is a name before the `=`".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use model::Json;

    use super::*;

    #[test]
    fn builds_have_many_names() {
        let check = |build: &str, number, expect: &str| {
            assert_eq!(format!("{:?}", WhichBuild { build: build.to_owned(), number }.selector()), expect);
        };
        check("12", None, "Id(12)");
        check("hello/3", None, r#"Number("hello", 3)"#);
        check("hello", Some(3), r#"Number("hello", 3)"#);
        check("12", Some(3), r#"Number("12", 3)"#);
        check("linux/x86/3", None, r#"Number("linux/x86", 3)"#);
        check("linux/x86", None, r#"Newest("linux/x86")"#);
    }

    #[test]
    fn properties_have_types() {
        let check = |text: &str, value: Json| assert_eq!(parse_property(text), Ok(("a".to_owned(), value)));
        check("a=1", 1.into());
        check("a=[true]", Json::from(vec![true]));
        check("a=b=c", "b=c".into());
        check("a=", "".into());
        assert!(parse_property("a").is_err());
        assert!(parse_property("=1").is_err());
    }
}
