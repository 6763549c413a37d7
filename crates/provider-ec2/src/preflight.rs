//! Everything that would fail at night, asked for now: credentials, image, types, places, prices, permissions.

use std::collections::BTreeSet;

use aws_sdk_ec2::{Client, error::ProvideErrorMetadata, types::InstanceType};
use model::{InstanceId, pool::Money};
use pools::{
    Finding, Market, ProviderError, Token,
    provider::{LaunchRequest, Member},
};

use crate::{
    Ec2, Settings, error, fleet, launch, list, market,
    offer::{At, Offer},
    provider::Inner,
    quota::{self, Room},
    template, user_data,
};

/// What the provider's refusal says.
fn refused(subject: &str, error: &ProviderError) -> Finding {
    Finding::bad(subject, error.to_string(), help(&error.code))
}

/// What to do about an error code.
fn help(code: &str) -> &'static str {
    match code {
        "NoCredentials" => {
            "say who calls: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role of the machine that the master runs on"
        }
        "AuthFailure" | "InvalidClientTokenId" | "SignatureDoesNotMatch" => {
            "the key is wrong or not active, or the clock of this machine is wrong"
        }
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            "give the master's role the policy in examples/iam-policy.json"
        }
        "RequestExpired" => "set the clock of this machine",
        "Unreachable" | "Timeout" => {
            "the master must reach EC2's endpoint over HTTPS; is there a proxy or a firewall?"
        }
        code if code.starts_with("InvalidAMI") => {
            "is the image in this region, and shared with this account?"
        }
        code if code.starts_with("InvalidSubnet") => "is the subnet in this region and this account?",
        code if code.starts_with("InvalidGroup") => {
            "is the group in the subnet's VPC? By name only groups of the default VPC are found"
        }
        code if code.starts_with("InvalidKeyPair") => "key pairs are of one region each: import it there",
        code if code.contains("NonExistentQueue") || code == "QueueDoesNotExist" => {
            "is the queue in this region and this account? `interruption-queue` is its URL"
        }
        "InvalidParameterValue" => "EC2 names the value that it does not take",
        _ => "see docs/ec2.md, “When it does not work”",
    }
}

/// All findings, the worst included; asks EC2, and starts nothing.
pub async fn preflight(settings: &Settings) -> Vec<Finding> {
    let mut findings: Vec<_> = settings
        .problems()
        .iter()
        .map(|problem| Finding::bad("configuration", problem.to_string(), "change it in ganger.toml"))
        .collect();
    if !findings.is_empty() {
        return findings;
    }
    let provider = match Ec2::open(settings.clone()) {
        Ok(provider) => provider,
        Err(error) => {
            return vec![Finding::bad("configuration", error.to_string(), "change it in ganger.toml")];
        }
    };
    let inner = &provider.0;
    let offers = match inner.find_offers().await {
        Ok(offers) => offers,
        Err(error) => return vec![refused("types and their prices", &error)],
    };
    for region in inner.regions() {
        let client = inner.client(&region).await;
        let subject = format!("{region}: credentials and listing");
        match list::machines(&client, &region, list::ours(settings)).await {
            Ok(machines) => findings.push(Finding::good(
                &subject,
                format!("EC2 answers; {} machines of this pool are there", machines.len()),
            )),
            Err(error) => {
                findings.push(refused(&subject, &error));
                // Everything else would fail by the same.
                continue;
            }
        }
        findings.extend(types(inner, &client, &region, &offers).await);
        findings.extend(quotas(inner, &region, &offers).await);
        findings.extend(images(inner, &client, &region).await);
        findings.extend(launches(inner, &client, &region, &offers).await);
        findings.extend(fleet(inner, &client, &region, &offers).await);
    }
    findings.extend(prices(inner, &offers).await);
    findings.extend(queues(inner).await);
    findings.push(Finding::doubtful(
        "ending machines",
        "whether ec2:TerminateInstances is allowed shows only when a machine is to go",
        "compare the master's role with examples/iam-policy.json",
    ));
    findings
}

/// Whether types exist, in the zones where they are wanted.
async fn types(inner: &Inner, client: &Client, region: &str, offers: &[Offer]) -> Vec<Finding> {
    let source = match &inner.settings.template.requirements {
        Some(_) => "AWS's price list",
        None => "ganger.toml",
    };
    let mut findings = Vec::new();
    for name in inner.type_names(offers, region) {
        let subject = format!("{region}: type {name}");
        let found = client.describe_instance_types().instance_types(InstanceType::from(&*name)).send().await;
        let price =
            offers.iter().find(|offer| offer.instance_type == name && inner.region_of(offer) == region);
        let price = price.map_or_else(String::new, |offer| offer.price.to_string());
        findings.push(match found {
            Ok(found) => match found.instance_types().first() {
                Some(found) => {
                    let cpus = found.v_cpu_info().and_then(|info| info.default_v_cpus()).unwrap_or(0);
                    let memory = found.memory_info().and_then(|info| info.size_in_mib()).unwrap_or(0);
                    let text = format!(
                        "{cpus} processors, {memory} MiB of memory, {price} an hour on demand by {source}"
                    );
                    Finding::good(&subject, text)
                }
                None => Finding::bad(&subject, "there is no such type in this region", "name another one"),
            },
            Err(error) => refused(&subject, &error::told("DescribeInstanceTypes", &error, false)),
        });
    }
    findings
}

/// What the account's quotas allow.
async fn quotas(inner: &Inner, region: &str, offers: &[Offer]) -> Vec<Finding> {
    let offers = offers.iter().filter(|offer| inner.region_of(offer) == region);
    let codes: BTreeSet<_> =
        offers.filter_map(|offer| quota::code(&offer.instance_type, offer.market)).collect();
    let rooms = inner.rooms(region).await;
    let mut findings = Vec::new();
    for code in codes {
        let subject = format!("{region}: quota {code}");
        findings.push(match (rooms.get(code), inner.ask_for_limit(region, code).await) {
            (Some(Room { limit, used }), _) if used < limit => {
                Finding::good(&subject, format!("{limit} processors, of which {used} are used"))
            }
            (Some(Room { limit, used }), _) => Finding::doubtful(
                &subject,
                format!("{used} of {limit} processors are used: nothing more can be started"),
                "ask for more in Service Quotas",
            ),
            (None, Err(error)) => Finding::doubtful(
                &subject,
                format!("not known, so EC2 refuses what is too much: {error}"),
                "give the master's role the policy in examples/iam-policy.json",
            ),
            (None, Ok(_)) => {
                Finding::doubtful(&subject, "nobody says what is used", "look into Service Quotas")
            }
        });
    }
    findings
}

/// Whether images are there and can be booted.
async fn images(inner: &Inner, client: &Client, region: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let placements = &inner.settings.template.placements;
    for placement in placements.iter().filter(|placement| placement.region == region) {
        let subject = format!("{region}: image");
        let id = match &placement.image {
            None => {
                findings.push(Finding::good(&subject, "as the launch template says"));
                continue;
            }
            Some(image) => match inner.images.id(&inner.clients(region).await, region, image).await {
                Ok(id) => id,
                Err(error) => {
                    findings.push(refused(&subject, &error));
                    continue;
                }
            },
        };
        let found = client.describe_images().image_ids(&id).send().await;
        findings.push(match found {
            Ok(found) => match found.images().first() {
                Some(image) => {
                    let state = image.state().map_or("?", |state| state.as_str());
                    let text = format!(
                        "{id}, {}, {}, made {}, is {state}",
                        image.name().unwrap_or("without a name"),
                        image.architecture().map_or("?", |architecture| architecture.as_str()),
                        image.creation_date().unwrap_or("?"),
                    );
                    match state {
                        "available" => Finding::good(&subject, text),
                        _ => Finding::bad(&subject, text, "wait until it is available, or name another one"),
                    }
                }
                None => Finding::bad(&subject, format!("there is no {id} here"), help("InvalidAMIID")),
            },
            Err(error) => refused(&subject, &error::told("DescribeImages", &error, false)),
        });
    }
    findings
}

/// Whether EC2 would take each call, as it says itself (`DryRun`).
async fn launches(inner: &Inner, client: &Client, region: &str, offers: &[Offer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for offer in offers.iter().filter(|offer| inner.region_of(offer) == region) {
        let subject = format!("{region}: launch of {}", offer.name);
        findings.push(match dry(inner, client, offer).await {
            Ok(()) => Finding::good(&subject, "EC2 would start machines like that"),
            Err(error) => refused(&subject, &error),
        });
    }
    findings
}

/// Whether what competes may be bought in one call.
async fn fleet(inner: &Inner, client: &Client, region: &str, offers: &[Offer]) -> Vec<Finding> {
    let settings = &inner.settings;
    let Some(choice) = &settings.template.fleet else { return Vec::new() };
    let mut findings = Vec::new();
    let mut first = offers.iter().filter(|offer| inner.region_of(offer) == region);
    let Some((offer, other)) = first.find_map(|offer| {
        let alike = |other: &&Offer| {
            (other.market, other.placement) == (offer.market, offer.placement) && other.name != offer.name
        };
        offers.iter().find(alike).map(|other| (offer, other))
    }) else {
        return findings;
    };
    let name = template::name(settings, offer.placement, "preflight");
    let made = template::call(client, settings, offer.placement, &name).dry_run(true).send().await;
    let subject = format!("{region}: launch templates");
    findings.push(match made.err().map(|error| error::told("CreateLaunchTemplate", &error, false)) {
        Some(error) if error.code == "DryRunOperation" => {
            Finding::good(&subject, "EC2 would make one for the pool's fleets")
        }
        Some(error) => refused(&subject, &error),
        None => Finding::bad(&subject, "the endpoint does not know DryRun, and made one", "delete it"),
    });
    let subject = format!("{region}: fleets");
    let request = request(settings, offer);
    let competitors = [(offer, request.price_cap), (other, request.price_cap)];
    let data = match user_data::of(settings, settings.text().ok().flatten().as_deref(), &request) {
        Ok(data) => data,
        Err(error) => {
            findings.push(refused(&subject, &error));
            return findings;
        }
    };
    let call = fleet::call(client, settings, choice, (&name, None), &competitors, &data, &request);
    let asked = call.dry_run(true).send().await;
    findings.push(match asked.err().map(|error| error::told("CreateFleet", &error, false)) {
        // What it would be made from is not there yet: the right is.
        Some(error) if error.code == "DryRunOperation" || error.code.contains("LaunchTemplate") => {
            Finding::good(&subject, "EC2 would choose among what competes")
        }
        Some(error) => refused(&subject, &error),
        None => Finding::bad(
            &subject,
            "the endpoint does not know DryRun of CreateFleet",
            "say `fleet = false`, or end what was started",
        ),
    });
    findings
}

/// A call for a machine that is never made in earnest.
fn request(settings: &Settings, offer: &Offer) -> LaunchRequest {
    LaunchRequest {
        token: Token(format!("preflight-{}", offer.name.replace('/', "-"))),
        pool: settings.pool.clone(),
        deployment: settings.deployment.clone(),
        members: vec![Member {
            instance: InstanceId(0),
            login: format!("{}@0", settings.pool),
            secret: Some("0".repeat(64).into()),
        }],
        offering: offer.name.clone(),
        price_cap: (offer.market == Market::Spot).then_some(offer.price),
        others: Vec::new(),
        template: String::new(),
        image: String::new(),
        ticket: Some("0".repeat(96).into()),
    }
}

async fn dry(inner: &Inner, client: &Client, offer: &Offer) -> Result<(), ProviderError> {
    let settings = &inner.settings;
    let request = request(settings, offer);
    let data = user_data::of(settings, settings.text().ok().flatten().as_deref(), &request)?;
    let image = inner.image(offer, "").await?;
    let call = launch::call(client, settings, offer, image, &data, &request).dry_run(true);
    match call.send().await {
        // A service that does not know DryRun has started one.
        Ok(_) => Err(ProviderError::config(
            "NotDry",
            "the endpoint does not know DryRun, and started a machine".into(),
        )),
        Err(error) if error.code() == Some("DryRunOperation") => Ok(()),
        Err(error) => Err(error::told("RunInstances", &error, offer.market == Market::Spot)),
    }
}

/// Whether queues with interruptions can be read.
async fn queues(inner: &Inner) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (region, queue) in inner.queues() {
        let subject = format!("{region}: interruption-queue");
        findings.push(match inner.peek(region, queue).await {
            Ok(()) => Finding::good(&subject, format!("{queue} can be read")),
            Err(error) => refused(&subject, &error),
        });
    }
    findings
}

/// Whether anything could be bought at today's prices.
async fn prices(inner: &Inner, offers: &[Offer]) -> Vec<Finding> {
    let Some(spot) = &inner.settings.template.spot else { return Vec::new() };
    let (quotes, silent) = inner.quotes().await;
    let is_silent =
        |(region, error): &(String, ProviderError)| refused(&format!("{region}: spot prices"), error);
    let mut findings: Vec<_> = silent.iter().map(is_silent).collect();
    let says = |offer: &&Offer| quotes.contains_key(inner.region_of(offer));
    for offer in offers.iter().filter(|offer| offer.market == Market::Spot).filter(says) {
        let subject = format!("price of {}", offer.name);
        let quote = match inner.quote(offer, &quotes).await {
            Ok(quote) => quote,
            Err(error) => {
                findings.push(refused(&subject, &error));
                continue;
            }
        };
        let shown = |price: Money| price.to_string();
        let now = quote.map_or_else(|| "not told".to_owned(), |quote| shown(quote.now));
        let place = match &offer.at {
            At::Anywhere => "in the dearest zone",
            At::Zone(_) | At::Subnet(_) => "there",
        };
        findings.push(match market::bid(spot, offer.price, quote) {
            None => Finding::bad(
                &subject,
                "the market tells no price, and the bid depends on it",
                "bid an amount (`max_spot_price`), or another type",
            ),
            Some(bid) if quote.is_some_and(|quote| market::is_close(bid, quote.now)) => Finding::doubtful(
                &subject,
                format!(
                    "the market is at {now} {place}, the bid is {bid}: too near, so it is not bought now"
                ),
                "bid more, add types and zones, or let machines be bought on demand",
            ),
            Some(bid) => Finding::good(&subject, format!("the market is at {now} {place}, the bid is {bid}")),
        });
    }
    findings
}
