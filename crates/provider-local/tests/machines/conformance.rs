//! What every provider must hold to.

use std::{future::Future, sync::Arc, time::Duration};

use pools::{
    Provider,
    conformance::{self, Bench},
    provider::LaunchRequest,
};
use provider_local::{Local, Settings};

use crate::site::Site;

impl Bench for Site {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Self::provider(self))
    }

    fn stranger(&self) -> Arc<dyn Provider> {
        let settings = Settings { deployment: "another".to_owned(), ..self.settings.clone() };
        Arc::new(Local::open(settings).expect("these settings are right"))
    }

    fn request(&self, machines: u32) -> LaunchRequest {
        Self::request(self, machines)
    }

    fn pause(&self) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(Duration::from_millis(100))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_workers_are_machines_as_pools_need_them() {
    let site = Site::new();
    conformance::all(&site).await;
    assert!(site.processes().is_empty(), "processes are left: {:?}", site.processes());
}

#[tokio::test]
async fn machines_of_which_none_ever_connects_conform_too() {
    let site = Site::of_shells();
    conformance::all(&site).await;
    assert!(site.processes().is_empty(), "processes are left: {:?}", site.processes());
}
