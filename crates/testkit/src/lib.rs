//! What tests of several crates share: real programs of stock Buildbot, started and stopped. Never shipped.

pub mod venv;
pub mod worker;
