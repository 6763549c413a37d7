//! `ganger pool preflight`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use config::{Config, Pool};
use pools::{Finding, Verdict};
use serde::Serialize;

use crate::{
    commands::check::configuration_file,
    exit::{Exit, Failure},
    output::{self, bad, faint, for_terminal, good, strong, warning},
    providers,
};

/// Ask the provider for everything that could keep machines from starting, now. Starts nothing, and needs no master.
///
/// Exits with 64 when a pool could have no machines.
#[derive(Args, Debug)]
pub(super) struct Preflight {
    /// The pool; all of them when left out.
    pool: Option<String>,

    /// The directory with the ganger.toml, or the file itself.
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Findings {
    /// Whether nothing is bad.
    ok: bool,
    pools: Vec<OfPool>,
}

#[derive(Serialize)]
struct OfPool {
    pool: String,
    findings: Vec<Finding>,
}

impl Preflight {
    /// Asks, and prints what was found.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let file = configuration_file(&self.directory);
        let config = config::load(&file).map_err(|errors| {
            Failure::text(Exit::Usage, errors).advise("`ganger check` shows where they are")
        })?;
        let config = config.config;
        let mut found = Vec::new();
        for pool in chosen(&config, self.pool.as_deref())? {
            let findings = providers::preflight(&config, pool).await;
            found.push(OfPool { pool: pool.spec.name.clone(), findings });
        }
        let ok = !found.iter().flat_map(|pool| &pool.findings).any(|found| found.verdict == Verdict::Bad);
        let exit = if ok { Exit::Ok } else { Exit::Usage };
        if self.json {
            output::json(&Findings { ok, pools: found })?;
            return Ok(exit);
        }
        if found.is_empty() {
            output::text(faint("no pools"))?;
        }
        for pool in &found {
            output::text(strong(&pool.pool))?;
            for found in &pool.findings {
                tell(found)?;
            }
        }
        Ok(exit)
    }
}

fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a Arc<Pool>>, Failure> {
    let Some(name) = name else { return Ok(config.pools.iter().collect()) };
    match config.pools.iter().find(|pool| pool.spec.name == name) {
        Some(pool) => Ok(vec![pool]),
        None => {
            let failure = Failure::text(Exit::NotFound, format!("there is no pool {name:?}"));
            let names = config.pools.iter().map(|pool| &*pool.spec.name);
            Err(match config::nearest(name, names) {
                Some(meant) => failure.advise(format!("did you mean {meant:?}?")),
                None => failure,
            })
        }
    }
}

fn tell(found: &Finding) -> Result<(), Failure> {
    let mark = match found.verdict {
        Verdict::Good => good("good    ").to_string(),
        Verdict::Doubtful => warning("doubtful").to_string(),
        Verdict::Bad => bad("bad     ").to_string(),
    };
    output::text(format_args!("  {mark}  {}: {}", for_terminal(&found.subject), for_terminal(&found.text)))?;
    if let Some(help) = &found.help {
        output::text(format_args!("            {}", faint(for_terminal(help))))?;
    }
    Ok(())
}
