//! A place where machines can be bought.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use model::{
    InstanceId,
    ec2::{Bid, Clean, Credentials, Enrollment, Fleet, Image, Placement, Spot, Template, TypeChoice},
    pool::Money,
};
use pools::{
    Provider, Token,
    provider::{Alternative, LaunchRequest, Member},
};
use provider_ec2::{Ec2, Settings};
use testkit::ec2::proxy::Proxy;

pub(crate) const POOL: &str = "linux";
pub(crate) const DEPLOYMENT: &str = "d1";

/// An EC2 of its own, and what is asked of it.
pub(crate) struct Site {
    pub(crate) proxy: Proxy,
    pub(crate) template: Template,
    next: AtomicI64,
    others: Vec<Alternative>,
}

impl Site {
    pub(crate) fn new(enrollment: Enrollment) -> Self {
        let proxy = Proxy::start().expect("moto and the proxy");
        let template = Template {
            endpoint: Some(proxy.endpoint()),
            credentials: Credentials::Key { id: "AKIA".into(), secret: "sekrit".into() },
            placements: vec![Placement {
                region: "us-east-1".into(),
                zones: vec!["us-east-1a".into(), "us-east-1b".into()],
                subnets: Vec::new(),
                security_groups: Vec::new(),
                image: Some(Image::Id("ami-12c6146b".into())),
                key_name: None,
                interruption_queue: None,
            }],
            types: vec![TypeChoice {
                name: "c5.large".into(),
                price: Money::from_units(0.085),
                performance: 1.0,
            }],
            requirements: None,
            spot: None,
            on_demand: true,
            fleet: Some(Fleet::default()),
            enrollment,
            launch_template: None,
            instance_profile: None,
            tags: BTreeMap::from([("team".into(), "build".into())]),
            expiry_tag: false,
            block_devices: Vec::new(),
            attach: Vec::new(),
            elastic_ips: Vec::new(),
            tenancy: None,
            public_ip: None,
            hop_limit: 1,
            hibernate: false,
            user_data: None,
            silence: Duration::from_mins(30),
            clean: Clean::Never,
        };
        Self { proxy, template, next: AtomicI64::new(1), others: Vec::new() }
    }

    /// Bought on the spot market as well, at this bid.
    pub(crate) fn with_spot(mut self, bid: Bid) -> Self {
        let spot = Spot { bid, ceiling: None, above_on_demand: false, product: "Linux/UNIX".into() };
        self.template.spot = Some(spot);
        self
    }

    /// Requests name something else that would do.
    pub(crate) fn competing(mut self) -> Self {
        let offering = "us-east-1b/c5.large/on-demand".into();
        self.others.push(Alternative { offering, price_cap: None });
        self
    }

    pub(crate) fn provider(&self) -> Arc<dyn Provider> {
        self.provider_of(DEPLOYMENT)
    }

    pub(crate) fn provider_of(&self, deployment: &str) -> Arc<dyn Provider> {
        let settings = self.settings(deployment);
        Arc::new(Ec2::open(settings).expect("settings that can be"))
    }

    pub(crate) fn settings(&self, deployment: &str) -> Settings {
        Settings {
            pool: POOL.into(),
            deployment: deployment.into(),
            template: Arc::new(self.template.clone()),
            master: "ci.example.org:9989".into(),
            enroll: "ci.example.org:9990".into(),
            fingerprint: "ab".repeat(32),
        }
    }

    pub(crate) fn request(&self, machines: u32) -> LaunchRequest {
        let first = self.next.fetch_add(i64::from(machines), Ordering::Relaxed);
        let ids = (first..first + i64::from(machines)).map(InstanceId);
        let member = |instance: InstanceId| Member {
            instance,
            login: format!("{POOL}@{instance}"),
            secret: Some(format!("secret-{instance}").into()),
        };
        LaunchRequest {
            token: Token(format!("token-{first}")),
            pool: POOL.into(),
            deployment: DEPLOYMENT.into(),
            members: ids.map(member).collect(),
            offering: "us-east-1a/c5.large/on-demand".into(),
            price_cap: None,
            others: self.others.clone(),
            template: "0123".into(),
            image: "ami-12c6146b".into(),
            ticket: Some(format!("1.1764500000.{first}").into()),
        }
    }
}
