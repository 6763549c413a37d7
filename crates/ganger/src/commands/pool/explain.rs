//! `ganger pool why`.

use clap::Args;

use super::{
    decisions::{self, Subject},
    money, show, until,
};
use crate::{
    cli::Remote,
    commands::builds,
    control::{
        self, Request,
        pool::{InstanceWhy, RequestWhy, WhyFilter},
    },
    exit::{Exit, Failure},
    output::{self, faint, for_terminal, results, span, strong},
};

/// Explain why a build request waits, or why an instance was started and is kept.
///
/// A number can be that of a build request and of an instance; then both are explained.
#[derive(Args, Debug)]
pub(super) struct Why {
    /// The number of a build request; or an instance: its number, its slot (`linux-3`), its login (`linux@12`), or the
    /// provider's name of it.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    what: String,

    /// A number is that of a build request.
    #[arg(long, conflicts_with = "instance")]
    request: bool,

    /// A number is that of an instance.
    #[arg(long)]
    instance: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Why {
    /// Prints the explanation.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let filter = WhyFilter { what: self.what, request: self.request, instance: self.instance };
        let why: control::pool::Why = self.remote.connect().await?.call(&Request::PoolWhy(filter)).await?;
        if self.remote.json {
            output::json(&why)?;
            return Ok(Exit::Ok);
        }
        if let Some(request) = &why.request {
            tell_request(request, why.now)?;
        }
        if let Some(instance) = &why.instance {
            tell_instance(instance, why.now)?;
        }
        Ok(Exit::Ok)
    }
}

fn tell_request(request: &RequestWhy, now: i64) -> Result<(), Failure> {
    let age = match request.results {
        Some(code) => results(Some(code)).to_string(),
        None => faint(format!("asked for {} ago", span(now - request.submitted_at))).to_string(),
    };
    output::text(format_args!(
        "{}  {}, priority {}  {age}",
        strong(format!("request {}", request.buildrequestid)),
        for_terminal(&request.builder),
        request.priority
    ))?;
    output::text(format_args!("  {}", for_terminal(&request.why.text)))?;
    if let Some(expected) = &request.expected {
        let start = match expected.start {
            Some(at) => format!("expected to start {}", until(at, now)),
            None => "nobody can say when it starts".to_owned(),
        };
        output::text(format_args!("  {start} in pool {}", strong(&expected.pool)))?;
    }
    for build in &request.builds {
        output::text(format_args!("  {}", builds::line(build, now)))?;
    }
    for decision in &request.decisions {
        output::text(format_args!("  {}", decisions::line(decision, now, Subject::Known)))?;
    }
    Ok(())
}

fn tell_instance(why: &InstanceWhy, now: i64) -> Result<(), Failure> {
    let instance = &why.instance;
    output::text(show::instance_line(instance, now))?;
    let because = |what: &str, text: &str| output::text(format_args!("  {what}: {}", for_terminal(text)));
    because(&format!("started {} ago", span(now - instance.planned_at)), &instance.started.text)?;
    if !instance.causes.is_empty() {
        let causes: Vec<String> = instance.causes.iter().map(i64::to_string).collect();
        output::text(format_args!("  {}", faint(format!("for requests such as {}", causes.join(", ")))))?;
    }
    if let (Some(launched), Some(connected)) = (instance.launched_at, instance.connected_at) {
        output::text(format_args!(
            "  {}",
            faint(format!("its worker came after {}", span(connected - launched)))
        ))?;
    }
    if let Some(drain) = &instance.drain {
        because("gets no more builds", &drain.text)?;
    }
    if let Some(text) = &instance.why {
        because("now", text)?;
    }
    if let Some(ended) = &instance.ended {
        because("ended", &ended.text)?;
    }
    if let Some(cost) = instance.cost.filter(|cost| *cost > 0.0) {
        output::text(format_args!("  {}", faint(format!("has cost {}", money(cost)))))?;
    }
    if let Some(console) = instance.console.as_deref().filter(|console| !console.trim().is_empty()) {
        output::text(format_args!("  {}", strong("what it said while it booted")))?;
        for line in console.trim_end().lines() {
            output::text(format_args!("    {}", for_terminal(line)))?;
        }
    }
    if !why.decisions.is_empty() {
        output::text(format_args!("  {}", strong("decided")))?;
        for decision in &why.decisions {
            output::text(format_args!("    {}", decisions::line(decision, now, Subject::Known)))?;
        }
    }
    Ok(())
}
