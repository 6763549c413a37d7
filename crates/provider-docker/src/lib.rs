//! Machines of a pool as containers, over the Engine API of Docker, and of Podman in the same words.
//!
//! All that is known of a machine is kept by the engine:
//!
//! | what | where |
//! |---|---|
//! | whose it is, and what it was made for | the container's labels, `ganger.*` |
//! | that it is stopped on purpose, and comes back | the container's name ends in `.stopped` |
//! | that it is gone, and does not come back | an empty volume that is named as the container was |
//! | what it is told | `/run/ganger/document.json`, put in before the container starts, with a `buildbot.tac` that starts a worker by it |
//!
//! A container's name follows from its row, so that the engine itself refuses a second one. One that was made and not
//! started is completed by the call that is made again.

mod clock;
mod container;
mod document;
mod engine;
mod image;
mod owner;
mod preflight;
mod provider;
mod registry;
mod settings;

pub use crate::{
    preflight::preflight,
    provider::Docker,
    settings::{Settings, SettingsError},
};
