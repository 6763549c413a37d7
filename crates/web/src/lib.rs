//! What Ganger says over HTTP: figures for Prometheus, and whether all is well.
//!
//! Machines of pools ask over HTTPS who their workers are ([`Server::enroll`]).
//!
//! It is *not* where anything is decided, counted or kept: it asks the master and writes down what it hears.

mod enroll;
mod exposition;
mod metrics;
mod peers;
mod routes;
mod server;

pub use crate::server::{BindError, House, Server};
