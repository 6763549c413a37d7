//! Pools of containers.

use std::{error::Error, sync::Arc};

use config::{Pool, StartProblem};
use model::docker::Template;
use pools::{Finding, Provider};
use provider_docker::{Docker, Settings};

use super::Suppliers;

/// No container of a pool can find the master.
#[derive(Debug, thiserror::Error)]
#[error(
    "its containers find no address of the master that is not this machine's alone: say with `master` where it is for them, such as \"172.17.0.1:9989\""
)]
struct NoAddress;

/// The provider of a pool.
pub(super) fn provider(
    suppliers: &Suppliers,
    pool: &Pool,
    template: &Arc<Template>,
) -> Result<Arc<dyn Provider>, Box<dyn Error + Send + Sync>> {
    Ok(Arc::new(Docker::open(settings(suppliers, pool, template)?)?))
}

/// How the machines of a pool are made.
fn settings(suppliers: &Suppliers, pool: &Pool, template: &Arc<Template>) -> Result<Settings, NoAddress> {
    let here = if template.is_here() { suppliers.here() } else { suppliers.elsewhere() };
    let master = pool.master.clone().or(here).ok_or(NoAddress)?;
    Ok(Settings::new(&pool.spec.name, &suppliers.deployment, &master, Arc::clone(template)))
}

/// All that stands against a pool's machines, as far as that shows without asking the engine.
pub(super) fn problems(suppliers: &Suppliers, pool: &Pool, template: &Arc<Template>) -> Vec<StartProblem> {
    let problem = |key, error: &dyn Error| StartProblem {
        key,
        message: format!("pool {} cannot have machines: {error}", pool.spec.name),
    };
    match settings(suppliers, pool, template) {
        Ok(settings) => settings.check().err().iter().map(|error| problem(Some("master"), error)).collect(),
        Err(error) => vec![problem(None, &error)],
    }
}

/// What the engine says to all of it.
pub(super) async fn preflight(suppliers: &Suppliers, pool: &Pool, template: &Arc<Template>) -> Vec<Finding> {
    let Ok(settings) = settings(suppliers, pool, template) else { return Vec::new() };
    provider_docker::preflight(&settings, pool.spec.max).await
}
