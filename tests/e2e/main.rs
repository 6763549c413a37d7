//! The whole program with stock workers, seen from outside: what a user types, what a user sees.

mod barriers;
mod builds;
mod clients;
mod crashes;
mod docker;
#[cfg(feature = "ec2")]
mod ec2;
mod farm;
mod generations;
mod logs;
mod operation;
mod pools;
mod postgres;
mod scheduling;
mod steps;
mod workers;
