//! Machines as real containers of a Docker engine that the tests start. Takes root, dockerd, docker-registry and a static
//! BusyBox.

mod conformance;
mod documents;
mod engine;
mod registry;
