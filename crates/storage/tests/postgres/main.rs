//! The same tests as with files, on a PostgreSQL server, and what only a server can do to a store.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, also in what several tests share")]

#[path = "../it/buildbot.rs"]
mod buildbot;
#[path = "../it/crash.rs"]
mod crash;
#[path = "../it/farm.rs"]
mod farm;
#[path = "../it/identity.rs"]
mod identity;
#[path = "../it/janitor.rs"]
mod janitor;
mod place;
#[path = "../it/pools.rs"]
mod pools;
#[path = "../it/restore.rs"]
mod restore;
mod schema;
mod server;
#[path = "../it/writes.rs"]
mod writes;
