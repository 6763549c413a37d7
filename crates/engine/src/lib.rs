//! Changes, schedulers, build requests, builds and steps: a pure core that owns the truth, and the executors around it.
//!
//! It is *not* where bytes or rows are made: it speaks to workers through `perspective-broker` and `worker-protocol`,
//! and to the tables through `storage`. It does not know where its configuration came from.
//!
//! - [`core`]: events and the time in; rows to write, actions and notices out. No I/O, no clock, no tasks.
//! - [`master`]: the one task that owns the core, makes its rows durable and lets its actions out.
//! - [`enroll`]: machines that ask who their worker is. [`worker`]: connections of workers. [`build`]: what a build does on one.

pub mod build;
mod causes;
pub mod clock;
pub mod core;
pub mod enroll;
pub mod master;
pub mod notice;
pub mod worker;

pub use crate::{
    clock::{Clock, SystemClock},
    core::{
        Action, Answer, Batch, BuildControl, BuildOrder, BuildWish, Core, Event, Force, Outcome, Refusal,
        ReplyId, SessionId, StampAsked, Trigger, TriggeredBuild, TriggeredScheduler, Values,
    },
    master::Master,
    notice::{Heard, Notice, NoticeSender, Notices},
};
