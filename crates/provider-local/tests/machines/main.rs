//! Machines as real processes: stock workers where one must speak, plain shells where it need only be there.

mod conformance;
mod crashes;
mod site;
mod trouble;
mod worker;
