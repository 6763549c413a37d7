//! Tries a new image with a few machines first, and goes back when it is bad.

use serde::{Deserialize, Serialize};

/// So many machines of a new image must connect.
const CONNECTS: u32 = 5;
/// So many builds must be finished on it whose machinery did not fail.
const BUILDS: u32 = 3;
/// One in so many machines has the new image until then.
const SHARE: u32 = 10;
/// No verdict on fewer failures.
const LEAST: u32 = 3;

/// Which image a pool trusts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Canary {
    /// The image that works.
    proven: Option<String>,
    /// The image that is being tried.
    trial: Option<Trial>,
    /// The image that was tried and is bad.
    rejected: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Trial {
    image: String,
    /// Machines of either image since the trial began.
    launches: u32,
    launched: u32,
    connected: u32,
    not_connected: u32,
    built: u32,
    not_built: u32,
}

/// What became of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The new image is used from now on.
    Proven {
        /// The image.
        image: String,
    },
    /// The new image is bad; the pool goes back to the previous one until another one is configured.
    RolledBack {
        /// The bad image.
        from: String,
        /// The one that is used.
        to: String,
        /// Why, in a sentence without a full stop.
        text: String,
    },
}

impl Canary {
    /// This image is configured. The first one ever is used at once: there is nothing to go back to.
    pub fn configured(&mut self, image: &str) {
        match &self.proven {
            None => self.proven = Some(image.to_owned()),
            Some(proven) if proven == image => (self.trial, self.rejected) = (None, None),
            Some(_) if self.rejected.as_deref() == Some(image) => {}
            Some(_) if self.trial.as_ref().is_some_and(|trial| trial.image == image) => {}
            Some(_) => {
                self.trial = Some(Trial { image: image.to_owned(), ..Trial::default() });
                self.rejected = None;
            }
        }
    }

    /// How many of `count` new machines have the image that is being tried.
    pub fn share(&self, count: u32) -> u32 {
        let Some(trial) = &self.trial else { return 0 };
        let allowed = (trial.launches.saturating_add(count) / SHARE).max(1);
        // One that comes up makes room for another one, even in a small pool.
        let settled = trial.connected.saturating_add(trial.not_connected);
        allowed.max(settled.saturating_add(1)).saturating_sub(trial.launched).min(count)
    }

    /// The image that is being tried.
    pub fn trial(&self) -> Option<&str> {
        self.trial.as_ref().map(|trial| trial.image.as_str())
    }

    /// The image that works; `None` before any was configured.
    pub fn proven(&self) -> Option<&str> {
        self.proven.as_deref()
    }

    /// The image that was tried and is bad, while it is the one that is configured.
    pub fn rejected(&self) -> Option<&str> {
        self.rejected.as_deref()
    }

    /// So many machines of an image were asked for.
    pub fn launched(&mut self, image: &str, count: u32) {
        if let Some(trial) = &mut self.trial {
            trial.launches = trial.launches.saturating_add(count);
            if trial.image == image {
                trial.launched = trial.launched.saturating_add(count);
            }
        }
    }

    /// A machine of an image never was: the provider had none, or it was called off.
    pub fn forget(&mut self, image: &str) {
        if let Some(trial) = self.trying(image) {
            trial.launched = trial.launched.saturating_sub(1);
        }
    }

    /// A machine of an image was connected.
    pub fn connected(&mut self, image: &str) -> Option<Verdict> {
        let trial = self.trying(image)?;
        trial.connected = trial.connected.saturating_add(1);
        self.verdict()
    }

    /// A machine of an image did not connect (suspect, dead or given up; once for each).
    pub fn failed(&mut self, image: &str) -> Option<Verdict> {
        let trial = self.trying(image)?;
        trial.not_connected = trial.not_connected.saturating_add(1);
        self.verdict()
    }

    /// A build on a machine of an image is over.
    pub fn built(&mut self, image: &str, machinery_failed: bool) -> Option<Verdict> {
        let trial = self.trying(image)?;
        let count = if machinery_failed { &mut trial.not_built } else { &mut trial.built };
        *count = count.saturating_add(1);
        self.verdict()
    }

    fn trying(&mut self, image: &str) -> Option<&mut Trial> {
        self.trial.as_mut().filter(|trial| trial.image == image)
    }

    fn verdict(&mut self) -> Option<Verdict> {
        let trial = self.trial.as_ref()?;
        let bad = if trial.not_connected >= LEAST && trial.connected * 4 < trial.not_connected {
            let known = trial.connected.saturating_add(trial.not_connected);
            format!("{} of {known} machines of image {} came up", trial.connected, trial.image)
        } else if trial.not_built >= LEAST && trial.built < trial.not_built {
            let known = trial.built.saturating_add(trial.not_built);
            format!("{} of {known} builds on image {} failed by its machinery", trial.not_built, trial.image)
        } else if trial.connected >= CONNECTS && trial.built >= BUILDS {
            let image = trial.image.clone();
            self.trial = None;
            self.proven = Some(image.clone());
            return Some(Verdict::Proven { image });
        } else {
            return None;
        };
        let from = trial.image.clone();
        let to = self.proven.clone().unwrap_or_default();
        self.trial = None;
        self.rejected = Some(from.clone());
        Some(Verdict::RolledBack { text: format!("{bad}: back to image {to}"), from, to })
    }
}
