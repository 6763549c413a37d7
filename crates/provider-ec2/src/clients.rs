//! Who talks to EC2 and its neighbours, in each region.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::{Client, config};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use model::ec2::{Credentials, Template};
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use crate::error;

/// How long an attempt may take to connect, and to be answered.
const TIMES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(45));

/// Clients of a region. They share connections and credentials.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) ec2: Client,
    /// Reads parameters that name images.
    pub(crate) parameters: aws_sdk_ssm::Client,
    /// Has what EventBridge says.
    pub(crate) queues: aws_sdk_sqs::Client,
    /// Says what machines cost.
    pub(crate) prices: aws_sdk_pricing::Client,
    /// Says what the account may have.
    pub(crate) quotas: aws_sdk_servicequotas::Client,
}

/// Clients for each region, made when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    common: OnceCell<SdkConfig>,
    regions: Mutex<BTreeMap<String, Region>>,
}

impl Clients {
    /// The clients of a region.
    pub(crate) async fn of(&self, template: &Template, region: &str) -> Region {
        let common = self.common.get_or_init(|| common(template)).await;
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions.entry(region.to_owned()).or_insert_with(|| clients(common, region)).clone()
    }
}

/// Where the price list is that is nearest to a region. There are few.
fn of_prices(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("eu") => "eu-central-1",
        Some("ap") => "ap-south-1",
        Some("cn") => "cn-northwest-1",
        _ => "us-east-1",
    }
}

fn clients(common: &SdkConfig, region: &str) -> Region {
    let prices = config::Region::new(of_prices(region));
    let region = config::Region::new(region.to_owned());
    let common = common.to_builder().region(region).retry_config(error::no_retries()).build();
    Region {
        ec2: Client::new(&common),
        parameters: aws_sdk_ssm::Client::new(&common),
        prices: aws_sdk_pricing::Client::new(&common.to_builder().region(prices).build()),
        queues: aws_sdk_sqs::Client::new(&common),
        quotas: aws_sdk_servicequotas::Client::new(&common),
    }
}

/// What all regions share: connections, credentials, times.
async fn common(template: &Template) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let (connect, attempt) = TIMES;
    let times = TimeoutConfig::builder().connect_timeout(connect).operation_attempt_timeout(attempt).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(times);
    // The chain for credentials asks for a region of its own where it is not told one.
    if let Some(placement) = template.placements.first() {
        loader = loader.region(config::Region::new(placement.region.clone()));
    }
    loader = match &template.credentials {
        Credentials::Key { id, secret } => loader.credentials_provider(
            aws_credential_types::Credentials::new(id, secret.expose_secret(), None, None, "ganger.toml"),
        ),
        Credentials::Chain { profile: Some(profile) } => loader.profile_name(profile),
        Credentials::Chain { profile: None } => loader,
    };
    if let Some(endpoint) = &template.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}
