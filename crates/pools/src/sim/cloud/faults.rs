//! What can go wrong with a cloud.

use std::{collections::BTreeMap, time::Duration};

/// What goes wrong, from the moment it is set.
#[derive(Clone, Debug)]
pub struct Faults {
    /// All launches are throttled.
    pub throttle: bool,
    /// All terminations are throttled.
    pub throttle_terminate: bool,
    /// Of launches, the share that works and is answered by an error.
    pub answer_lost: f64,
    /// Of launches, the share that does not work, and nobody can tell.
    pub call_lost: f64,
    /// What is configured cannot work: the provider's words.
    pub config: Option<String>,
    /// What listings give.
    pub listing: Listing,
    /// Machines boot so many times slower.
    pub boot_factor: f64,
    /// How many machines of an offering there can be at once.
    pub capacity: BTreeMap<String, u32>,
    /// How many machines of a family the quota allows at once.
    pub quota: BTreeMap<String, u32>,
    /// Images that are not as they should be.
    pub images: BTreeMap<String, ImageFault>,
    /// How far the cloud's clock is ahead of everybody's, in microseconds.
    pub skew: i64,
    /// Nothing connects, and what is connected is cut off by its own keep-alive.
    pub split: bool,
}

/// What listings give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Listing {
    /// The truth, as far as it has spread.
    Complete,
    /// An error.
    Fails,
    /// Nothing, as if it were complete.
    Empty,
    /// Of machines, only this share, as if it were complete.
    Partial(f64),
    /// How things were so long ago.
    Stale(Duration),
}

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImageFault {
    /// Nothing connects.
    pub never_connects: bool,
    /// Builds end after this time, by the machinery's fault.
    pub fails_builds_after: Option<Duration>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            throttle: false,
            throttle_terminate: false,
            answer_lost: 0.0,
            call_lost: 0.0,
            config: None,
            listing: Listing::Complete,
            boot_factor: 1.0,
            capacity: BTreeMap::new(),
            quota: BTreeMap::new(),
            images: BTreeMap::new(),
            skew: 0,
            split: false,
        }
    }
}
