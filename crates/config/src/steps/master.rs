//! What the master does itself (`buildbot/steps/master.py`).

use super::{COMMON, HALTING, PLAIN, StepType, shell};
use crate::schema::{Fallback, Key, Kind};

pub(super) const MASTER_SHELL_COMMAND: StepType = StepType {
    name: "MasterShellCommand",
    default_name: "MasterShellCommand",
    doc: "Runs a command on the master.",
    flags: HALTING,
    description: &["Running"],
    description_done: &["Ran"],
    arguments: &[
        COMMON,
        &[
            shell::COMMAND.required(),
            Key::renderable(
                "env",
                Kind::Dict,
                "environment variables over the master's own; `${NAME}` in them is a variable of the master",
            ),
            Key::renderable("workdir", Kind::Text, "where, seen from the directory of the configuration"),
            Key::new("interruptSignal", Kind::Text, "the signal that stops it")
                .default(Fallback::Text("KILL")),
            Key::new("logEnviron", Kind::Bool, "write `env` to the log").default(Fallback::Bool(true)),
            Key::new("runtime_timeout", Kind::Seconds, "kill it when it has run for so long; 0 is never")
                .default(Fallback::Integer(3600)),
        ],
    ],
    check: None,
};

pub(super) const ASSERT: StepType = StepType {
    name: "Assert",
    default_name: "Assert",
    doc: "Fails unless something is true.",
    flags: PLAIN,
    description: &["Checking.."],
    description_done: &["checked"],
    arguments: &[COMMON, &[Key::renderable("check", Kind::Any, "what has to be true in Python").required()]],
    check: None,
};
