//! Steps that run a command (`buildbot/steps/shell.py`, `buildbot/steps/shellsequence.py`).

use super::{COMMON, HALTING, PLAIN, StepType, WORKDIR, conflict, special};
use crate::{
    renderable::Args,
    schema::{Fallback, Key, Kind},
    table::Table,
};

use ::model::Flags;

pub(super) const COMMAND: Key =
    Key::renderable("command", Kind::Command, "what to run: one text for the shell, or a list for none");

/// What everything that runs a command takes (`ShellMixin`).
pub(crate) const SHELL: &[Key] = &[
    WORKDIR,
    Key::renderable("env", Kind::Dict, "environment variables; a list of texts becomes a path"),
    Key::renderable("want_stdout", Kind::Bool, "keep what it writes to standard output")
        .default(Fallback::Bool(true)),
    Key::renderable("want_stderr", Kind::Bool, "keep what it writes to standard error")
        .default(Fallback::Bool(true)),
    Key::renderable("usePTY", Kind::Bool, "run it in a pseudo terminal")
        .default(Fallback::Of("as the worker likes")),
    Key::renderable(
        "logfiles",
        Kind::Special(&special::LOGFILES),
        "files to follow as logs, by the name of the log",
    ),
    Key::renderable("lazylogfiles", Kind::Bool, "make no log of a file that stays empty")
        .default(Fallback::Bool(false)),
    Key::renderable("timeout", Kind::Seconds, "kill it when it has been silent for so long; 0 is never")
        .default(Fallback::Integer(1200)),
    Key::renderable("maxTime", Kind::Seconds, "kill it when it has run for so long"),
    Key::renderable("max_lines", Kind::Integer(1, i64::MAX), "kill it when it has written so many lines"),
    Key::renderable("logEnviron", Kind::Bool, "write the environment to the log")
        .default(Fallback::Bool(true)),
    Key::renderable("interruptSignal", Kind::Text, "the signal that stops it")
        .default(Fallback::Text("KILL")),
    Key::renderable("sigtermTime", Kind::Seconds, "send TERM first, and the signal only after so long"),
    Key::renderable("initialStdin", Kind::Text, "what it reads from standard input"),
    Key::renderable(
        "decodeRC",
        Kind::Special(&special::DECODE_RC),
        "results by exit code; all others are FAILURE",
    )
    .default(Fallback::Numbers(&[("0", 0)])),
];

/// What steps that count warnings take.
pub(crate) const WARNINGS: &[Key] = &[
    Key::renderable(
        "warningPattern",
        Kind::Pattern,
        "a line that this regular expression matches from its start is a warning",
    )
    .default(Fallback::Text("(?i).*warning[: ].*")),
    Key::new(
        "warningExtractor",
        Kind::Choice(&["warnExtractWholeLine", "warnExtractFromRegexpGroups"]),
        "what is file, line and text of a warning: nothing but the text, or the groups 1, 2 and 3",
    )
    .default(Fallback::Text("warnExtractWholeLine")),
    Key::renderable("maxWarnCount", Kind::Integer(0, i64::MAX), "more warnings than this are FAILURE"),
    Key::renderable(
        "directoryEnterPattern",
        Kind::Pattern,
        "a line that says which directory is entered, in group 1",
    )
    .default(Fallback::Text("make.*: Entering directory [\u{2019}\"`'](.*)[\u{2019}'`\"]")),
    Key::renderable("directoryLeavePattern", Kind::Pattern, "a line that says that the directory is left")
        .default(Fallback::Text("make.*: Leaving directory")),
    Key::renderable("suppressionFile", Kind::Text, "file on the worker with warnings that do not count"),
    Key::renderable("suppressionList", Kind::Special(&special::SUPPRESSIONS), "warnings that do not count"),
];

pub(super) const SHELL_COMMAND: StepType = StepType {
    name: "ShellCommand",
    default_name: "shell",
    doc: "Runs a command on the worker.",
    flags: PLAIN,
    description: &[],
    description_done: &[],
    arguments: &[COMMON, &[COMMAND.required()], SHELL],
    check: None,
};

pub(super) const SHELL_SEQUENCE: StepType = StepType {
    name: "ShellSequence",
    default_name: "generic",
    doc: "Runs several commands on the worker, one after the other, until one that halts on failure fails.",
    flags: PLAIN,
    description: &[],
    description_done: &[],
    arguments: &[
        COMMON,
        &[Key::renderable("commands", Kind::Special(&special::COMMANDS), "the commands").required()],
        SHELL,
    ],
    check: None,
};

pub(super) const CONFIGURE: StepType = StepType {
    name: "Configure",
    default_name: "configure",
    doc: "Runs `./configure`.",
    flags: HALTING,
    description: &["configuring"],
    description_done: &["configure"],
    arguments: &[COMMON, &[COMMAND.default(Fallback::Texts(&["./configure"]))], SHELL],
    check: None,
};

pub(super) const CMAKE: StepType = StepType {
    name: "CMake",
    default_name: "cmake",
    doc: "Runs CMake.",
    flags: HALTING,
    description: &["running", "cmake"],
    description_done: &["cmake"],
    arguments: &[
        COMMON,
        &[
            Key::renderable("path", Kind::Text, "where the sources are"),
            Key::renderable("generator", Kind::Text, "what it writes, `-G`"),
            Key::renderable("definitions", Kind::Values, "what it is told by `-D`"),
            Key::renderable("options", Kind::Texts, "other options"),
            Key::renderable("cmake", Kind::Text, "the program").default(Fallback::Text("cmake")),
        ],
        SHELL,
    ],
    check: None,
};

pub(super) const COMPILE: StepType = StepType {
    name: "Compile",
    default_name: "compile",
    doc: "Runs `make all` and counts warnings.",
    flags: HALTING,
    description: &["compiling"],
    description_done: &["compile"],
    arguments: &[COMMON, &[COMMAND.default(Fallback::Texts(&["make", "all"]))], SHELL, WARNINGS],
    check: None,
};

pub(super) const TEST: StepType = StepType {
    name: "Test",
    default_name: "test",
    doc: "Runs `make test` and counts warnings.",
    flags: Flags { warn_on_failure: true, ..PLAIN },
    description: &["testing"],
    description_done: &["test"],
    arguments: &[COMMON, &[COMMAND.default(Fallback::Texts(&["make", "test"]))], SHELL, WARNINGS],
    check: None,
};

pub(super) const WARNING_COUNTING_SHELL_COMMAND: StepType = StepType {
    name: "WarningCountingShellCommand",
    default_name: "generic",
    doc: "Runs a command and counts warnings.",
    flags: PLAIN,
    description: &[],
    description_done: &[],
    arguments: &[COMMON, &[COMMAND.required()], SHELL, WARNINGS],
    check: None,
};

pub(super) const SET_PROPERTY_FROM_COMMAND: StepType = StepType {
    name: "SetPropertyFromCommand",
    default_name: "setproperty",
    doc: "Runs a command and sets properties to what it writes.",
    flags: PLAIN,
    description: &[],
    description_done: &[],
    arguments: &[
        COMMON,
        &[
            COMMAND.required(),
            Key::renderable("property", Kind::Text, "the property to set to all of standard output"),
            Key::new(
                "extract",
                Kind::Special(&special::EXTRACT),
                "properties to set to what a regular expression finds in the output",
            ),
            Key::new("strip", Kind::Bool, "leave out white space around the value of `property`")
                .default(Fallback::Bool(true)),
            Key::new("includeStdout", Kind::Bool, "look at standard output").default(Fallback::Bool(true)),
            Key::new("includeStderr", Kind::Bool, "look at standard error")
                .default(Fallback::Of("`true` with `extract`, else `false`")),
        ],
        SHELL,
    ],
    check: Some(one_source_of_properties),
};

fn one_source_of_properties(table: &Table<'_>, args: &Args) {
    match (args.get("property").is_null(), args.get("extract").is_null()) {
        (true, true) if table.value("property").is_none() && table.value("extract").is_none() => {
            table.missing("`property` or `extract`", "one of them says what to set");
        }
        (false, false) => conflict(
            table,
            "extract",
            "`property` and `extract` do not go together",
            "leave out one of them: `property` takes all of standard output",
        ),
        _ => {}
    }
}
