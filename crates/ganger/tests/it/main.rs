//! The program as a user types it, without any worker but in `quickstart`.

mod cli;
mod control;
mod hands;
mod lifecycle;
mod pools;
mod program;
mod quickstart;
mod simulate;
mod web;
