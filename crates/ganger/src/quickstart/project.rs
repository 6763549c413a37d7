//! The small project that is built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tokio::process::Command;

use super::python::run;
use crate::exit::Failure;

/// The branch that is built.
pub(super) const BRANCH: &str = "main";

const NAME: &str = "Quick Start";
const EMAIL: &str = "quickstart@localhost";

/// A Git repository with two commits.
pub(super) struct Project {
    /// Where it is.
    pub(super) directory: PathBuf,
    /// The second commit.
    pub(super) revision: String,
    /// Who made it.
    pub(super) author: String,
    /// Its message.
    pub(super) comments: String,
    /// The files it touches.
    pub(super) files: Vec<String>,
}

const FIRST: [(&str, &str); 3] = [
    ("README.md", "# Greeting\n\nA project to build.\n"),
    ("greeting/__init__.py", "def greet(name):\n    return \"Hello, \" + name\n"),
    (
        "test_greeting.py",
        r#"import unittest

from greeting import greet


class GreetingTest(unittest.TestCase):
    def test_it_greets_by_name(self):
        self.assertEqual(greet("Ganger"), "Hello, Ganger")


if __name__ == "__main__":
    unittest.main()
"#,
    ),
];

const SECOND: [(&str, &str); 2] = [
    (
        "greeting/__init__.py",
        "def greet(name):\n    if not name:\n        raise ValueError(\"nobody to greet\")\n    return \"Hello, \" + name\n",
    ),
    (
        "test_greeting.py",
        r#"import unittest

from greeting import greet


class GreetingTest(unittest.TestCase):
    def test_it_greets_by_name(self):
        self.assertEqual(greet("Ganger"), "Hello, Ganger")

    def test_it_greets_nobody(self):
        with self.assertRaises(ValueError):
            greet("")


if __name__ == "__main__":
    unittest.main()
"#,
    ),
];

/// Makes it in `directory/project`.
pub(super) async fn make(directory: &Path) -> Result<Project, Failure> {
    let project = Project {
        directory: directory.join("project"),
        revision: String::new(),
        author: format!("{NAME} <{EMAIL}>"),
        comments: "Greet nobody without a name".to_owned(),
        files: SECOND.iter().map(|(path, _)| (*path).to_owned()).collect(),
    };
    fs::create_dir_all(project.directory.join("greeting")).context("cannot make the project")?;
    project.git(&["init", "--quiet"]).await?;
    // `init --initial-branch` is younger than many a git that is in use.
    project.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{BRANCH}")]).await?;
    project.commit(&FIRST, "Say hello").await?;
    project.commit(&SECOND, &project.comments).await?;
    let revision = project.git(&["rev-parse", "HEAD"]).await?.trim().to_owned();
    Ok(Project { revision, ..project })
}

impl Project {
    async fn commit(&self, files: &[(&str, &str)], message: &str) -> Result<(), Failure> {
        for (path, text) in files {
            fs::write(self.directory.join(path), text).with_context(|| format!("cannot write {path}"))?;
        }
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--no-verify", "-m", message]).await?;
        Ok(())
    }

    async fn git(&self, args: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new("git");
        command.current_dir(&self.directory).args([
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ]);
        command.args(["-c", &format!("user.name={NAME}"), "-c", &format!("user.email={EMAIL}")]);
        run(command.args(args), &format!("git {}", args.join(" "))).await
    }
}
