//! Code that a build asks for when it triggers others.

use model::{
    Json, Patch, SourceStamp,
    template::{is_true, to_text},
};
use serde_json::Map;

/// Which code of a codebase to build, as far as it is said; the rest is the scheduler's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StampAsked {
    /// The codebase.
    pub codebase: String,
    /// The branch, or that there is none.
    pub branch: Option<Option<String>>,
    /// The commit, or that it is the newest.
    pub revision: Option<Option<String>>,
    /// Where the code lives.
    pub repository: Option<String>,
    /// The project it belongs to.
    pub project: Option<String>,
    /// A patch to lay over the commit.
    pub patch: Option<Patch>,
}

impl StampAsked {
    /// Reads what a configuration or a table says, by Buildbot's names.
    pub fn from_json(given: &Json) -> Self {
        let text = |key: &str| given.get(key).filter(|value| !value.is_null()).map(to_text);
        let maybe = |key: &str| given.get(key).map(|_| text(key).filter(|text| !text.is_empty()));
        let level = given.get("patch_level").and_then(Json::as_u64);
        let patch = given.get("patch_body").filter(|body| is_true(body)).map(|body| Patch {
            level: level.and_then(|level| level.try_into().ok()).unwrap_or(0),
            body: to_text(body).into_bytes(),
            subdir: text("patch_subdir").unwrap_or_default(),
            author: text("patch_author").unwrap_or_default(),
            comment: text("patch_comment").unwrap_or_default(),
        });
        Self {
            codebase: text("codebase").unwrap_or_default(),
            branch: maybe("branch"),
            revision: maybe("revision"),
            repository: text("repository"),
            project: text("project"),
            patch,
        }
    }

    /// What it says, by Buildbot's names.
    pub fn to_json(&self) -> Json {
        let mut all = Map::from_iter([("codebase".to_owned(), Json::from(self.codebase.as_str()))]);
        let texts = [("branch", &self.branch), ("revision", &self.revision)];
        for (key, value) in texts.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            all.insert(key.to_owned(), value.clone().map_or(Json::Null, Json::String));
        }
        let texts = [("repository", &self.repository), ("project", &self.project)];
        for (key, value) in texts.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            all.insert(key.to_owned(), Json::from(value.as_str()));
        }
        if let Some(patch) = &self.patch {
            all.insert("patch_level".to_owned(), Json::from(patch.level));
            all.insert("patch_body".to_owned(), String::from_utf8_lossy(&patch.body).into());
            all.insert("patch_subdir".to_owned(), Json::from(patch.subdir.as_str()));
            all.insert("patch_author".to_owned(), Json::from(patch.author.as_str()));
            all.insert("patch_comment".to_owned(), Json::from(patch.comment.as_str()));
        }
        Json::Object(all)
    }

    /// The same code as a source stamp, but for what is given instead of its revision.
    pub fn again(stamp: &SourceStamp, revision: Option<String>) -> Self {
        Self {
            codebase: stamp.codebase.clone(),
            branch: Some(stamp.branch.clone()),
            revision: Some(revision),
            repository: Some(stamp.repository.clone()),
            project: Some(stamp.project.clone()),
            patch: stamp.patch.clone(),
        }
    }

    /// Lays what is asked for over a source stamp.
    pub(super) fn lay_over(&self, stamp: &mut SourceStamp) {
        if let Some(branch) = &self.branch {
            stamp.branch.clone_from(branch);
        }
        if let Some(revision) = &self.revision {
            stamp.revision.clone_from(revision);
        }
        if let Some(repository) = &self.repository {
            stamp.repository.clone_from(repository);
        }
        if let Some(project) = &self.project {
            stamp.project.clone_from(project);
        }
        stamp.patch.clone_from(&self.patch);
    }

    /// A source stamp of a codebase that the scheduler does not have. Buildbot takes no project and no patch of these.
    pub(super) fn alone(&self) -> SourceStamp {
        SourceStamp {
            branch: self.branch.clone().flatten(),
            revision: self.revision.clone().flatten(),
            repository: self.repository.clone().unwrap_or_default(),
            codebase: self.codebase.clone(),
            ..SourceStamp::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_open() {
        let given = serde_json::json!({ "codebase": "lib", "branch": "dev", "revision": null });
        let asked = StampAsked::from_json(&given);
        assert_eq!(
            (asked.branch.clone(), asked.revision.clone()),
            (Some(Some("dev".to_owned())), Some(None))
        );
        assert_eq!(asked.to_json(), given);
        let mut stamp =
            SourceStamp { repository: "r".into(), revision: Some("1".into()), ..SourceStamp::default() };
        asked.lay_over(&mut stamp);
        assert_eq!((&*stamp.repository, stamp.branch.as_deref(), stamp.revision), ("r", Some("dev"), None));
    }

    #[test]
    fn a_patch_is_kept() {
        let patch = Patch { level: 1, body: b"diff".to_vec(), subdir: ".".into(), ..Patch::default() };
        let asked = StampAsked { patch: Some(patch), ..StampAsked::default() };
        assert_eq!(StampAsked::from_json(&asked.to_json()), asked);
    }
}
