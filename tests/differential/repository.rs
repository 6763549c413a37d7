//! The Git repository that cases build from. Its commits have the same hashes in each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

pub(crate) struct Repository {
    path: PathBuf,
    home: PathBuf,
}

impl Repository {
    /// Makes it below this directory: a submodule `library`; branches `master`, `feature` and one that has a slash;
    /// tags `v1` (annotated) and `light`; a pull request.
    pub(crate) fn new(scratch: &Path) -> anyhow::Result<Self> {
        let home = home(scratch)?;
        let library = Self { path: scratch.join("library"), home: home.clone() };
        library.start()?;
        library.commit("library.txt", "a library\n")?;
        let main = Self { path: scratch.join("repository"), home };
        main.start()?;
        main.commit("file.txt", "first\n")?;
        main.git(&["tag", "--annotate", "--message", "one", "v1"])?;
        main.commit(".gitignore", "*.o\n")?;
        main.git(&["tag", "light"])?;
        main.git(&["submodule", "--quiet", "add", "../library", "lib"])?;
        main.commit("file.txt", "second\n")?;
        main.git(&["branch", "team/topic"])?;
        main.git(&["checkout", "--quiet", "-b", "feature", "v1"])?;
        main.commit("feature.txt", "a feature\n")?;
        main.git(&["checkout", "--quiet", "master"])?;
        main.git(&["update-ref", "refs/pull/1/merge", "feature"])?;
        main.git(&["config", "uploadpack.allowFilter", "true"])?;
        main.git(&["config", "uploadpack.allowAnySHA1InWant", "true"])?;
        Ok(main)
    }

    /// Replaces `@repository@` by where it is, and `@commit:NAME@` by a hash.
    pub(crate) fn fill_in(&self, text: &str) -> anyhow::Result<String> {
        let text = text.replace("@repository@", &self.path.to_string_lossy());
        let mut parts = text.split("@commit:");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('@').context("`@commit:` without an end")?;
            filled += &self.git(&["rev-parse", &format!("{name}^{{commit}}")])?;
            filled += rest;
        }
        Ok(filled)
    }

    fn start(&self) -> anyhow::Result<()> {
        fs::create_dir(&self.path)?;
        self.git(&["init", "--quiet", "--initial-branch=master"])?;
        Ok(())
    }

    fn commit(&self, file: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.path.join(file), text)?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", &format!("Change {file}")])?;
        Ok(())
    }

    fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("git")
            .args(args)
            .current_dir(&self.path)
            .env("HOME", &self.home)
            .env("GIT_AUTHOR_DATE", "2024-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2024-01-01T00:00:00Z")
            .output()
            .context("git cannot be run")?;
        ensure!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// A home for git, here and in builds.
pub(crate) fn home(scratch: &Path) -> anyhow::Result<PathBuf> {
    let home = scratch.join("home");
    fs::create_dir_all(&home)?;
    fs::write(
        home.join(".gitconfig"),
        "[user]\nname = Nobody\nemail = nobody@example.org\n[protocol \"file\"]\nallow = always\n[advice]\ndetachedHead = false\n",
    )?;
    Ok(home)
}
