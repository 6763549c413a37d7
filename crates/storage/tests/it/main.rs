//! The store from outside: what is written can be read, also by a stock Buildbot, and after a crash.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, also in what several tests share")]

mod buildbot;
mod crash;
mod farm;
mod identity;
mod janitor;
mod opening;
mod place;
mod pools;
mod restore;
mod schema;
mod writes;
