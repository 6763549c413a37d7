//! What a build can do, as data: one [`StepType`] for each type of step.
//!
//! Names, arguments, defaults and what is renderable are facts of Buildbot 4.3.0 (`buildbot/steps/`,
//! `buildbot/process/buildstep.py`), held against a table made by `tests/python/make_step_types.py`. To add a type, add its entry here and
//! its executor in the engine.

mod directory;
mod git;
mod http;
mod master;
mod property;
mod read;
mod shell;
mod special;
#[cfg(test)]
mod tests;
mod transfer;
mod trigger;
mod workspace;

use ::model::Flags;

pub(crate) use self::{
    git::ARGUMENTS as GIT,
    http::SHARED as REQUEST,
    read::read,
    shell::{SHELL, WARNINGS},
    special::NESTED,
    workspace::{OF_BUILDER as CLEAN_WORKSPACE, add as add_clean_workspace},
};
use crate::{
    renderable::Args,
    schema::{Fallback, Key, Kind},
    table::{Keys, Table},
};

/// One type of step.
#[derive(Debug)]
pub(crate) struct StepType {
    /// Buildbot's name of its class.
    pub(crate) name: &'static str,
    /// What its steps are called unless they are given a name.
    pub(crate) default_name: &'static str,
    /// One line for the reference.
    pub(crate) doc: &'static str,
    pub(crate) flags: Flags,
    pub(crate) description: &'static [&'static str],
    pub(crate) description_done: &'static [&'static str],
    /// What it takes beside what all steps take ([`COMMON`]), which is the first group.
    pub(crate) arguments: &'static [&'static [Key]],
    /// Looks at the arguments together, once each has been read.
    pub(crate) check: Option<fn(&Table<'_>, &Args)>,
}

/// All types of steps, in the order of the reference.
pub(crate) const ALL: &[&StepType] = &[
    &shell::SHELL_COMMAND,
    &shell::SHELL_SEQUENCE,
    &shell::CONFIGURE,
    &shell::CMAKE,
    &shell::COMPILE,
    &shell::TEST,
    &shell::WARNING_COUNTING_SHELL_COMMAND,
    &shell::SET_PROPERTY_FROM_COMMAND,
    &property::SET_PROPERTY,
    &property::SET_PROPERTIES,
    &property::SET_PROPERTIES_FROM_ENV,
    &master::ASSERT,
    &git::GIT,
    &git::GITHUB,
    &git::GITLAB,
    &transfer::FILE_UPLOAD,
    &transfer::DIRECTORY_UPLOAD,
    &transfer::MULTIPLE_FILE_UPLOAD,
    &transfer::FILE_DOWNLOAD,
    &transfer::STRING_DOWNLOAD,
    &transfer::JSON_STRING_DOWNLOAD,
    &transfer::JSON_PROPERTIES_DOWNLOAD,
    &directory::FILE_EXISTS,
    &directory::MAKE_DIRECTORY,
    &directory::REMOVE_DIRECTORY,
    &directory::COPY_DIRECTORY,
    &workspace::CLEAN_WORKSPACE,
    &master::MASTER_SHELL_COMMAND,
    &http::HTTP_STEP,
    &http::GET,
    &http::POST,
    &http::PUT,
    &http::DELETE,
    &http::HEAD,
    &http::OPTIONS,
    &trigger::TRIGGER,
];

/// What every step takes. The defaults of the flags and of the descriptions depend on the type.
pub(crate) const COMMON: &[Key] = &[
    Key::new("type", Kind::Text, "the type of the step").required(),
    Key::renderable("name", Kind::Text, "what the step is called; at most 50 characters")
        .default(Fallback::Of("depends on the type")),
    Key::renderable("description", Kind::Texts, "shown while it runs")
        .default(Fallback::Of("depends on the type")),
    Key::renderable("descriptionDone", Kind::Texts, "shown when it is done")
        .default(Fallback::Of("depends on the type")),
    Key::renderable("descriptionSuffix", Kind::Texts, "added to either description"),
    Key::renderable("doStepIf", Kind::Special(&special::TRUTH), "skip the step unless this is true")
        .default(Fallback::Bool(true)),
    Key::renderable(
        "hideStepIf",
        Kind::Special(&special::TRUTH),
        "do not show the step if this is true when it is done; `results` are then the step's own",
    )
    .default(Fallback::Bool(false)),
    Key::new(
        "locks",
        Kind::Special(&crate::file::LOCKS),
        "locks that it takes before it runs, see `[[lock]]`",
    ),
    Key::renderable("haltOnFailure", Kind::Bool, "FAILURE ends the build")
        .default(Fallback::Of("depends on the type")),
    Key::renderable("flunkOnFailure", Kind::Bool, "FAILURE makes the build FAILURE")
        .default(Fallback::Bool(true)),
    Key::renderable("flunkOnWarnings", Kind::Bool, "WARNINGS makes the build FAILURE")
        .default(Fallback::Bool(false)),
    Key::renderable("warnOnFailure", Kind::Bool, "FAILURE makes the build WARNINGS, unless it flunks")
        .default(Fallback::Of("depends on the type")),
    Key::renderable("warnOnWarnings", Kind::Bool, "WARNINGS makes the build WARNINGS")
        .default(Fallback::Bool(false)),
    Key::renderable("alwaysRun", Kind::Bool, "run even after an earlier step ended the build")
        .default(Fallback::Bool(false)),
    Key::new(
        "updateBuildSummaryPolicy",
        Kind::Special(&special::SUMMARY_POLICY),
        "with which results the step has a say in the summary of its build",
    )
    .default(Fallback::Of("those that bear on the build's results")),
];

/// A property where a value is expected.
pub(crate) const PROPERTY: Keys = Keys {
    what: "a property as a value",
    groups: &[&[
        Key::new("property", Kind::Text, "the name of the property").required(),
        Key::new("default", Kind::Any, "the value where the property is not set"),
        Key::new(
            "defaultWhenFalse",
            Kind::Bool,
            "take the default also where the property is set to something false in Python",
        )
        .default(Fallback::Bool(true)),
    ]],
    hints: &[],
};

/// What a plain step does to its build.
const PLAIN: Flags = Flags {
    always_run: false,
    flunk_on_failure: true,
    flunk_on_warnings: false,
    halt_on_failure: false,
    warn_on_failure: false,
    warn_on_warnings: false,
};

/// What a step does to its build without which nothing after it makes sense.
const HALTING: Flags = Flags { halt_on_failure: true, ..PLAIN };

const WORKDIR: Key =
    Key::renderable("workdir", Kind::Text, "where on the worker, below the directory of the builder")
        .default(Fallback::Text("build"));

impl StepType {
    /// The type of this name.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|step| step.name == name)
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys {
            what: self.name,
            groups: self.arguments,
            hints: &[
                ("logEncoding", "workers send text; of those that send bytes, UTF-8 is expected"),
                ("useProgress", "Buildbot itself makes no use of it"),
                ("progressMetrics", "Buildbot itself makes no use of it"),
                ("extract_fn", "`extract` takes patterns instead of a function"),
                ("slavesrc", "it is called `workersrc`"),
                ("slavedest", "it is called `workerdest`"),
                ("hooks", "it is a function"),
                (
                    "files",
                    "Buildbot sends the file that was opened when the configuration was read; use `data`",
                ),
                ("stream", "it has no effect in Buildbot"),
            ],
        }
    }

    /// What it takes beside what all steps take.
    pub(crate) fn own_arguments(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.arguments.iter().skip(1).copied().flatten()
    }
}

/// Reports two arguments that do not go together, at the value of `name`.
fn conflict(table: &Table<'_>, name: &str, message: &str, help: &str) {
    if let Some(value) = table.value(name) {
        value.error(message).help(help);
    }
}
