//! The provider against an EC2 that answers over HTTP: moto, behind a proxy that makes what moto lacks.

mod conformance;
mod fleets;
mod limits;
mod queue;
mod requirements;
mod site;
mod trouble;
