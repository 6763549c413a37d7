//! Buildbot's database (the schema of Buildbot 4.3, alembic revision 067) on SQLite and on PostgreSQL.
//!
//! It is *not* a place for decisions: it writes what it is told in the order it is told, makes it durable, and reads it
//! back. Which build runs where, what a result means for a request, when a log line is shown: all that is the engine's.
//!
//! - [`Store`] is the handle: one writer thread that commits in groups, and a few connections for readers.
//! - [`Write`] is everything that can be written, one variant for each thing that happens.
//! - [`Restored`] is what a master needs to know when it starts.
//! - The row types ([`BuildRow`], [`StepRow`], …) are what queries answer with.
//! - [`log`] turns the text of a log into the chunks that the tables hold.
//!
//! Rows, hashes, JSON forms and times are those that Buildbot 4.3.0 writes, so that a stock Buildbot opens the file and
//! shows it. What Ganger adds are tables and indexes named `ganger_*`, which Buildbot does not notice.

mod apply;
mod database;
mod error;
mod hash;
mod history;
mod ids;
mod janitor;
mod json;
pub mod log;
mod open;
mod pools;
mod read;
mod readers;
mod restore;
mod rows;
mod schema;
mod sql;
mod store;
mod write;
mod writer;

#[cfg(test)]
mod tests;

pub use database::postgres::Server;
pub use error::{Cause, OpenError, StorageError};
pub use hash::{name_hash, source_stamp_hash};
pub use history::{History, HistoryBuild, history};
pub use ids::Ids;
pub use janitor::{Horizons, Pruned};
pub use json::python_json;
pub use open::{Location, Options};
pub use pools::{DecisionFilter, DecisionRow, InstanceFilter, InstanceRow, Lease, RestoredPools};
pub use restore::{Identities, Interrupted, PendingChange, Restored, RestoredBuildset, RestoredRequest};
pub use rows::{
    BuildFilter, BuildOrder, BuildRow, BuilderRow, BuildsetRow, ChangeRow, LogRow, LogText, MasterRow,
    ObjectStates, RequestFilter, RequestRow, SchedulerRow, SourceStampRow, StepRow, StepUrl, UPSTREAM,
    WorkerRow,
};
pub use store::{Committed, Store};
pub use write::{Classified, Parent, Write};
