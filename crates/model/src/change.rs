//! What was changed, and what is to be built.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Json, Properties, Time};

/// One change in a repository, as somebody or something reported it (table `changes`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Who wrote it.
    pub author: String,
    /// Who put it into the repository, where that is another person.
    pub committer: Option<String>,
    /// The commit message.
    pub comments: String,
    /// Paths of the files it touches.
    pub files: Vec<String>,
    /// The branch; `None` is the repository's default branch.
    pub branch: Option<String>,
    /// The commit.
    pub revision: Option<String>,
    /// A page about it.
    pub revlink: String,
    /// When it was made.
    pub when: Time,
    /// A word to filter by.
    pub category: Option<String>,
    /// Where the code lives.
    pub repository: String,
    /// The codebase it belongs to; empty where there is only one.
    pub codebase: String,
    /// The project it belongs to.
    pub project: String,
    /// Properties that builds of it get.
    pub properties: Properties,
}

impl Change {
    /// What to build to build this change.
    pub fn source_stamp(&self) -> SourceStamp {
        SourceStamp {
            branch: self.branch.clone(),
            revision: self.revision.clone(),
            repository: self.repository.clone(),
            project: self.project.clone(),
            codebase: self.codebase.clone(),
            patch: None,
        }
    }

    /// What expressions see of it: its attributes by Buildbot's names.
    pub fn facts(&self) -> Json {
        json!({
            "who": self.author,
            "author": self.author,
            "committer": self.committer,
            "comments": self.comments,
            "files": self.files,
            "branch": self.branch,
            "revision": self.revision,
            "revlink": self.revlink,
            "when": self.when.epoch_seconds(),
            "category": self.category,
            "repository": self.repository,
            "codebase": self.codebase,
            "project": self.project,
            "properties": self.properties.values(),
        })
    }
}

/// Which code to build: one for each codebase of a build (table `sourcestamps`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStamp {
    /// The branch; `None` is the repository's default branch.
    pub branch: Option<String>,
    /// The commit; `None` is the newest of the branch when the build looks.
    pub revision: Option<String>,
    /// Where the code lives.
    pub repository: String,
    /// The project it belongs to.
    pub project: String,
    /// The codebase; empty where there is only one.
    pub codebase: String,
    /// A patch to lay over the commit.
    pub patch: Option<Patch>,
}

impl SourceStamp {
    /// What templates and steps see of it, by Buildbot's names (`buildbot/process/buildrequest.py`,
    /// `TempSourceStamp.asDict`, 4.3.0).
    pub fn facts(&self) -> Json {
        let patch = self.patch.as_ref();
        json!({
            "branch": self.branch,
            "revision": self.revision,
            "repository": self.repository,
            "project": self.project,
            "codebase": self.codebase,
            "patch_level": patch.map(|patch| patch.level),
            "patch_body": patch.map(|patch| String::from_utf8_lossy(&patch.body)),
            "patch_subdir": patch.map(|patch| &patch.subdir),
            "patch_author": patch.map(|patch| &patch.author),
            "patch_comment": patch.map(|patch| &patch.comment),
        })
    }
}

/// A patch laid over a commit (table `patches`), from a `try`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// How many leading path components `patch -p` strips.
    pub level: u32,
    /// The diff itself.
    pub body: Vec<u8>,
    /// The directory to apply it in, below the checkout.
    pub subdir: String,
    /// Who made it.
    pub author: String,
    /// What it is for.
    pub comment: String,
}
