//! What Ganger says over HTTP: figures for Prometheus, and whether all is well.
//!
//! It is *not* where anything is decided, counted or kept: it asks the master and writes down what it hears.

mod exposition;
mod metrics;
mod routes;
mod server;

pub use crate::server::{BindError, House, Server};
