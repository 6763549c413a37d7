//! What tests of several crates share: real programs of stock Buildbot, started and stopped; a laboratory that behaves
//! like EC2; container engines; PostgreSQL servers; a strict reader of metrics.
//! Never shipped.

pub mod docker;
pub mod ec2;
pub mod exposition;
pub mod postgres;
pub mod venv;
pub mod worker;
