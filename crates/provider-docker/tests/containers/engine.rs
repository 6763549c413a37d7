//! A pool on an engine of the tests' own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use model::{InstanceId, docker::Template};
use pools::{
    Token,
    provider::{LaunchRequest, Member},
};
use provider_docker::{Docker, Settings};
use testkit::docker::Engine;

/// An image of one program: BusyBox.
pub(crate) const IMAGE: &str = "busybox:test";

pub(crate) const PASSWORD: &str = "sekrit-of-one-machine";

/// A pool, and the engine that it is on.
pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    next: AtomicI64,
}

impl Site {
    /// Of containers that only wait to be told to end.
    pub(crate) fn start() -> Self {
        Self::on(Engine::start().expect("an engine"))
    }

    /// The same, of Podman.
    pub(crate) fn podman() -> Self {
        Self::on(Engine::podman().expect("an engine"))
    }

    fn on(engine: Engine) -> Self {
        engine.import_busybox(IMAGE).expect("an image");
        let command = ["sh", "-c", "echo booted; trap exit TERM; while :; do sleep 1; done"];
        let template = Template {
            network_mode: Some("none".to_owned()),
            command: command.map(str::to_owned).into(),
            init: false,
            ..Template::new(&engine.host(), IMAGE)
        };
        let settings = Settings {
            grace: Duration::from_secs(1),
            ..Settings::new("linux", "test", "127.0.0.1:9", Arc::new(template))
        };
        Self { engine, settings, next: AtomicI64::new(1) }
    }

    /// Changes what containers are made from.
    pub(crate) fn template(&mut self) -> &mut Template {
        Arc::make_mut(&mut self.settings.template)
    }

    /// What Docker's own command prints.
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        self.engine.ask(args).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Nothing is left, in whatever state.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.ask(&["ps", "-aq"]), "", "containers are left");
    }

    pub(crate) fn provider(&self) -> Docker {
        Docker::open(self.settings.clone()).expect("these settings are right")
    }

    pub(crate) fn request(&self, machines: u32) -> LaunchRequest {
        let first = self.next.fetch_add(i64::from(machines), Ordering::Relaxed);
        LaunchRequest {
            token: Token(format!("t-{first}")),
            pool: self.settings.pool.clone(),
            deployment: self.settings.deployment.clone(),
            members: (first..first + i64::from(machines))
                .map(|id| Member {
                    instance: InstanceId(id),
                    login: format!("linux@{id}"),
                    secret: Some(PASSWORD.into()),
                })
                .collect(),
            offering: "docker".to_owned(),
            price_cap: None,
            others: Vec::new(),
            template: "0123".to_owned(),
            image: String::new(),
            ticket: None,
        }
    }
}
