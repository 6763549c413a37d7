//! `ganger status`.

use clap::Args;

use super::{builds, pool};
use crate::{
    cli::Remote,
    control::{self, Nothing, Request, WorkerStatus},
    exit::{Exit, Failure},
    output::{self, active, bad, faint, good, span, strong, warning},
};

/// Show workers, builders and what runs.
#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    remote: Remote,
}

impl Status {
    /// Prints it.
    pub(crate) async fn run(&self) -> Result<Exit, Failure> {
        let status: control::Status = self.remote.connect().await?.call(&Request::Status(Nothing {})).await?;
        if self.remote.json {
            output::json(&status)?;
            return Ok(Exit::Ok);
        }
        let master = &status.master;
        output::text(format_args!(
            "{}  {}",
            strong(&master.title),
            faint(format!(
                "Ganger {}, process {}, up {}",
                master.version,
                master.pid,
                span(status.now - master.started_at)
            ))
        ))?;
        output::text(format_args!(
            "  {}  workers connect to {}",
            master.directory,
            master.listen.join(", ")
        ))?;
        if let Some(web) = &master.web {
            output::text(format_args!("  {}", faint(format!("metrics are at {web}metrics"))))?;
        }
        if master.draining {
            output::text(format_args!("  {}", warning("ending: no build is started any more")))?;
        }
        if master.health == "stalled" {
            output::text(format_args!("  {}", bad("the database does not answer: look at the disk")))?;
        }
        if !status.pools.is_empty() {
            output::text(strong("pools"))?;
        }
        for one in &status.pools {
            output::text(format_args!("  {}", pool::line(one)))?;
            for condition in pool::conditions(one, status.now) {
                output::text(format_args!("    {condition}"))?;
            }
        }
        // Slots that are empty are no workers that anybody misses.
        let shown = |worker: &&WorkerStatus| worker.pool.is_none() || worker.connected;
        let mut workers = status.workers.iter().filter(shown).peekable();
        if workers.peek().is_some() || status.pools.is_empty() {
            output::text(strong("workers"))?;
        }
        for worker in workers {
            output::text(format_args!("  {}", worker_line(worker)))?;
        }
        output::text(strong("builders"))?;
        for builder in &status.builders {
            let waiting = match builder.pending {
                0 => String::new(),
                1 => "  1 request waits".to_owned(),
                n => format!("  {n} requests wait"),
            };
            let state = if builder.running.is_empty() { faint("idle") } else { active("building") };
            output::text(format_args!("  {}  {state}{}", builder.name, warning(waiting)))?;
            if let Some(first) = builder.waiting.first() {
                let expected =
                    first.expected_at.map(|at| format!(", expected {}", pool::until(at, status.now)));
                let why = output::for_terminal(&first.why);
                output::text(format_args!(
                    "    {}",
                    faint(format!("{why}{}", expected.unwrap_or_default()))
                ))?;
            }
            for build in builder.running.iter().chain(&builder.last) {
                output::text(format_args!("    {}", builds::line(build, status.now)))?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn worker_line(worker: &WorkerStatus) -> String {
    let mut line = format!("{}  ", worker.name);
    if !worker.connected {
        line.push_str(&bad("not connected").to_string());
        return line;
    }
    line.push_str(&good("connected").to_string());
    if let Some(why) = &worker.paused {
        line.push_str(&format!("  {}", warning(format!("paused: {}", output::for_terminal(why)))));
    }
    if worker.graceful {
        line.push_str(&format!("  {}", warning("ends after its builds")));
    }
    match worker.running {
        0 => {}
        1 => line.push_str(&format!("  {}", active("1 build"))),
        n => line.push_str(&format!("  {}", active(format!("{n} builds")))),
    }
    if let Some(version) = worker.info.get("version").and_then(model::Json::as_str) {
        line.push_str(&format!("  {}", faint(format!("worker {}", output::for_terminal(version)))));
    }
    line
}
