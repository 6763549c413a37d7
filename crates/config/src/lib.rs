//! The one configuration model, and the front end that fills it from `ganger.toml`.
//!
//! It runs nothing: it reads text and says what it means, or everything that is wrong with it at once.

mod diagnostic;
mod expression;
mod file;
mod form;
mod model;
mod nearest;
mod pool;
mod reference;
mod renderable;
mod schema;
mod steps;
mod table;
mod value;

pub use diagnostic::{ConfigErrors, Diagnostic, Diagnostics, Related, Severity};
pub use file::{Loaded, StartProblem, Startable, load, load_with, parse};
pub use form::{Choices, CodebaseParameter, ForceScheduler, Group, Parameter, ParameterKind};
pub use model::{
    Args, Basic, Branches, Builder, CancelFilter, Canceller, Category, ChangeSource, Clockwork, Codebase,
    CollapseRequests, Config, Database, Endpoint, Enroll, GitPoller, Importance, Interest, Janitor,
    LocalWorker, Lock, LockAccess, LockMode, LockScope, LogCompression, Master, NextBuild, NextWorker,
    PrioritizeBuilders, Priority, Renderable, Scheduler, SchedulerKind, Secrets, Ssh, Step, StepFlags, Timed,
    Web, Worker,
};
pub use nearest::nearest;
pub use pool::{LocalTemplate, LocalTrouble, Pool, PoolProvider};
pub use reference::reference;
