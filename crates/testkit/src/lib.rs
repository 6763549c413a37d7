//! What tests of several crates share: real programs of stock Buildbot, started and stopped; a strict reader of metrics.
//! Never shipped.

pub mod exposition;
pub mod venv;
pub mod worker;
