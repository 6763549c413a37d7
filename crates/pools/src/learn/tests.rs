//! What is learned, from runs of events whose outcome can be worked out by hand.

mod machines;
mod offers;
mod work;

use std::time::Duration;

use model::{InstanceId, Time};

use super::*;

const NOW: Time = Time::from_epoch_seconds(1_700_000_000);

fn ago(seconds: u64) -> Time {
    NOW - Duration::from_secs(seconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
