//! Laying a patch over the checkout (`buildbot/steps/source/base.py`, `Source.patch`).

use bytes::Bytes;
use model::Patch;
use worker_protocol::{Command, DownloadFile};

use super::Git;
use crate::build::{halt::Halt, running::Wiring, transfer::Transfer};

/// The patch, on the worker.
const DIFF: &str = ".buildbot-diff";
/// Says that the tree is patched: the next build cleans it.
const MARK: &str = ".buildbot-patched";

impl Git<'_> {
    /// Lays the patch over the tree. What follows runs in the patch's directory.
    pub(super) async fn patch(&mut self, patch: &Patch) -> Result<(), Halt> {
        if stays_within(&patch.subdir) && !patch.subdir.is_empty() {
            self.workdir = self.step.join(&self.workdir, &patch.subdir);
        }
        self.put(DIFF, Bytes::from(patch.body.clone())).await?;
        self.put(MARK, Bytes::from_static(b"patched\n")).await?;
        self.git(&["update-index", "--refresh"]).await?;
        let level = patch.level.to_string();
        match std::str::from_utf8(&patch.body) {
            Ok(text) => self.git(&["apply", "--index", "-p", &level]).stdin(text).await?,
            // Standard input is text; the file has the very bytes.
            Err(_) => self.git(&["apply", "--index", "-p", &level, DIFF]).await?,
        };
        let diff = self.step.join(&self.workdir, DIFF);
        let mut remove = worker_protocol::RemoveDirectory::new([diff]);
        remove.log_environ = self.log_environ;
        let removed = self.step.command(Command::RemoveDirectory(remove), Wiring::log(self.log)).await?;
        if removed.is_success() { Ok(()) } else { Err(Halt::Failed) }
    }

    async fn put(&mut self, name: &str, content: Bytes) -> Result<(), Halt> {
        let mut transfer = Transfer::text(content);
        let mut command = DownloadFile::new(self.workdir.as_str(), name);
        command.block_size = 32 * 1024;
        let wiring = Wiring { transfer: Some(&mut transfer), ..Wiring::log(self.log) };
        // The command that needs the file fails where it is not there.
        self.step.command(Command::DownloadFile(command), wiring).await?;
        Ok(())
    }
}

/// Whether a directory is one below: it came with the patch, from whoever made it.
fn stays_within(subdir: &str) -> bool {
    let mut depth = 0;
    for part in subdir.split(['/', '\\']) {
        depth += match part {
            ".." => -1,
            "" | "." => 0,
            _ => 1,
        };
        if depth < 0 {
            return false;
        }
    }
    !subdir.starts_with(['/', '\\']) && subdir.as_bytes().get(1) != Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::stays_within;

    #[test]
    fn a_patch_goes_nowhere_but_into_the_tree() {
        for (subdir, expect) in [
            ("", true),
            ("src/lib", true),
            ("./src/../lib", true),
            ("..", false),
            ("src/../../x", false),
            ("/etc", false),
            ("c:\\x", false),
            ("..\\x", false),
        ] {
            assert_eq!(stays_within(subdir), expect, "{subdir:?}");
        }
    }
}
