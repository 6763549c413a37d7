//! What each type of step does. Arguments, names and defaults are the configuration's
//! (`ganger-config`, `steps`); the commands, their order, the logs and the words are those of Buildbot 4.3.0
//! (`buildbot/steps/`).

mod directory;
mod download;
mod git;
mod http;
mod master;
mod property;
mod sequence;
mod shell;
mod trigger;
mod upload;
mod warnings;
mod workspace;

use futures_util::future::BoxFuture;
use model::Results;

use super::{halt::Halt, step::Step};

/// What a type of step does.
pub(crate) type Run = for<'a> fn(&'a mut Step) -> BoxFuture<'a, Result<Results, Halt>>;

/// All types of steps, by Buildbot's names.
const ALL: &[(&str, Run)] = &[
    ("Assert", |step| Box::pin(master::assert(step))),
    ("CMake", |step| Box::pin(shell::cmake(step))),
    ("CleanWorkspace", |step| Box::pin(workspace::clean(step))),
    ("Compile", |step| Box::pin(warnings::run(step))),
    ("Configure", |step| Box::pin(shell::run(step))),
    ("CopyDirectory", |step| Box::pin(directory::copy(step))),
    ("DELETE", |step| Box::pin(http::run(step))),
    ("DirectoryUpload", |step| Box::pin(upload::directory(step))),
    ("FileDownload", |step| Box::pin(download::file(step))),
    ("FileExists", |step| Box::pin(directory::file_exists(step))),
    ("FileUpload", |step| Box::pin(upload::file(step))),
    ("GET", |step| Box::pin(http::run(step))),
    ("Git", |step| Box::pin(git::run(step))),
    ("GitHub", |step| Box::pin(git::run(step))),
    ("GitLab", |step| Box::pin(git::run(step))),
    ("HEAD", |step| Box::pin(http::run(step))),
    ("HTTPStep", |step| Box::pin(http::run(step))),
    ("JSONPropertiesDownload", |step| Box::pin(download::json_properties(step))),
    ("JSONStringDownload", |step| Box::pin(download::json_string(step))),
    ("MakeDirectory", |step| Box::pin(directory::make(step))),
    ("MasterShellCommand", |step| Box::pin(master::run(step))),
    ("MultipleFileUpload", |step| Box::pin(upload::multiple(step))),
    ("OPTIONS", |step| Box::pin(http::run(step))),
    ("POST", |step| Box::pin(http::run(step))),
    ("PUT", |step| Box::pin(http::run(step))),
    ("RemoveDirectory", |step| Box::pin(directory::remove(step))),
    ("SetProperties", |step| Box::pin(property::set_several(step))),
    ("SetPropertiesFromEnv", |step| Box::pin(property::from_env(step))),
    ("SetProperty", |step| Box::pin(property::set_one(step))),
    ("SetPropertyFromCommand", |step| Box::pin(property::from_command(step))),
    ("ShellCommand", |step| Box::pin(shell::run(step))),
    ("ShellSequence", |step| Box::pin(sequence::run(step))),
    ("StringDownload", |step| Box::pin(download::string(step))),
    ("Test", |step| Box::pin(warnings::run(step))),
    ("Trigger", |step| Box::pin(trigger::run(step))),
    ("WarningCountingShellCommand", |step| Box::pin(warnings::run(step))),
];

/// What steps of this type do.
pub(crate) fn of(kind: &str) -> Option<Run> {
    ALL.iter().find(|(name, _)| *name == kind).map(|(_, run)| *run)
}

/// Whether steps of this type move files between worker and master.
pub(crate) fn is_transfer(kind: &str) -> bool {
    kind.ends_with("Upload") || kind.ends_with("Download")
}
