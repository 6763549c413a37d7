//! Everything that would fail at night, asked for now: the engine, the image, the network, limits.

use bollard::{Docker, models::SystemInfo, query_parameters::InspectNetworkOptions};
use model::docker::{Pull, Template};
use pools::{Finding, ProviderError, provider::ErrorKind};

use crate::{
    Settings,
    engine::{self, explain, status},
    registry,
};

/// Asks the engine whether machines like this can be had, up to `max` at once. Starts nothing, makes nothing.
pub async fn preflight(settings: &Settings, max: u32) -> Vec<Finding> {
    let asked = async {
        let engine = engine::connect(settings).await?;
        let info = engine.info().await.map_err(explain)?;
        Ok::<_, ProviderError>((engine, info))
    };
    let (engine, info) = match asked.await {
        Ok(asked) => asked,
        Err(error) => {
            let help = match error.kind {
                ErrorKind::Transport => "does `docker_host` name it, and does it run there?",
                _ => "`docker --host DOCKER_HOST info`, as the master's user, shows the same",
            };
            return vec![Finding::bad("engine", error.to_string(), help)];
        }
    };
    let template = &settings.template;
    let mut findings = vec![Finding::good("engine", words(&info)), image(&engine, template).await];
    findings.extend(network(&engine, template).await);
    findings.extend(limits(&info, template, max));
    findings
}

fn words(info: &SystemInfo) -> String {
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".to_owned());
    format!(
        "{} {} for {}, {} processors, {:.1} GiB of memory",
        word(&info.operating_system),
        word(&info.server_version),
        word(&info.architecture),
        info.ncpu.unwrap_or_default(),
        gibibytes(info.mem_total.unwrap_or_default()),
    )
}

async fn image(engine: &Docker, template: &Template) -> Finding {
    let (name, subject) = (&template.image, "image");
    let inspected = engine.inspect_image(name).await;
    let pulls = match (&inspected, template.pull) {
        (_, Pull::Never) => false,
        (Ok(_), pull) => pull == Pull::Always,
        (Err(error), _) => status(error) == Some(404),
    };
    if pulls && let Some(error) = refused(engine, template).await {
        return Finding::bad(subject, error.text, "a launch would pull it in vain");
    }
    match inspected {
        Ok(image) => {
            let user = template.user.clone();
            let user = user.or_else(|| image.config.and_then(|config| config.user));
            let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| "root".to_owned());
            let size = gibibytes(image.size.unwrap_or_default());
            Finding::good(subject, format!("{name}: {size:.1} GiB, runs as {user}"))
        }
        Err(error) if status(&error) == Some(404) => match template.pull {
            Pull::Never => Finding::bad(
                subject,
                format!("the engine has no image {name:?}"),
                "build or pull it there, or set `autopull`",
            ),
            Pull::Missing | Pull::Always => Finding::doubtful(
                subject,
                format!("the engine has no image {name:?} yet"),
                "the first launch pulls it: `docker pull` does so now",
            ),
        },
        Err(error) => {
            Finding::bad(subject, explain(error).to_string(), "`docker image inspect` shows the same")
        }
    }
}

/// Why the registry would not let the image be pulled. What else may go wrong may be right by then; Podman cannot ask.
async fn refused(engine: &Docker, template: &Template) -> Option<ProviderError> {
    let (name, registry) = (&template.image, template.registry.as_ref());
    let credentials = registry.map(|registry| registry::credentials(registry, name));
    let error = engine.inspect_registry_image(name, credentials).await.err()?;
    let error = registry::explain_pull(error, name, registry);
    (error.code == registry::REFUSED).then_some(error)
}

/// A network of the engine's own kinds is always there.
async fn network(engine: &Docker, template: &Template) -> Option<Finding> {
    let name = template.network_mode.as_deref()?;
    if matches!(name, "default" | "bridge" | "host" | "none") || name.contains(':') {
        return None;
    }
    let subject = "network";
    Some(match engine.inspect_network(name, None::<InspectNetworkOptions>).await {
        Ok(found) => {
            let driver = found.driver.unwrap_or_else(|| "?".to_owned());
            Finding::good(subject, format!("{name}, of the driver {driver}"))
        }
        Err(error) if status(&error) == Some(404) => Finding::bad(
            subject,
            format!("the engine has no network {name:?}"),
            "`docker network create` makes it, `docker network ls` shows what there is",
        ),
        Err(error) => {
            Finding::bad(subject, explain(error).to_string(), "`docker network inspect` shows the same")
        }
    })
}

fn limits(info: &SystemInfo, template: &Template, max: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let (Some(limit), Some(total)) = (template.mem_limit, info.mem_total) {
        let total = u64::try_from(total).unwrap_or(0);
        if info.memory_limit == Some(false) {
            let help = "its kernel lacks the control group for memory";
            findings.push(Finding::bad("mem_limit", "the engine cannot limit memory", help));
        } else if limit > total {
            let help = "a smaller `mem_limit`, or a larger machine";
            findings.push(Finding::bad("mem_limit", "one machine may use more memory than there is", help));
        } else if limit.saturating_mul(max.into()) > total {
            let text = format!("{max} machines may use more memory than there is");
            findings.push(Finding::doubtful(
                "mem_limit",
                text,
                "a smaller `max` or `mem_limit`, unless builds use less",
            ));
        }
    }
    if let (Some(cpus), Some(there)) = (template.cpus, info.ncpu) {
        #[expect(clippy::cast_precision_loss, reason = "few processors")]
        let there = there as f64;
        if cpus > there {
            let text = format!("a machine may use {cpus} processors, and there are {there}");
            findings.push(Finding::bad("cpus", text, "the engine refuses that: a smaller `cpus`"));
        }
    }
    if let Some(runtime) = &template.runtime
        && info.runtimes.as_ref().is_some_and(|known| !known.contains_key(runtime))
    {
        let text = format!("the engine has no runtime {runtime:?}");
        findings.push(Finding::bad("runtime", text, "`docker info` shows what there is"));
    }
    findings
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn gibibytes(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
