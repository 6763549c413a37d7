//! Machines as real containers of a Docker engine that the tests start. Takes root, dockerd and a static BusyBox.

mod conformance;
mod documents;
mod engine;
