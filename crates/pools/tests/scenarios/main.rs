//! The scenarios that must hold, each with what it is judged by, in the simulator around the very same pools that run in
//! the master. The books are checked at every step.

mod api;
mod boots;
mod chaos;
mod configuration;
mod connections;
mod crashes;
mod demand;
mod market;
mod sharing;
mod stage;
mod traces;
