//! Who talks to EC2, in each region.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::{Client, config::Region};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use model::ec2::{Credentials, Template};
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use crate::error;

/// How long an attempt may take to connect, and to be answered.
const TIMES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(45));

/// A client for each region, made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    common: OnceCell<SdkConfig>,
    regions: Mutex<BTreeMap<String, Client>>,
}

impl Clients {
    /// The client of a region.
    pub(crate) async fn of(&self, template: &Template, region: &str) -> Client {
        let common = self.common.get_or_init(|| common(template)).await;
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let client = regions.entry(region.to_owned()).or_insert_with(|| {
            let config = aws_sdk_ec2::config::Builder::from(common)
                .region(Region::new(region.to_owned()))
                .retry_config(error::no_retries())
                .build();
            Client::from_conf(config)
        });
        client.clone()
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
        loader = loader.region(Region::new(placement.region.clone()));
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
