//! The statements, by family of tables.
//!
//! All are plain SQL with `$1`, `$2`, … in the order of their first use, which SQLite and PostgreSQL both take as they
//! are. What only one of them understands is in [`postgres`], [`crate::schema`] and [`crate::database`].

pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod identity;
pub(crate) mod janitor;
pub(crate) mod logs;
pub(crate) mod pools;
pub(crate) mod postgres;
pub(crate) mod requests;
pub(crate) mod restore;
pub(crate) mod state;
