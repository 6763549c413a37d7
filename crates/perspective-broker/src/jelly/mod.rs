//! Jelly: Python's values as s-expressions (`twisted.spread.jelly`).

mod calendar;
mod failure;
mod jellier;
mod shared;
#[cfg(test)]
mod tests;
mod unjellier;
mod value;

pub use calendar::{Date, DateTime, Decimal, Time, TimeDelta};
pub use failure::Failure;
pub(crate) use jellier::Jellier;
pub use jellier::jelly;
pub use shared::{Backref, Shared};
pub(crate) use unjellier::{Size, Unjellied, unjelly_tree};
pub use unjellier::{UnjellyError, unjelly};
pub(crate) use value::remotes_in;
pub use value::{Copyable, Value};
