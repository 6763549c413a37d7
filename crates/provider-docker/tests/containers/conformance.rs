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
    site.assert_empty();
}

// Podman starts a process for each thing that it does, so its checks are shared out.

#[tokio::test(flavor = "multi_thread")]
async fn podman_starts_what_is_asked_for_and_once() {
    let site = Site::podman();
    conformance::capabilities_make_sense(&site).await;
    conformance::a_launch_gives_a_machine_for_each_member(&site).await;
    conformance::the_same_token_gives_the_same_machines(&site).await;
    conformance::calls_at_the_same_time_do_not_mix(&site).await;
    site.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_finds_its_machines_again_and_ends_them() {
    let site = Site::podman();
    conformance::a_call_that_nobody_waited_for_is_found_again(&site).await;
    conformance::a_listing_is_complete_and_ours_alone(&site).await;
    conformance::a_termination_ends_one_machine(&site).await;
    conformance::what_is_unknown_is_fine(&site).await;
    site.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_stops_machines_and_starts_them_again() {
    let site = Site::podman();
    conformance::nothing_is_bought_above_the_cap_or_off_the_list(&site).await;
    conformance::a_console_is_bounded(&site).await;
    conformance::machines_stop_and_start_or_say_that_they_cannot(&site).await;
    site.assert_empty();
}
