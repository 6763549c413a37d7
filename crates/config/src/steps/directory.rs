//! Directories and files on the worker (`buildbot/steps/worker.py`). Their paths are seen from the directory of the
//! builder, not from a working directory.

use super::{COMMON, HALTING, StepType};
use crate::schema::{Fallback, Key, Kind};

pub(super) const FILE_EXISTS: StepType = StepType {
    name: "FileExists",
    default_name: "FileExists",
    doc: "Fails unless there is such a file on the worker.",
    flags: HALTING,
    description: &[],
    description_done: &[],
    arguments: &[COMMON, &[Key::renderable("file", Kind::Text, "the file").required()]],
    check: None,
};

pub(super) const MAKE_DIRECTORY: StepType = StepType {
    name: "MakeDirectory",
    default_name: "MakeDirectory",
    doc: "Makes a directory, with those above it, on the worker.",
    flags: HALTING,
    description: &["Creating"],
    description_done: &["Created"],
    arguments: &[COMMON, &[Key::renderable("dir", Kind::Text, "the directory").required()]],
    check: None,
};

pub(super) const REMOVE_DIRECTORY: StepType = StepType {
    name: "RemoveDirectory",
    default_name: "RemoveDirectory",
    doc: "Removes a directory, with all that is in it, from the worker.",
    flags: HALTING,
    description: &["Deleting"],
    description_done: &["Deleted"],
    arguments: &[COMMON, &[Key::renderable("dir", Kind::Text, "the directory").required()]],
    check: None,
};

pub(super) const COPY_DIRECTORY: StepType = StepType {
    name: "CopyDirectory",
    default_name: "CopyDirectory",
    doc: "Copies a directory on the worker.",
    flags: HALTING,
    description: &["Copying"],
    description_done: &["Copied"],
    arguments: &[
        COMMON,
        &[
            Key::renderable("src", Kind::Text, "the directory").required(),
            Key::renderable("dest", Kind::Text, "the copy").required(),
            Key::new("timeout", Kind::Seconds, "give up when it has been silent for so long; 0 is never")
                .default(Fallback::Integer(120)),
            Key::new("maxTime", Kind::Seconds, "give up when it has run for so long"),
        ],
    ],
    check: None,
};
