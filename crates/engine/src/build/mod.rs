//! What a build does on its worker: steps, one after the other, and their logs.
//!
//! It is *not* where anything is decided about other builds: a build gets its order, runs, and tells how it ended. Logs
//! go from the worker to the store here, past the core.
//!
//! - [`run()`]: the steps of a build, in order; what their results make of it.
//! - [`Commander`]: what a step needs of its worker, so that a test can play one.
//! - `step`, `running`: what the code of a step can use; one command from its start to its end.
//! - `steps`: what each type of step does, one module for each family.
//! - `logs`: the log path; memory is bounded, and a slow store slows the worker.
//! - `transfer`, `unpack`: the master's end of uploads and downloads.

mod arguments;
mod commander;
mod context;
mod halt;
mod journal;
mod lines;
mod locks;
mod logs;
mod run;
mod running;
mod scrub;
mod step;
mod steps;
mod summary;
#[cfg(test)]
mod tests;
mod transfer;
mod unpack;

pub(crate) use self::context::sources;
pub use self::{
    commander::{Commander, Report, Running},
    run::{Line, Means, TriggerCall, run},
};
