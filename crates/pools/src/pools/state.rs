//! What of a pool survives a restart, beside its instances.

use serde::{Deserialize, Serialize};

use super::books::Books;
use crate::learn::Learned;

/// What somebody decided about a pool and what it has learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolState {
    /// Why somebody paused it.
    pub paused: Option<String>,
    /// The minimum that somebody asked for.
    pub scaled: Option<u32>,
    /// What it has learned.
    pub learned: Learned,
    /// What ended machines have cost lately: their rows may have been pruned.
    pub(super) books: Option<Books>,
}
