//! Asking for builds, and telling how they go.

use std::collections::{BTreeSet, HashMap};

use config::{Config, Scheduler, SchedulerKind};
use engine::{Notice, Values, notice::Heard};
use model::{BuildId, BuildRequestId, BuildsetId, Json, Properties, Results, StepId};
use tokio::io::AsyncWrite;

use super::{
    Force, ForceScheduler, Forced, ForcedRequest, Notification, Progress, Refusal,
    house::{House, not_done},
    server::{Answers, internal},
    view::{Names, unreadable},
};

/// Where the properties of a forced build come from, by Buildbot's word for it.
const SOURCE: &str = "Force Build Form";

/// Answers `force`.
pub(super) async fn run<W: AsyncWrite + Unpin>(
    house: &House,
    force: Force,
    answers: &mut Answers<W>,
) -> Result<Forced, Refusal> {
    // Before the builds exist, so that nothing is missed.
    let notices = force.wait.then(|| house.master.subscribe());
    let config = house.config.borrow().clone();
    let scheduler = choose(&config, force.scheduler.as_deref(), &force.builders)?;
    let (values, properties) = said(&config, &scheduler, force.parameters);
    let order = engine::Force {
        scheduler,
        builder_names: force.builders,
        reason: force.reason,
        owner: force.owner.unwrap_or_default(),
        branch: force.branch,
        revision: force.revision,
        repository: force.repository,
        project: force.project,
        priority: force.priority,
        values,
        properties,
    };
    let engine::master::Forced { buildset, requests } = house.master.force(order).await.map_err(not_done)?;
    let mut forced = Forced {
        buildsetid: buildset.0,
        requests: requests
            .iter()
            .map(|(builder, id)| ForcedRequest { builder: builder.clone(), buildrequestid: id.0 })
            .collect(),
        results: None,
    };
    if let Some(notices) = notices {
        tell(answers, Progress::Requested(forced.clone())).await?;
        let requests = requests.iter().map(|(_, id)| *id).collect();
        let results = watch(house, notices, buildset, requests, answers).await?;
        forced.results = Some(results.code());
    }
    Ok(forced)
}

/// What force schedulers take.
pub(super) fn schedulers(config: &Config) -> Vec<ForceScheduler> {
    let shown = config.schedulers.iter().filter_map(|scheduler| match &scheduler.kind {
        SchedulerKind::Force(force) => Some(ForceScheduler {
            name: scheduler.name.clone(),
            button_name: force.button_name.clone(),
            label: force.label.clone(),
            builder_names: scheduler.builder_names.clone(),
            all_fields: force.all_fields(),
        }),
        _ => None,
    });
    shown.collect()
}

/// Parts what the scheduler has parameters for from properties, whose values have the type that they have as JSON.
fn said(config: &Config, scheduler: &str, given: Vec<(String, String)>) -> (Values, Properties) {
    let kind = config.schedulers.iter().find(|one| one.name == scheduler).map(|one| &one.kind);
    let mut values = Values::new();
    let mut properties = Properties::new();
    for (name, value) in given {
        if matches!(kind, Some(SchedulerKind::Force(force)) if force.takes(&name)) {
            values.entry(name).or_default().push(value.into());
        } else {
            let typed = serde_json::from_str::<Json>(&value).unwrap_or_else(|_| value.into());
            properties.set(name, typed, SOURCE);
        }
    }
    (values, properties)
}

/// The force scheduler that can do it.
fn choose(config: &Config, wanted: Option<&str>, builders: &[String]) -> Result<String, Refusal> {
    let invalid = |message: String| Err(Refusal::new(Refusal::INVALID_PARAMS, message));
    if let Some(name) = wanted {
        // Whether it fits the core says.
        return Ok(name.to_owned());
    }
    if let Some(unknown) =
        builders.iter().find(|name| config.builders.iter().all(|builder| builder.name != **name))
    {
        let known: Vec<&str> = config.builders.iter().map(|builder| &*builder.name).take(10).collect();
        return Err(Refusal::not_found(format!(
            "no builder is called {unknown:?}; there are {}{}",
            known.join(", "),
            if config.builders.len() > known.len() { ", …" } else { "" }
        )));
    }
    let all: Vec<&Scheduler> = config
        .schedulers
        .iter()
        .map(|scheduler| &**scheduler)
        .filter(|scheduler| matches!(scheduler.kind, SchedulerKind::Force(_)))
        .collect();
    let able: Vec<&Scheduler> = all
        .iter()
        .copied()
        .filter(|one| builders.iter().all(|builder| one.builder_names.contains(builder)))
        .collect();
    let names = |schedulers: &[&Scheduler]| {
        schedulers.iter().map(|scheduler| &*scheduler.name).collect::<Vec<_>>().join(", ")
    };
    match (&*able, builders) {
        ([only], []) if only.builder_names.len() > 1 => {
            invalid(format!("name the builders: {}", only.builder_names.join(", ")))
        }
        ([only], _) => Ok(only.name.clone()),
        ([], _) if all.is_empty() => invalid(
            "nothing can be forced: the configuration has no `[[scheduler]]` of type \"ForceScheduler\""
                .to_owned(),
        ),
        ([], _) => invalid(format!(
            "no force scheduler builds {}: add it to the `builderNames` of one ({})",
            builders.join(" and "),
            names(&all)
        )),
        (several, []) => {
            invalid(format!("name a builder, or a scheduler with --scheduler: {}", names(several)))
        }
        (several, _) => invalid(format!(
            "several force schedulers can do it, name one with --scheduler: {}",
            names(several)
        )),
    }
}

/// Tells what happens to the requests until all are complete; how that ended.
async fn watch<W: AsyncWrite + Unpin>(
    house: &House,
    mut notices: engine::Notices,
    buildset: BuildsetId,
    requests: BTreeSet<BuildRequestId>,
    answers: &mut Answers<W>,
) -> Result<Results, Refusal> {
    let mut builds: BTreeSet<BuildId> = BTreeSet::new();
    let mut steps: HashMap<StepId, String> = HashMap::new();
    loop {
        let notice = match notices.next().await {
            Heard::Notice(notice) => notice,
            Heard::Missed(_) => {
                let row = house.store.buildset(buildset).await.map_err(unreadable)?;
                match row.and_then(|row| row.results.filter(|_| row.complete)) {
                    Some(results) => return Ok(results),
                    None => continue,
                }
            }
            Heard::End => {
                return Err(Refusal::new(Refusal::TRY_AGAIN, "the master has ended before the builds have"));
            }
        };
        match &*notice {
            Notice::BuildStarted { build, request, .. } if requests.contains(request) => {
                builds.insert(*build);
                if let Some(build) = shown(house, *build).await? {
                    tell(answers, Progress::BuildStarted(build)).await?;
                }
            }
            Notice::StepStarted { step, build, name, .. } if builds.contains(build) => {
                steps.insert(*step, name.clone());
                tell(answers, Progress::StepStarted { buildid: build.0, name: name.clone() }).await?;
            }
            Notice::StepFinished { step, build, results, state_string, hidden, .. }
                if builds.contains(build) =>
            {
                let name = steps.remove(step).unwrap_or_default();
                if !hidden {
                    let (buildid, results, state_string) = (build.0, results.code(), state_string.clone());
                    tell(answers, Progress::StepFinished { buildid, name, results, state_string }).await?;
                }
            }
            Notice::BuildFinished { build, .. } if builds.remove(build) => {
                if let Some(build) = shown(house, *build).await? {
                    tell(answers, Progress::BuildFinished(build)).await?;
                }
            }
            Notice::BuildsetCompleted { buildset: complete, results } if *complete == buildset => {
                return Ok(*results);
            }
            _ => {}
        }
    }
}

async fn shown(house: &House, build: BuildId) -> Result<Option<super::Build>, Refusal> {
    match house.store.build(build).await.map_err(unreadable)? {
        Some(row) => Names::new(house).build(row).await.map(Some),
        None => Ok(None),
    }
}

async fn tell<W: AsyncWrite + Unpin>(answers: &mut Answers<W>, progress: Progress) -> Result<(), Refusal> {
    answers.notify(&Notification::Progress(progress)).await.map_err(internal)
}
