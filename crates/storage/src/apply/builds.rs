//! Builds and steps.

use model::{BuildId, StepId};

use super::{Applied, Tables, seconds};
use crate::{database::params, error::ApplyError, json, rows::StepUrl, sql::builds as sql, write::Write};

pub(super) fn build(tables: &Tables<'_>, write: &Write) -> Applied {
    match write {
        Write::Build { id, number, builder, request, worker, started_at, state_string } => tables.run(
            sql::ADD_BUILD,
            params![
                id.0,
                number.0,
                builder.0,
                request.0,
                worker.map(|worker| worker.0),
                tables.master.0,
                seconds(*started_at),
                state_string
            ],
        ),
        Write::BuildState { build, state_string } => {
            tables.one(sql::BUILD_STATE, params![state_string, build.0], || no_build(*build))
        }
        Write::BuildProperty { build, name, value, source } => {
            let value = json::text(value);
            match tables
                .connection
                .execute(sql::UPDATE_BUILD_PROPERTY, params![value, source, build.0, name])?
            {
                0 => tables.run(sql::ADD_BUILD_PROPERTY, params![build.0, name, value, source]),
                _ => Ok(()),
            }
        }
        Write::BuildFinished { build, results, at, state_string, locks_duration } => {
            let locks = i64::try_from(locks_duration.as_secs()).unwrap_or(i64::MAX);
            let values = params![seconds(*at), results.code(), state_string, locks, build.0];
            tables.one(sql::FINISH_BUILD, values, || no_build(*build))
        }
        _ => Ok(()),
    }
}

pub(super) fn step(tables: &Tables<'_>, write: &Write) -> Applied {
    match write {
        Write::Step { id, number, build, name, started_at, state_string } => {
            let started_at = started_at.map(seconds);
            let values = params![id.0, number, name, build.0, started_at, started_at, state_string];
            tables.run(sql::ADD_STEP, values)
        }
        Write::StepStarted { step, at, locks_acquired } => {
            let locks = locks_acquired.then_some(seconds(*at));
            tables.one(sql::START_STEP, params![seconds(*at), locks, step.0], || no_step(*step))
        }
        Write::StepLocksAcquired { step, at } => {
            tables.one(sql::STEP_LOCKS, params![seconds(*at), step.0], || no_step(*step))
        }
        Write::StepState { step, state_string } => {
            tables.one(sql::STEP_STATE, params![state_string, step.0], || no_step(*step))
        }
        Write::StepUrl { step, name, url } => step_url(tables, *step, name, url),
        Write::StepFinished { step, results, at, hidden, state_string } => {
            let values = params![seconds(*at), results.code(), i64::from(*hidden), state_string, step.0];
            tables.one(sql::FINISH_STEP, values, || no_step(*step))
        }
        _ => Ok(()),
    }
}

fn step_url(tables: &Tables<'_>, step: StepId, name: &str, url: &str) -> Applied {
    let text: Option<String> = tables.connection.value(sql::STEP_URLS, params![step.0])?;
    let text = text.ok_or_else(|| ApplyError::Refused(no_step(step)))?;
    let mut urls: Vec<StepUrl> = serde_json::from_str(&text)
        .map_err(|error| ApplyError::Refused(format!("its links are broken: {error}")))?;
    let new = StepUrl { name: name.to_owned(), url: url.to_owned() };
    if urls.contains(&new) {
        return Ok(());
    }
    urls.push(new);
    tables.run(sql::SET_STEP_URLS, params![json::text(&urls), step.0])
}

fn no_build(build: BuildId) -> String {
    format!("there is no build {build}")
}

fn no_step(step: StepId) -> String {
    format!("there is no step {step}")
}
