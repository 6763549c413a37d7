//! How each mode and method brings the tree to the revision.

use std::future::Future;
use std::pin::Pin;

use worker_protocol::{Command, CopyDirectory};

use super::{COPY_SOURCE, Git, LISTS_DIRECTORIES, Method, OnFailure};
use crate::build::{halt::Halt, running::Wiring};

/// What is in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Repository,
    Nothing,
    SomethingElse,
}

impl Git<'_> {
    /// Brings the tree to the revision.
    pub(super) async fn checkout(&mut self) -> Result<(), Halt> {
        match self.method {
            Method::Incremental => self.incremental().await,
            Method::Clobber => self.clobber().await,
            Method::Copy => self.copy().await,
            Method::Clean | Method::Fresh => match self.look().await? {
                Found::SomethingElse => self.clobber().await,
                Found::Nothing => self.clone_or_clobber().await,
                Found::Repository if self.method == Method::Clean => self.clean().await,
                Found::Repository => self.fresh().await,
            },
        }
    }

    async fn incremental(&mut self) -> Result<(), Halt> {
        match self.look().await? {
            Found::SomethingElse => return self.clobber().await,
            Found::Nothing => return self.clone_or_clobber().await,
            Found::Repository => {}
        }
        self.update().await?;
        self.sync_submodules().await?;
        self.update_submodules().await
    }

    async fn clean(&mut self) -> Result<(), Halt> {
        self.git(&["clean", "-f", "-f", "-d"]).await?;
        self.update().await?;
        self.sync_submodules().await?;
        self.update_submodules().await?;
        self.clean_submodules().await?;
        if self.submodules {
            self.git(&["clean", "-f", "-f", "-d"]).await?;
        }
        Ok(())
    }

    async fn fresh(&mut self) -> Result<(), Halt> {
        if self.git(&["clean", "-f", "-f", "-d", "-x"]).go_on().await?.is_success() {
            self.update().await?;
        } else {
            self.remove_tree().await?;
            self.clone_or_clobber().await?;
        }
        self.sync_submodules().await?;
        self.update_submodules().await?;
        self.clean_submodules().await?;
        if self.submodules {
            self.git(&["clean", "-f", "-f", "-d", "-x"]).await?;
        }
        Ok(())
    }

    async fn clobber(&mut self) -> Result<(), Halt> {
        self.remove_tree().await?;
        if self.clone_all().await? { Ok(()) } else { Err(Halt::Failed) }
    }

    /// Keeps a checkout of its own and copies it.
    async fn copy(&mut self) -> Result<(), Halt> {
        let workdir = self.workdir.clone();
        self.remove(&workdir).await?;
        COPY_SOURCE.clone_into(&mut self.workdir);
        let updated = self.incremental().await;
        self.workdir.clone_from(&workdir);
        updated?;
        let mut copy = CopyDirectory::new(COPY_SOURCE, workdir);
        copy.timeout = self.timeout;
        copy.log_environ = self.log_environ;
        let finished = self.step.command(Command::CopyDirectory(copy), Wiring::log(self.log)).await?;
        if finished.is_success() { Ok(()) } else { Err(Halt::Failed) }
    }

    async fn look(&mut self) -> Result<Found, Halt> {
        let workdir = self.workdir.clone();
        let version = self.step.worker().command_version("listdir");
        if version.is_none_or(|version| version < LISTS_DIRECTORIES) {
            let repository = self.step.join(&workdir, ".git");
            return Ok(if self.stat(&repository).await? { Found::Repository } else { Found::Nothing });
        }
        Ok(match self.list(&workdir).await? {
            Some(files) if files.iter().any(|file| file == ".git") => Found::Repository,
            Some(files) if !files.is_empty() => Found::SomethingElse,
            _ => Found::Nothing,
        })
    }

    /// Fetches and checks out; when that fails, once more or from nothing, as the step is told.
    async fn update(&mut self) -> Result<(), Halt> {
        let retry = self.step.args.truth("retryFetch");
        let clobber = self.step.args.truth("clobberOnFailure");
        let on_failure = if retry || clobber { OnFailure::GoOn } else { OnFailure::End };
        if self.fetch(on_failure).await? {
            return Ok(());
        }
        if retry {
            self.fetch(OnFailure::End).await?;
            Ok(())
        } else {
            self.clobber().await
        }
    }

    /// Answers whether all went well.
    async fn fetch(&mut self, on_failure: OnFailure) -> Result<bool, Halt> {
        let tags = self.step.args.truth("tags");
        let revision = self.revision.clone();
        let is_there = match &revision {
            Some(revision) if !tags => self.git(&["cat-file", "-e", revision]).go_on().await?.is_success(),
            _ => false,
        };
        if !is_there {
            let mut words = vec!["fetch".to_owned(), "-f".to_owned()];
            self.add_depth(&mut words);
            if tags {
                words.push("--tags".to_owned());
            }
            self.add_progress(&mut words);
            words.push(self.repository.clone());
            words.push(self.branch.clone());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if !self.git(&words).on_failure(on_failure).await?.is_success() {
                return Ok(false);
            }
        }
        let revision = revision.as_deref().unwrap_or("FETCH_HEAD");
        let checked_out = self.git(&["checkout", "-f", revision]).on_failure(on_failure).await?.is_success();
        if checked_out && self.branch != "HEAD" {
            let branch = self.branch.clone();
            // Only the name of the branch: not having it changes nothing in the tree.
            self.git(&["checkout", "-B", &branch]).go_on().await?;
        }
        Ok(checked_out)
    }

    async fn clone_or_clobber(&mut self) -> Result<(), Halt> {
        if self.clone_all().await? {
            Ok(())
        } else if self.step.args.truth("clobberOnFailure") {
            self.clobber().await
        } else {
            Err(Halt::Failed)
        }
    }

    /// Clones, checks out the revision and gets submodules. Answers whether all went well.
    async fn clone_all(&mut self) -> Result<bool, Halt> {
        let mut well = self.clone_once().await?;
        if !well {
            return Ok(false);
        }
        let on_failure = if self.depth.is_some() { OnFailure::End } else { OnFailure::GoOn };
        if let Some(revision) = self.revision.clone() {
            well = self.git(&["checkout", "-f", &revision]).on_failure(on_failure).await?.is_success();
        }
        if self.submodules {
            let mut words = vec!["submodule", "update", "--init", "--recursive"];
            if self.step.args.truth("remoteSubmodules") {
                words.push("--remote");
            }
            let depth = self.depth.map(|depth| depth.to_string());
            if let Some(depth) = &depth {
                words.extend(["--depth", depth]);
            }
            well = self.git(&words).on_failure(on_failure).await?.is_success();
        }
        Ok(well)
    }

    /// Clones, and again as often as the step is told.
    fn clone_once(&mut self) -> Pin<Box<dyn Future<Output = Result<bool, Halt>> + Send + '_>> {
        Box::pin(async move {
            let mut words = vec!["clone".to_owned()];
            let mut switch = self.branch != "HEAD";
            if self.features.branch && self.branch != "HEAD" {
                if self.branch.starts_with("refs/") {
                    // `clone` takes no such name: it is fetched afterwards.
                    words.push("--no-checkout".to_owned());
                } else {
                    switch = false;
                    words.extend(["--branch".to_owned(), self.branch.clone()]);
                }
            }
            self.add_depth(&mut words);
            for option in ["reference", "origin"] {
                if let Some(value) = self.step.args.text(option).filter(|value| !value.is_empty()) {
                    words.extend([format!("--{option}"), value]);
                }
            }
            if self.features.filters {
                for filter in self.step.args.texts("filters") {
                    words.extend(["--filter".to_owned(), filter]);
                }
            }
            words.extend([self.repository.clone(), ".".to_owned()]);
            self.add_progress(&mut words);
            let is_last = self.retry.is_none_or(|(_, repeats)| repeats == 0);
            let on_failure = if is_last && self.depth.is_some() { OnFailure::End } else { OnFailure::GoOn };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut well = self.git(&words).on_failure(on_failure).await?.is_success();
            if switch {
                well = self.fetch(OnFailure::End).await?;
            }
            match self.retry {
                Some((delay, repeats)) if !well && repeats > 0 => {
                    self.retry = Some((delay, repeats - 1));
                    self.step.sleep(delay).await?;
                    self.remove_tree().await?;
                    self.clone_once().await
                }
                _ => Ok(well),
            }
        })
    }

    async fn remove_tree(&mut self) -> Result<(), Halt> {
        let workdir = self.workdir.clone();
        if self.remove(&workdir).await?.is_success() { Ok(()) } else { Err(Halt::Failed) }
    }

    async fn sync_submodules(&mut self) -> Result<(), Halt> {
        if self.submodules {
            self.git(&["submodule", "sync"]).await?;
        }
        Ok(())
    }

    async fn update_submodules(&mut self) -> Result<(), Halt> {
        if !self.submodules {
            return Ok(());
        }
        let mut words = vec!["submodule", "update", "--init", "--recursive"];
        if self.features.submodule_force {
            words.push("--force");
        }
        if self.features.submodule_checkout {
            words.push("--checkout");
        }
        if self.step.args.truth("remoteSubmodules") {
            words.push("--remote");
        }
        self.git(&words).await?;
        Ok(())
    }

    async fn clean_submodules(&mut self) -> Result<(), Halt> {
        if !self.submodules {
            return Ok(());
        }
        let ignored = if self.method == Method::Fresh { " -x" } else { "" };
        let clean = format!("git clean -f -f -d{ignored}");
        self.git(&["submodule", "foreach", "--recursive", &clean]).await?;
        Ok(())
    }

    fn add_depth(&self, words: &mut Vec<String>) {
        if let Some(depth) = self.depth {
            words.extend(["--depth".to_owned(), depth.to_string()]);
        }
    }

    fn add_progress(&self, words: &mut Vec<String>) {
        if self.step.args.truth("progress") && self.features.progress {
            words.push("--progress".to_owned());
        }
    }
}
