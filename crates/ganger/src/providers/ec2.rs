//! Pools on EC2.

use std::{error::Error, sync::Arc};

use config::{Pool, StartProblem};
use model::ec2::Template;
use pools::{Finding, Provider, Verdict};

use super::{NoAddress, NoEnrollment, Suppliers};

/// The provider of a pool.
pub(super) fn provider(
    suppliers: &Suppliers,
    pool: &Pool,
    template: &Arc<Template>,
) -> Result<Arc<dyn Provider>, Box<dyn Error + Send + Sync>> {
    Ok(Arc::new(provider_ec2::Ec2::open(settings(suppliers, pool, template)?)?))
}

/// What the machines of a pool are made from.
fn settings(
    suppliers: &Suppliers,
    pool: &Pool,
    template: &Arc<Template>,
) -> Result<provider_ec2::Settings, Box<dyn Error + Send + Sync>> {
    let enroll = suppliers.enroll.clone().ok_or(NoEnrollment::NoAddress)?;
    Ok(provider_ec2::Settings {
        pool: pool.spec.name.clone(),
        deployment: suppliers.deployment.clone(),
        template: Arc::clone(template),
        master: pool.master.clone().or_else(|| suppliers.elsewhere()).ok_or(NoAddress)?,
        enroll: enroll.address,
        fingerprint: enroll.fingerprint,
    })
}

/// All that stands against a pool's machines, as far as that shows without asking EC2.
pub(super) fn problems(suppliers: &Suppliers, pool: &Pool, template: &Arc<Template>) -> Vec<StartProblem> {
    use provider_ec2::SettingsError;

    let name = &pool.spec.name;
    let problem = |key, error: &dyn Error| StartProblem {
        key,
        message: format!("pool {name} cannot have machines: {error}"),
    };
    let settings = match settings(suppliers, pool, template) {
        Ok(settings) => settings,
        Err(error) => return vec![problem(None, &*error)],
    };
    let key = |error: &SettingsError| match error {
        SettingsError::Value { field, .. } => Some(*field),
        SettingsError::UserData { .. } => Some("user-data-file"),
        _ => None,
    };
    settings.problems().iter().map(|error| problem(key(error), error)).collect()
}

/// What EC2 says to all of it.
pub(super) async fn preflight(suppliers: &Suppliers, pool: &Pool, template: &Arc<Template>) -> Vec<Finding> {
    let settings = match settings(suppliers, pool, template) {
        Ok(settings) => settings,
        Err(error) => {
            let (subject, text) = ("configuration".to_owned(), error.to_string());
            return vec![Finding { subject, verdict: Verdict::Bad, text, help: None }];
        }
    };
    provider_ec2::preflight(&settings).await
}
