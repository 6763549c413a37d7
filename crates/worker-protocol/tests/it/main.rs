//! The protocol against real programs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generations;
mod master;
