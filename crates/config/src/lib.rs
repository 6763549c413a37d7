//! The one configuration model, and the front end that fills it from `ganger.toml`.
//!
//! It runs nothing: it reads text and says what it means, or everything that is wrong with it at once.

mod model;
mod renderable;

pub use model::{
    Args, Builder, Codebase, Config, Database, Endpoint, ForceScheduler, LogCompression, Master, Renderable,
    Scheduler, SchedulerKind, Secrets, Step, Worker,
};
