//! `ganger simulate`.

mod input;
mod plot;
mod show;

use std::path::PathBuf;

use clap::Args;
use pools::sim::{self, Choice, Outcome};
use serde::Serialize;

use self::input::{Given, Variant};
use crate::{
    exit::{Exit, Failure},
    output,
};

/// Try a pool on recorded demand: how long builds would wait, and what machines would cost.
///
/// The demand is a trace (lines of `arrival_ms,duration_ms[,builder,priority]`) or the history of builds of a master. The
/// very code that decides in the master decides here, in front of a cloud and a dispatcher that are not there. The same
/// command with the same seed gives the same result.
#[derive(Args, Debug)]
pub(crate) struct Simulate {
    #[command(flatten)]
    demand: Demand,

    #[command(flatten)]
    pool: Pool,

    #[command(flatten)]
    cloud: Cloud,

    /// Rules of other systems to run as well; `all` for all of them.
    #[arg(long, value_name = "NAME", value_parser = policies(), conflicts_with_all = ["compare"])]
    policy: Vec<String>,

    /// Another configuration to run as well: a ganger.toml, or settings as in `max=100,lambda=3`
    /// (max, min, warm, lambda, idle, max-builds, forecast).
    #[arg(long, value_name = "FILE|SETTINGS")]
    compare: Vec<String>,

    /// Run the pool with one λ after the other.
    #[arg(long, conflicts_with_all = ["lambda", "compare"])]
    frontier: bool,

    /// The values of λ for --frontier.
    #[arg(long, value_name = "L,L,…", value_delimiter = ',', requires = "frontier", value_parser = positive,
        default_values_t = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0])]
    lambdas: Vec<f64>,

    /// Draw mean wait over overhead hours into this SVG file.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,

    /// Print JSON: one object; with several runs it has them in `runs`.
    #[arg(long)]
    json: bool,
}

/// What is to be built.
#[derive(Args, Debug)]
#[group(skip)]
struct Demand {
    /// A trace; one that is compressed by gzip is unpacked.
    #[arg(long, value_name = "FILE", required_unless_present = "history")]
    trace: Option<PathBuf>,

    /// The directory of a master, or its state.sqlite: the demand is what was built there. A master may run meanwhile.
    #[arg(long, value_name = "DIR-OR-DB", conflicts_with = "trace")]
    history: Option<PathBuf>,

    /// Of the history, only the last so many days.
    #[arg(long, value_name = "N", requires = "history", value_parser = positive)]
    days: Option<f64>,

    /// Without priorities in the demand: the share of urgent jobs.
    #[arg(long, value_name = "P", default_value_t = 0.15, value_parser = share)]
    high_share: f64,

    /// All chance follows from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What the pool is like.
#[derive(Args, Debug)]
#[group(skip)]
struct Pool {
    /// A ganger.toml with the pool (or its directory), instead of the options.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Which pool of the configuration, when there are several.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,

    /// The most machines [default: 3000].
    #[arg(long, value_name = "N")]
    max: Option<u32>,

    /// How many seconds of a machine a second of waiting is worth; of urgent jobs, at least 20 [default: 1].
    #[arg(long, value_name = "L", value_parser = positive)]
    lambda: Option<f64>,

    /// How many builds a machine runs at once [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_builds: Option<u32>,
}

/// What the cloud is like.
#[derive(Args, Debug)]
#[group(skip)]
struct Cloud {
    /// Half of the machines take longer than so many seconds to connect. Without it: what the history has seen, or 120.
    #[arg(long, value_name = "S", value_parser = positive)]
    boot_median: Option<f64>,

    /// How widely boots differ: σ of a log-normal distribution [default: 0.35].
    #[arg(long, value_name = "X", value_parser = non_negative)]
    boot_sigma: Option<f64>,

    /// The share of machines that never connect.
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = share)]
    boot_fail: f64,

    /// What an hour of a machine costs.
    #[arg(long, value_name = "AMOUNT", value_parser = non_negative)]
    price: Option<f64>,
}

/// One run, as JSON has it.
#[derive(Debug, Serialize)]
struct Run<'a> {
    /// What was run, for people.
    name: &'a str,
    /// λ of jobs that are not urgent, when our own pools decided.
    lambda: Option<f64>,
    max: u32,
    seed: u64,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Several runs.
#[derive(Debug, Serialize)]
struct Runs<'a> {
    runs: Vec<Run<'a>>,
}

/// A run that is over.
#[derive(Debug)]
struct Done {
    variant: Variant,
    outcome: Outcome,
}

impl Simulate {
    /// Runs everything and shows it.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let given = Given::read(&self)?;
        let mut done = Vec::new();
        for variant in given.variants(&self)? {
            let outcome = match variant.rule {
                Some(rule) => sim::simulate(variant.setting.clone(), rule),
                None => sim::simulate_ours(variant.setting.clone(), variant.limits),
            };
            done.push(Done { variant, outcome });
        }
        if let Some(file) = &self.plot {
            plot::draw(file, &done)?;
        }
        if self.json {
            let mut runs: Vec<Run<'_>> = done.iter().map(|done| done.as_json(self.demand.seed)).collect();
            match (runs.len(), runs.pop()) {
                (1, Some(only)) => output::json(&only)?,
                (_, last) => {
                    runs.extend(last);
                    output::json(&Runs { runs })?;
                }
            }
        } else {
            show::all(&given, &done)?;
        }
        Ok(Exit::Ok)
    }
}

impl Done {
    fn as_json(&self, seed: u64) -> Run<'_> {
        let spec = &self.variant.setting.pools[0];
        Run {
            name: &self.variant.name,
            lambda: self.variant.rule.is_none().then(|| self.variant.lambda()),
            max: spec.max,
            seed,
            outcome: &self.outcome,
        }
    }
}

fn policies() -> clap::builder::PossibleValuesParser {
    let known =
        Choice::ALL.map(|choice| clap::builder::PossibleValue::new(choice.name()).help(choice.text()));
    let all = clap::builder::PossibleValue::new("all").help("all of them");
    known.into_iter().chain([all]).collect::<Vec<_>>().into()
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(|| "not a number".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    number(text).and_then(|number| {
        if number > 0.0 && number <= 1e6 {
            Ok(number)
        } else {
            Err("must be more than 0 and at most 1000000".to_owned())
        }
    })
}

fn non_negative(text: &str) -> Result<f64, String> {
    number(text).and_then(|number| {
        if (0.0..=1e6).contains(&number) { Ok(number) } else { Err("must be from 0 to 1000000".to_owned()) }
    })
}

fn share(text: &str) -> Result<f64, String> {
    number(text).and_then(|number| {
        if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("must be from 0 to 1".to_owned()) }
    })
}
