//! A step that triggers schedulers (`buildbot/steps/trigger.py`).

use model::{BuildRequestId, Json, Properties, Results, template::to_text};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    Answer, StampAsked, Trigger, TriggeredBuild, TriggeredScheduler,
    build::{halt::Halt, step::Step},
};

/// Triggers the schedulers, and waits for what they have built, if it is to.
pub(super) async fn run(step: &mut Step) -> Result<Results, Halt> {
    let schedulers = step.args.texts("schedulerNames");
    let unimportant = step.args.texts("unimportantSchedulerNames");
    let waits = step.args.truth("waitForFinish");
    let relationship = step.args.text("parent_relationship").unwrap_or_default();
    let trigger = Trigger {
        build: step.build.order.build,
        schedulers,
        sourcestamps: sourcestamps(step)?,
        properties: properties(step),
        waits,
        relationship: step.build.scrubber.clean(&relationship).into_owned(),
    };
    let mut answers = step.build.trigger(trigger).await;
    let triggered = match answers.recv().await {
        Some(Answer::Triggered(triggered)) => triggered,
        Some(Answer::Refused(refusal)) if step.build.hear().is_none() => {
            return Err(Halt::Broken(format!("nothing is triggered: {refusal}")));
        }
        // Stopped, or the master ends.
        _ => return Err(Halt::Stopped),
    };
    for one in &triggered {
        for request in &one.requests {
            let url = format!("{}#/buildrequests/{request}", step.build.master_url);
            step.add_url(&format!("{} #{request}", one.scheduler), &url).await?;
        }
    }
    let wait = Wait {
        names: triggered.iter().map(|one| one.scheduler.clone()).collect(),
        triggered,
        unimportant,
        complete: Vec::new(),
    };
    wait.say(step).await?;
    if !waits {
        return Ok(Results::Success);
    }
    step.build.journal.commit(Vec::new()).await?;
    wait.until_done(step, &mut answers).await
}

/// What became of a request.
struct Complete {
    request: BuildRequestId,
    results: Results,
    builds: Vec<TriggeredBuild>,
}

struct Wait {
    names: Vec<String>,
    triggered: Vec<TriggeredScheduler>,
    unimportant: Vec<String>,
    complete: Vec<Complete>,
}

impl Wait {
    async fn until_done(
        mut self,
        step: &mut Step,
        answers: &mut UnboundedReceiver<Answer>,
    ) -> Result<Results, Halt> {
        let mut stopped = false;
        loop {
            let answer = tokio::select! {
                biased;
                (_, results) = step.build.stop() => {
                    stopped = true;
                    step.summary.whole = Some("interrupted".to_owned());
                    if results == Results::Retry {
                        return Err(Halt::Stopped);
                    }
                    // What was triggered is cancelled; its end is waited for.
                    continue;
                }
                answer = answers.recv() => answer,
            };
            match answer {
                Some(Answer::TriggeredRequest { request, results, builds }) => {
                    self.complete.push(Complete { request, results, builds });
                    if !stopped {
                        self.say(step).await?;
                        step.build.journal.commit(Vec::new()).await?;
                    }
                }
                Some(Answer::Done) if !stopped => break,
                _ => return Err(Halt::Stopped),
            }
        }
        self.add_links(step).await?;
        Ok(self.results())
    }

    /// Says what was triggered, and how much of it has ended how.
    async fn say(&self, step: &mut Step) -> Result<(), Halt> {
        let mut text = format!("triggered {}", self.names.join(", "));
        let ended = || self.complete.iter().flat_map(|complete| &complete.builds);
        for results in Results::ALL {
            match ended().filter(|build| build.results == results).count() {
                0 => {}
                1 => text.push_str(&format!(", 1 {}", results.name())),
                count => text.push_str(&format!(", {count} {}", plural(results))),
            }
        }
        step.summary.whole = Some(text);
        step.say().await
    }

    /// A link to each build.
    async fn add_links(&self, step: &mut Step) -> Result<(), Halt> {
        let order = self.triggered.iter().flat_map(|one| &one.requests);
        let complete = order.filter_map(|id| self.complete.iter().find(|complete| complete.request == *id));
        for build in complete.flat_map(|complete| &complete.builds) {
            let name = format!("{}: {} #{}", build.results.name(), build.builder, build.number);
            let url =
                format!("{}#/builders/{}/builds/{}", step.build.master_url, build.builder_id, build.number);
            step.add_url(&name, &url).await?;
        }
        Ok(())
    }

    /// The worst of what the schedulers that matter have built.
    fn results(&self) -> Results {
        let important = self.triggered.iter().filter(|one| !self.unimportant.contains(&one.scheduler));
        let requests = important.flat_map(|one| &one.requests);
        let ends = requests.filter_map(|id| self.complete.iter().find(|complete| complete.request == *id));
        ends.fold(Results::Success, |worst, complete| worst.worst(complete.results))
    }
}

/// Several builds that ended so.
fn plural(results: Results) -> &'static str {
    match results {
        Results::Success => "successes",
        Results::Warnings => "warnings",
        Results::Failure => "failures",
        Results::Skipped => "skipped",
        Results::Exception => "exceptions",
        Results::Retry => "retries",
        Results::Cancelled => "cancelled",
    }
}

/// What `set_properties` says, with what `copy_properties` names. They are stored and shown, so no secrets are in them.
fn properties(step: &Step) -> Properties {
    const SOURCE: &str = "Trigger";
    let scrubber = &step.build.scrubber;
    let mut properties = Properties::new();
    for (name, value) in step.args.get("set_properties").as_object().into_iter().flatten() {
        properties.set(name.as_str(), scrubber.clean_value(value), SOURCE);
    }
    for name in step.args.texts("copy_properties") {
        let value = step.build.properties.get(&name).map(|value| scrubber.clean_value(value));
        properties.set(name, value.unwrap_or_default(), SOURCE);
    }
    properties
}

/// What is to be built: what is given, the latest, or what this build has built.
fn sourcestamps(step: &Step) -> Result<Vec<StampAsked>, Halt> {
    let given = match (step.args.get("sourceStamps"), step.args.get("sourceStamp")) {
        (Json::Array(stamps), one) => stamps.iter().chain(one.is_object().then_some(one)).collect(),
        (_, one) if one.is_object() => vec![one],
        _ => Vec::new(),
    };
    if !given.is_empty() {
        let mut stamps: Vec<StampAsked> = given.into_iter().map(StampAsked::from_json).collect();
        stamps.sort_by(|a, b| a.codebase.cmp(&b.codebase));
        return match stamps.windows(2).find(|pair| pair[0].codebase == pair[1].codebase) {
            Some(twice) => {
                let codebase = &twice[0].codebase;
                Err(Halt::Broken(format!("codebase {codebase:?} is there twice in `sourceStamps`")))
            }
            None => Ok(stamps),
        };
    }
    if step.args.truth("alwaysUseLatest") {
        return Ok(Vec::new());
    }
    let update = step.args.maybe_truth("updateSourceStamp").unwrap_or(true);
    let got = step.build.properties.get("got_revision");
    let mut stamps: Vec<StampAsked> = Vec::new();
    for stamp in &step.build.order.sourcestamps {
        let got = match got {
            Some(Json::Object(revisions)) => revisions.get(&stamp.codebase),
            Some(revision) if stamp.codebase.is_empty() => Some(revision),
            _ => None,
        };
        let revision = match got.filter(|_| update) {
            Some(Json::Null) => None,
            Some(revision) => Some(to_text(revision)),
            None => stamp.revision.clone(),
        };
        stamps.push(StampAsked::again(stamp, revision));
    }
    stamps.sort_by(|a, b| a.codebase.cmp(&b.codebase));
    Ok(stamps)
}
