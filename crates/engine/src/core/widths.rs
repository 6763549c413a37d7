//! What Buildbot's columns hold (`buildbot/db/model.py`, 4.3.0).
//!
//! SQLite does not mind what is longer; PostgreSQL refuses the row, and with it all that is written beside it. So nothing
//! longer gets there: who forces a build is told, and of what comes from elsewhere the rest is left out, with a warning.

use std::sync::Arc;

use model::{Change, Properties, SourceStamp};

/// A buildset's reason.
const REASON: usize = 256;
/// The name of a property.
pub(super) const PROPERTY: usize = 256;

/// Attributes of a source stamp, and how many characters each may have.
pub(super) const STAMP: [(&str, usize); 4] =
    [("branch", 256), ("revision", 256), ("repository", 512), ("project", 512)];

/// Whether a text has more characters than that.
pub(super) fn is_over(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

fn cut(text: &mut String, most: usize) -> bool {
    if !is_over(text, most) {
        return false;
    }
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    true
}

fn cut_some(text: &mut Option<String>, most: usize) -> bool {
    text.as_mut().is_some_and(|text| cut(text, most))
}

/// Properties without those whose names no column holds.
fn fit_properties(properties: &mut Properties) -> bool {
    if !properties.iter().any(|(name, _)| is_over(name, PROPERTY)) {
        return false;
    }
    let mut kept = Properties::new();
    for (name, property) in properties.iter().filter(|(name, _)| !is_over(name, PROPERTY)) {
        kept.set(name.as_str(), property.value.clone(), property.source.as_str());
    }
    *properties = kept;
    true
}

/// A change as the tables can hold it.
pub(super) fn fit_change(change: Arc<Change>) -> Arc<Change> {
    let mut fitted = Change::clone(&change);
    let mut cuts = fit_properties(&mut fitted.properties);
    for (text, most) in [
        (&mut fitted.author, 255),
        (&mut fitted.revlink, 256),
        (&mut fitted.repository, 512),
        (&mut fitted.codebase, 256),
        (&mut fitted.project, 512),
    ] {
        cuts |= cut(text, most);
    }
    for text in [&mut fitted.committer, &mut fitted.branch, &mut fitted.revision, &mut fitted.category] {
        cuts |= cut_some(text, 255);
    }
    for file in &mut fitted.files {
        cuts |= cut(file, 1024);
    }
    if !cuts {
        return change;
    }
    tracing::warn!(
        change.author = fitted.author,
        change.revision = fitted.revision,
        "a change says more than Buildbot's tables hold; the rest is left out"
    );
    Arc::new(fitted)
}

/// Has what a buildset is about fit the tables.
pub(super) fn fit_buildset(reason: &mut String, stamps: &mut [SourceStamp], properties: &mut Properties) {
    // Reasons are for people.
    cut(reason, REASON);
    let mut cuts = fit_properties(properties);
    for stamp in stamps {
        let SourceStamp { branch, revision, repository, project, codebase, patch } = stamp;
        cuts |= cut_some(branch, 256) | cut_some(revision, 256) | cut(codebase, 256);
        cuts |= cut(repository, 512) | cut(project, 512);
        if let Some(patch) = patch {
            patch.level = patch.level.min(i32::MAX.unsigned_abs());
        }
    }
    if cuts {
        tracing::warn!(reason, "a buildset says more than Buildbot's tables hold; the rest is left out");
    }
}

/// A priority that the tables can hold.
pub(super) fn fit_priority(priority: i64) -> i64 {
    priority.clamp(i32::MIN.into(), i32::MAX.into())
}
