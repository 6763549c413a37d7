//! The store from outside: what is written can be read, also by a stock Buildbot, and after a crash.

mod buildbot;
mod crash;
mod farm;
mod identity;
mod opening;
mod restore;
mod schema;
mod writes;
