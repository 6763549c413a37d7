//! Which provider makes the machines of a pool.

mod docker;
#[cfg(feature = "ec2")]
pub(crate) mod ec2;
#[cfg(not(feature = "ec2"))]
#[path = "without_ec2.rs"]
mod ec2;

use std::{error::Error, net::SocketAddr, sync::Arc};

use config::{Config, Endpoint, LocalTemplate, Pool, PoolProvider, StartProblem, Startable};
use engine::master::Providers;
use pools::{Finding, Provider, Verdict};
use provider_local::{Cgroup, Local, Settings, SettingsError, Trouble};

use crate::local_workers;

/// Makes providers for the pools of this installation.
#[derive(Debug)]
pub(crate) struct Suppliers {
    /// Names this installation.
    pub(crate) deployment: String,
    /// The addresses that are bound for workers, in the order of the configuration.
    pub(crate) listen: Vec<String>,
    /// Where machines enroll, if they can.
    pub(crate) enroll: Option<EnrollPoint>,
}

/// Where machines ask who their workers are, as they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnrollPoint {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// The SHA-256 digest of the certificate that is shown there, in hexadecimal digits. No secret.
    pub(crate) fingerprint: String,
}

/// No machine of a pool can enroll.
#[derive(Debug, thiserror::Error)]
enum NoEnrollment {
    #[error(
        "its machines have to enroll, and there is no place for it: set `enroll` of [master], such as \"tls:9990\""
    )]
    Nowhere,
    #[error(
        "its machines have to enroll, and nobody can tell them where: set `enroll` and `enroll-address` of [master]"
    )]
    NoAddress,
}

/// No worker of a pool can find the master.
#[derive(Debug, thiserror::Error)]
#[error(
    "its workers have no address to connect to: let `listen` of [master] have a plain TCP address, or say with `master` where they find one"
)]
struct NoAddress;

impl Providers for Suppliers {
    fn provider(&self, pool: &Pool) -> Result<Arc<dyn Provider>, Box<dyn Error + Send + Sync>> {
        if pool.enrolls() && self.enroll.is_none() {
            return Err(NoEnrollment::NoAddress.into());
        }
        match &pool.provider {
            PoolProvider::Local(template) => {
                let master = match &pool.master {
                    Some(master) => master.clone(),
                    None => self.here().ok_or(NoAddress)?,
                };
                Ok(Arc::new(Local::open(self.settings(pool, template, &master))?))
            }
            PoolProvider::Docker(template) => docker::provider(self, pool, template),
            PoolProvider::Ec2(template) => ec2::provider(self, pool, template),
        }
    }
}

/// Everything that could keep a pool from having machines, asked of whoever makes them. Nothing is started.
pub(crate) async fn preflight(config: &Config, pool: &Pool) -> Vec<Finding> {
    let problems = problems(config, pool);
    let suppliers = Suppliers::planned(config);
    match &pool.provider {
        PoolProvider::Docker(template) if problems.is_empty() => {
            return docker::preflight(&suppliers, pool, template).await;
        }
        PoolProvider::Ec2(template) if problems.is_empty() => {
            return ec2::preflight(&suppliers, pool, template).await;
        }
        _ => {}
    }
    let subject = "machines";
    if problems.is_empty() {
        return vec![Finding::good(subject, "this machine can start them")];
    }
    let bad = |problem: StartProblem| Finding {
        subject: problem.key.map_or_else(|| subject.to_owned(), |key| format!("`{key}`")),
        verdict: Verdict::Bad,
        // Without a key the text says itself what to do.
        help: problem.key.map(|_| "change it in ganger.toml".to_owned()),
        text: problem.message,
    };
    problems.into_iter().map(bad).collect()
}

/// All that stands against what a configuration has started on this machine. Nothing is made or changed.
pub(crate) fn look(config: &Config, what: Startable<'_>) -> Vec<StartProblem> {
    match what {
        Startable::Pool(pool) => problems(config, pool),
        Startable::Worker(worker) => local_workers::problems(worker),
    }
}

/// All that stands against a pool's machines on this machine. Nothing is made or changed.
pub(crate) fn problems(config: &Config, pool: &Pool) -> Vec<StartProblem> {
    let suppliers = Suppliers::planned(config);
    let problem = |key, error: &dyn Error| StartProblem {
        key,
        message: format!("pool {} cannot have machines: {error}", pool.spec.name),
    };
    let mut problems = Vec::new();
    if pool.enrolls() {
        match &config.master.enroll {
            None => problems.push(problem(None, &NoEnrollment::Nowhere)),
            Some(enroll) if enroll.address.is_none() => {
                problems.push(problem(None, &NoEnrollment::NoAddress))
            }
            Some(_) => {}
        }
    }
    let template = match &pool.provider {
        PoolProvider::Local(template) => template,
        PoolProvider::Docker(template) => return docker::problems(&suppliers, pool, template),
        PoolProvider::Ec2(template) => {
            if problems.is_empty() {
                problems = ec2::problems(&suppliers, pool, template);
            }
            return problems;
        }
    };
    let master = pool.master.clone().or_else(|| suppliers.here());
    if master.is_none() {
        problems.push(problem(None, &NoAddress));
    }
    // Any address does where that one is missing: the rest can be wrong too.
    let master = master.unwrap_or_else(|| "127.0.0.1:9989".to_owned());
    for error in suppliers.settings(pool, template, &master).problems() {
        let key = match &error {
            SettingsError::Program { program, .. } if *program == template.program => Some("program"),
            SettingsError::Directory { .. } => Some("directory"),
            SettingsError::User { .. } => Some("user"),
            SettingsError::Cgroup { .. } => Some("cgroup"),
            SettingsError::Value { field, .. } => Some(*field),
            _ => None,
        };
        problems.push(problem(key, &error));
    }
    problems
}

/// An endpoint as it is told when it is bound; a free port is as good as any.
fn planned(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { host, port } if host.contains(':') => format!("tcp:[{host}]:{}", port.max(&1)),
        Endpoint::Tcp { host, port } => format!("tcp:{host}:{}", port.max(&1)),
        Endpoint::Tls { .. } => "tls:".to_owned(),
        Endpoint::Unix(_) => "unix:".to_owned(),
    }
}

impl Suppliers {
    /// Those of a master that would run here.
    fn planned(config: &Config) -> Self {
        let listen = config.master.listen.iter().map(planned).collect();
        let address = config.master.enroll.as_ref().and_then(|enroll| enroll.address.clone());
        // Which certificate there will be does not matter before there is one.
        let enroll = address.map(|address| EnrollPoint { address, fingerprint: "0".repeat(64) });
        Self { deployment: "preflight".to_owned(), listen, enroll }
    }

    /// Where a process on this machine finds the master.
    pub(crate) fn here(&self) -> Option<String> {
        let address = self.listen.iter().find_map(|address| address.strip_prefix("tcp:"))?;
        let Ok(mut bound) = address.parse::<SocketAddr>() else { return Some(address.to_owned()) };
        // All addresses of this machine are bound: any is good, and the shortest way is best.
        match bound {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => bound.set_ip([127, 0, 0, 1].into()),
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
                bound.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
            }
            _ => {}
        }
        Some(bound.to_string())
    }

    /// Where machines find the master: the first address that is not this machine's alone.
    fn elsewhere(&self) -> Option<String> {
        let mut addresses = self.listen.iter().filter_map(|address| address.strip_prefix("tcp:"));
        let is_here = |address: SocketAddr| address.ip().is_loopback() || address.ip().is_unspecified();
        addresses.find(|address| !address.parse().is_ok_and(is_here)).map(str::to_owned)
    }

    fn settings(&self, pool: &Pool, template: &LocalTemplate, master: &str) -> Settings {
        let trouble = &template.trouble;
        Settings {
            program: template.program.clone(),
            environment: template.environment.clone(),
            user: template.user.clone(),
            cgroup: template.cgroup.clone().map(|parent| Cgroup {
                parent,
                memory: template.memory,
                cpus: template.cpus,
            }),
            price: template.price,
            silence: template.silence,
            trouble: Trouble {
                seed: trouble.seed,
                boot: trouble.boot,
                boot_spread: trouble.boot_spread,
                fail: trouble.fail,
                hang: trouble.hang,
                vanish: trouble.vanish,
                vanish_after: trouble.vanish_after,
            },
            ..Settings::new(&pool.spec.name, &self.deployment, master, template.directory.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suppliers(listen: &[&str]) -> Suppliers {
        let listen = listen.iter().map(|address| (*address).to_owned()).collect();
        Suppliers { deployment: String::new(), listen, enroll: None }
    }

    #[test]
    fn a_machine_finds_the_first_address_that_is_not_this_machines_alone() {
        #[track_caller]
        fn check(listen: &[&str], found: Option<&str>) {
            assert_eq!(suppliers(listen).elsewhere().as_deref(), found);
        }
        check(&["unix:/x", "tcp:127.0.0.1:1", "tcp:172.17.0.1:2", "tcp:10.0.0.1:3"], Some("172.17.0.1:2"));
        check(&["tcp:0.0.0.0:9989", "tcp:[::1]:9989", "tcp:[::]:1"], None);
        check(&["tcp:ci.example.org:9989"], Some("ci.example.org:9989"));
    }

    #[test]
    fn a_local_worker_finds_the_first_plain_address() {
        #[track_caller]
        fn check(listen: &[&str], here: Option<&str>) {
            assert_eq!(suppliers(listen).here().as_deref(), here);
        }
        check(&["unix:/x", "tls:0.0.0.0:1", "tcp:10.0.0.1:2", "tcp:10.0.0.1:3"], Some("10.0.0.1:2"));
        check(&["tcp:0.0.0.0:9989"], Some("127.0.0.1:9989"));
        check(&["tcp:[::]:9989"], Some("[::1]:9989"));
        check(&["tcp:ci.example.org:9989"], Some("ci.example.org:9989"));
        check(&["unix:/x"], None);
    }

    #[cfg(not(feature = "ec2"))]
    #[test]
    fn a_program_without_ec2_says_how_to_get_one_that_has_it() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/ec2.toml");
        let config = config::load(example.as_ref()).expect("the example is good").config;
        let problems = problems(&config, &config.pools[0]);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.message.contains("cargo build --release -p ganger --features ec2"), "{problem:?}");
    }
}
