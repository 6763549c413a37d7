//! Text with properties in it: Buildbot's `Interpolate`.
//!
//! A text that contains `%(` is a template (`make -j%(prop:jobs:-4)s`); any other text is taken as it is.

/// A parsed text, ready to be rendered for a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
}

impl Template {
    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }
}
