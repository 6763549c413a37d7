//! The words every part of Ganger shares: ids, results, properties, times, and the value types of changes, source
//! stamps, build requests and builds.
//!
//! It is *not* a place for behaviour: nothing here does I/O, reads a clock or knows a database. The names and the
//! numbers are Buildbot's, because they end up in Buildbot's tables.

mod change;
pub mod docker;
pub mod ec2;
pub mod expression;
pub mod filter;
mod ids;
mod pattern;
pub mod pool;
mod properties;
mod results;
pub mod template;
mod time;
mod timetable;

pub use change::{Change, Patch, SourceStamp};
pub use ids::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, ChangeId, InstanceId, LogId, MasterId,
    SchedulerId, SourceStampId, StepId, WorkerId,
};
pub use pattern::{Groups, Pattern, PatternError};
pub use properties::{Properties, Property};
pub use results::{Flags, Results};
pub use serde_json::Value as Json;
pub use time::Time;
pub use timetable::{Timetable, TimetableError};
