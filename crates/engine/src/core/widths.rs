//! What Buildbot's columns hold (`buildbot/db/model.py`, 4.3.0).
//!
//! SQLite does not mind what is longer; PostgreSQL refuses the row, and with it all that is written beside it. So nothing
//! longer gets there: who forces a build is told, and of what comes from elsewhere the rest is left out, with a warning.

use model::{Change, Properties, SourceStamp};

/// A buildset's reason.
const REASON: usize = 256;
/// The name of a property.
pub(super) const PROPERTY: usize = 256;

/// Attributes of a source stamp.
const BRANCH: usize = 256;
const REVISION: usize = 256;
const REPOSITORY: usize = 512;
const PROJECT: usize = 512;
const CODEBASE: usize = 256;

/// Attributes of a source stamp that a form asks for, and how many characters each may have.
pub(super) const STAMP: [(&str, usize); 4] =
    [("branch", BRANCH), ("revision", REVISION), ("repository", REPOSITORY), ("project", PROJECT)];

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

/// Leaves out properties whose names no column holds.
fn fit_properties(properties: &mut Properties) -> bool {
    let before = properties.len();
    properties.retain(|name| !is_over(name, PROPERTY));
    properties.len() < before
}

/// Has a change fit the tables.
pub(super) fn fit_change(change: &mut Change) {
    let mut cuts = fit_properties(&mut change.properties);
    for (text, most) in [
        (&mut change.author, 255),
        (&mut change.revlink, 256),
        (&mut change.repository, REPOSITORY),
        (&mut change.codebase, CODEBASE),
        (&mut change.project, PROJECT),
    ] {
        cuts |= cut(text, most);
    }
    for text in [&mut change.committer, &mut change.branch, &mut change.revision, &mut change.category] {
        cuts |= cut_some(text, 255);
    }
    for file in &mut change.files {
        cuts |= cut(file, 1024);
    }
    if cuts {
        tracing::warn!(
            change.author,
            change.revision,
            "a change says more than Buildbot's tables hold; the rest is left out"
        );
    }
}

/// Has what a buildset is about fit the tables.
pub(super) fn fit_buildset(reason: &mut String, stamps: &mut [SourceStamp], properties: &mut Properties) {
    // Reasons are for people.
    cut(reason, REASON);
    let mut cuts = fit_properties(properties);
    for stamp in stamps {
        let SourceStamp { branch, revision, repository, project, codebase, patch } = stamp;
        cuts |= cut_some(branch, BRANCH) | cut_some(revision, REVISION);
        cuts |= cut(repository, REPOSITORY) | cut(project, PROJECT) | cut(codebase, CODEBASE);
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
