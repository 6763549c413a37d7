//! `ganger check`.

use std::path::{Path, PathBuf};

use clap::Args;
use config::{ConfigErrors, Diagnostics, Loaded};
use serde::Serialize;

use super::CONFIGURATION;
use crate::{
    exit::{Exit, Failure},
    output::{self, good, strong},
    providers,
};

/// Say everything that is wrong with a ganger.toml.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The file, or the directory that it is in.
    #[arg(default_value = ".")]
    path: PathBuf,

    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    /// Whether a master would take it.
    ok: bool,
    /// Errors first, in the order of the file.
    diagnostics: Vec<Finding<'a>>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    severity: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    help: Option<&'a str>,
}

impl Check {
    /// Exits with 64 when there is an error; warnings are only shown.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let file = configuration_file(&self.path);
        let (errors, warnings, config) = match config::load_with(&file, &providers::look) {
            Ok(Loaded { config, warnings }) => (None, warnings, Some(config)),
            Err(ConfigErrors { errors, warnings }) => (Some(errors), warnings, None),
        };
        let exit = if errors.is_some() { Exit::Usage } else { Exit::Ok };
        if self.json {
            let errors = errors.iter().flat_map(|errors| findings(errors, "error"));
            let diagnostics = errors.chain(findings(&warnings, "warning")).collect();
            output::json(&Findings { ok: exit == Exit::Ok, diagnostics })?;
            return Ok(exit);
        }
        let colours = output::stderr_has_colours();
        for found in errors.iter().chain([&warnings]).filter(|found| !found.is_empty()) {
            output::note(found.render(colours).trim_end())?;
        }
        if let Some(config) = config {
            output::text(format_args!(
                "{} is {}: {}, {}, {}, {}",
                strong(file.display()),
                good("fine"),
                count(config.workers.len(), "worker"),
                count(config.pools.len(), "pool"),
                count(config.builders.len(), "builder"),
                count(config.schedulers.len(), "scheduler")
            ))?;
        }
        Ok(exit)
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn findings<'a>(found: &'a Diagnostics, severity: &'static str) -> impl Iterator<Item = Finding<'a>> {
    found.iter().map(move |diagnostic| Finding {
        severity,
        file: &diagnostic.file,
        line: diagnostic.line,
        column: diagnostic.column,
        message: &diagnostic.message,
        help: diagnostic.help.as_deref(),
    })
}

/// The configuration that a directory or a file stands for.
pub(crate) fn configuration_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(CONFIGURATION) } else { path.to_owned() }
}
