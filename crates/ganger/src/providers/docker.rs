//! Pools of containers.

use std::{error::Error, net::SocketAddr, sync::Arc};

use config::{Pool, PoolProblem};
use model::docker::Template;
use pools::Provider;
use provider_docker::{Docker, Settings};

use super::{Finding, Suppliers, Verdict};

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
    let here = if template.is_here() { suppliers.here() } else { elsewhere(&suppliers.listen) };
    let master = pool.master.clone().or(here).ok_or(NoAddress)?;
    Ok(Settings::new(&pool.spec.name, &suppliers.deployment, &master, Arc::clone(template)))
}

/// The first address that is bound and is not this machine's alone.
fn elsewhere(listen: &[String]) -> Option<String> {
    let mut addresses = listen.iter().filter_map(|address| address.strip_prefix("tcp:"));
    let is_here = |address: SocketAddr| address.ip().is_loopback() || address.ip().is_unspecified();
    addresses.find(|address| !address.parse().is_ok_and(is_here)).map(str::to_owned)
}

/// All that stands against a pool's machines, as far as that shows without asking the engine.
pub(super) fn problems(suppliers: &Suppliers, pool: &Pool, template: &Arc<Template>) -> Vec<PoolProblem> {
    let problem = |key, error: &dyn Error| PoolProblem {
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
    let found = provider_docker::preflight(&settings, pool.spec.max).await;
    let shown = |found: provider_docker::Finding| Finding {
        subject: found.subject.to_owned(),
        verdict: match found.verdict {
            provider_docker::Verdict::Good => Verdict::Good,
            provider_docker::Verdict::Doubtful => Verdict::Doubtful,
            provider_docker::Verdict::Bad => Verdict::Bad,
        },
        text: found.text,
        help: found.help.map(str::to_owned),
    };
    found.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listen: &[&str], found: Option<&str>) {
        let listen: Vec<_> = listen.iter().map(|address| (*address).to_owned()).collect();
        assert_eq!(elsewhere(&listen).as_deref(), found);
    }

    #[test]
    fn a_container_finds_the_first_address_that_is_not_this_machines_alone() {
        check(&["unix:/x", "tcp:127.0.0.1:1", "tcp:172.17.0.1:2", "tcp:10.0.0.1:3"], Some("172.17.0.1:2"));
        check(&["tcp:0.0.0.0:9989", "tcp:[::1]:9989", "tcp:[::]:1"], None);
        check(&["tcp:ci.example.org:9989"], Some("ci.example.org:9989"));
    }
}
