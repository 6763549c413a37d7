//! The statements, by family of tables.
//!
//! All are plain SQL with `$1`, `$2`, … in the order of their first use, which SQLite and PostgreSQL both take as they
//! are. What only SQLite knows is in [`crate::open`].

pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod identity;
pub(crate) mod logs;
pub(crate) mod pools;
pub(crate) mod requests;
pub(crate) mod restore;
pub(crate) mod state;
