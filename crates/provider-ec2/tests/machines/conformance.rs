//! What every provider must hold to.

use std::{future::Future, sync::Arc, time::Duration};

use model::ec2::Enrollment;
use pools::{Provider, conformance, conformance::Bench, provider::LaunchRequest};

use crate::site::Site;

impl Bench for Site {
    fn provider(&self) -> Arc<dyn Provider> {
        Self::provider(self)
    }

    fn stranger(&self) -> Arc<dyn Provider> {
        self.provider_of("d2")
    }

    fn request(&self, machines: u32) -> LaunchRequest {
        Self::request(self, machines)
    }

    fn pause(&self) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(Duration::from_millis(100))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_enroll_by_their_identity() {
    conformance::all(&Site::new(Enrollment::Identity)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_fleets() {
    conformance::all(&Site::new(Enrollment::Identity).competing()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_are_told_by_their_tags() {
    conformance::all(&Site::new(Enrollment::Tags)).await;
}
