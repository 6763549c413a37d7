//! Files from and to the worker (`buildbot/steps/transfer.py`).

use super::{COMMON, HALTING, StepType, WORKDIR};
use crate::schema::{Fallback, Key, Kind};

/// The longest string that a worker takes in one message (`SIZE_LIMIT` of `twisted/spread/banana.py`).
const MAX_BLOCK: i64 = 640 * 1024;

const MAXSIZE: Key = Key::new("maxsize", Kind::Integer(1, i64::MAX), "FAILURE when there is more, in bytes");
const BLOCKSIZE: Key = Key::new("blocksize", Kind::Integer(1, MAX_BLOCK), "how many bytes go in one message")
    .default(Fallback::Integer(16 * 1024));
const MODE: Key = Key::new("mode", Kind::Integer(0, 0o7777), "permissions of the file, as `0o644`")
    .default(Fallback::Of("as the operating system likes"));
const COMPRESS: Key =
    Key::new("compress", Kind::Choice(&["gz", "bz2"]), "how directories are compressed on their way");
const KEEPSTAMP: Key =
    Key::new("keepstamp", Kind::Bool, "keep the times of the file").default(Fallback::Bool(false));
const GLOB: Key = Key::new("glob", Kind::Bool, "the names are patterns").default(Fallback::Bool(false));

const WORKERSRC: Key =
    Key::renderable("workersrc", Kind::Text, "what to upload, seen from the working directory").required();
const WORKERDEST: Key =
    Key::renderable("workerdest", Kind::Text, "the file to make, seen from the working directory").required();
const MASTERDEST: Key =
    Key::renderable("masterdest", Kind::Text, "where to, seen from the directory of the configuration")
        .required();

/// Where users find what was uploaded.
const LINK: &[Key] = &[
    Key::renderable("url", Kind::Text, "a link to show with the step"),
    Key::renderable("urlText", Kind::Text, "the text of the link").default(Fallback::Of("the file name")),
];

const TRANSFER: StepType = StepType {
    name: "",
    default_name: "upload",
    doc: "",
    flags: HALTING,
    description: &[],
    description_done: &[],
    arguments: &[],
    check: None,
};

pub(super) const FILE_UPLOAD: StepType = StepType {
    name: "FileUpload",
    doc: "Brings a file from the worker to the master.",
    arguments: &[
        COMMON,
        &[
            WORKERSRC,
            MASTERDEST,
            WORKDIR,
            MAXSIZE,
            BLOCKSIZE.default(Fallback::Integer(256 * 1024)),
            MODE,
            KEEPSTAMP,
        ],
        LINK,
    ],
    ..TRANSFER
};

pub(super) const DIRECTORY_UPLOAD: StepType = StepType {
    name: "DirectoryUpload",
    doc: "Brings a directory from the worker to the master.",
    arguments: &[COMMON, &[WORKERSRC, MASTERDEST, WORKDIR, MAXSIZE, BLOCKSIZE, COMPRESS], LINK],
    ..TRANSFER
};

pub(super) const MULTIPLE_FILE_UPLOAD: StepType = StepType {
    name: "MultipleFileUpload",
    doc: "Brings files and directories from the worker into a directory of the master.",
    arguments: &[
        COMMON,
        &[
            Key::renderable("workersrcs", Kind::Texts, "what to upload, seen from the working directory")
                .required(),
            MASTERDEST,
            WORKDIR,
            MAXSIZE,
            BLOCKSIZE,
            GLOB,
            MODE,
            COMPRESS,
            KEEPSTAMP,
        ],
        LINK,
    ],
    ..TRANSFER
};

pub(super) const FILE_DOWNLOAD: StepType = StepType {
    name: "FileDownload",
    default_name: "download",
    doc: "Brings a file from the master to the worker.",
    arguments: &[
        COMMON,
        &[
            Key::renderable(
                "mastersrc",
                Kind::Text,
                "the file, seen from the directory of the configuration",
            )
            .required(),
            WORKERDEST,
            WORKDIR,
            MAXSIZE,
            BLOCKSIZE,
            MODE,
        ],
    ],
    ..TRANSFER
};

pub(super) const STRING_DOWNLOAD: StepType = StepType {
    name: "StringDownload",
    default_name: "string_download",
    doc: "Writes a text to a file on the worker.",
    arguments: &[
        COMMON,
        &[
            Key::renderable("s", Kind::Text, "the text").required(),
            WORKERDEST,
            WORKDIR,
            MAXSIZE,
            BLOCKSIZE,
            MODE,
        ],
    ],
    ..TRANSFER
};

pub(super) const JSON_STRING_DOWNLOAD: StepType = StepType {
    name: "JSONStringDownload",
    default_name: "json_download",
    doc: "Writes a value as JSON to a file on the worker.",
    arguments: &[
        COMMON,
        &[
            Key::renderable("o", Kind::Any, "the value").required(),
            WORKERDEST,
            WORKDIR,
            MAXSIZE,
            BLOCKSIZE,
            MODE,
        ],
    ],
    ..TRANSFER
};

pub(super) const JSON_PROPERTIES_DOWNLOAD: StepType = StepType {
    name: "JSONPropertiesDownload",
    default_name: "json_properties_download",
    doc: "Writes the properties and source stamps of the build as JSON to a file on the worker.",
    arguments: &[COMMON, &[WORKERDEST, WORKDIR, MAXSIZE, BLOCKSIZE, MODE]],
    ..TRANSFER
};
