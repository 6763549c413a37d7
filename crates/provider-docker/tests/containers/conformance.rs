//! What every provider must hold to.

use std::{future::Future, sync::Arc, time::Duration};

use pools::{
    Provider,
    conformance::{self, Bench},
    provider::LaunchRequest,
};
use provider_docker::{Docker, Settings};

use crate::engine::Site;

impl Bench for Site {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Self::provider(self))
    }

    fn stranger(&self) -> Arc<dyn Provider> {
        let settings = Settings { deployment: "another".to_owned(), ..self.settings.clone() };
        Arc::new(Docker::open(settings).expect("these settings are right"))
    }

    fn request(&self, machines: u32) -> LaunchRequest {
        Self::request(self, machines)
    }

    fn pause(&self) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(Duration::from_millis(100))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_machines_as_pools_need_them() {
    let site = Site::start();
    conformance::all(&site).await;
    assert_eq!(site.ask(&["ps", "-aq"]), "", "containers are left");
}
