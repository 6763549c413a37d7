//! What finds changes by itself: pollers of repositories.
//!
//! It is *not* where anything is decided about changes: what is found is handed to a [`Desk`], which the master stands
//! behind. It knows no database either: the desk keeps what a poller remembers.
//!
//! - [`ChangeSources`]: the sources of a configuration as tasks, and when each looks.
//! - `git_poller`: what one look at a repository finds, as Buildbot 4.3.0 finds it (`buildbot/changes/gitpoller.py`).
//! - `git`: git as a child process: bounded in number, time and output, and never asking anybody anything.

mod clock;
mod credentials;
mod git;
mod git_poller;
mod sources;

pub use self::{
    git::GitError,
    git_poller::{Desk, GitPoller, PollError},
    sources::ChangeSources,
};
