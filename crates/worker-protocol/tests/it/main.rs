//! The protocol against real programs.

mod generations;
mod master;
