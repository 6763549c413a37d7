//! The manager in a small world: a cloud, a dispatcher and workers, all told what to do.

mod chaos;
mod crashes;
mod enrolling;
mod lives;
mod money;
mod people;
mod providers;
mod world;
