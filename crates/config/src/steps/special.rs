//! Kinds of values that only a few arguments have.

use ::model::Results;
use toml::de::DeValue;

use super::COMMON;
use crate::{
    nearest::nearest,
    renderable::Renderable,
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

/// A value that is true or false in Python.
pub(super) const TRUTH: Special = Special {
    expected: "`true`, `false`, an expression, a property, or text that is false when it is empty",
    read: |value| match value.get() {
        DeValue::String(_) => value.read(Kind::Text),
        // Read as a truth value, so that a table is a property.
        DeValue::Boolean(_) | DeValue::Table(_) => value.read(Kind::Bool),
        _ => {
            value.unexpected("`true`, `false`, an expression, a property or text");
            None
        }
    },
};

/// Files by the name of the log.
pub(super) const LOGFILES: Special = Special {
    expected: "a table of file names, or of `{ filename = …, follow = … }`",
    read: |value| {
        dict(value, |file| match file.get() {
            DeValue::Table(_) if !file.is_expression() => args(file, LOGFILE),
            _ => file.read(Kind::Text),
        })
    },
};

const LOGFILE: Keys = Keys {
    what: "a log file",
    groups: &[&[
        Key::renderable("filename", Kind::Text, "the file, seen from the working directory").required(),
        Key::new("follow", Kind::Bool, "only what is written from now on").default(Fallback::Bool(false)),
    ]],
    hints: &[],
};

/// Results by exit code.
pub(super) const DECODE_RC: Special = Special {
    expected: "a table of results by exit code: `{ 0 = \"SUCCESS\", 3 = \"WARNINGS\" }`",
    read: |value| {
        let Some(entries) = value.entries() else {
            value.unexpected(DECODE_RC.expected);
            return None;
        };
        let mut decoded = Vec::new();
        for (code, span, results) in entries {
            if code.parse::<i32>().is_err() {
                value.reading.sink.error(span, format!("expected an exit code, found {code:?}"));
            }
            if let Some(results) = result(&results) {
                decoded.push((code.to_owned(), results));
            }
        }
        Some(Renderable::Dict(decoded))
    },
};

/// One of the results by its name, as its number.
fn result(value: &Value<'_>) -> Option<Renderable> {
    let word = value.text()?;
    let names: Vec<String> = Results::ALL.iter().map(|results| results.name().to_uppercase()).collect();
    if let Some((_, results)) = names.iter().zip(Results::ALL).find(|(name, _)| *name == word) {
        return Some(Renderable::Int(results.code()));
    }
    let meant = nearest(word, names.iter().map(String::as_str));
    value
        .error(format!("expected one of {}, found {word:?}", names.join(", ")))
        .maybe_help(meant.map(|name| format!("did you mean {name:?}?")));
    None
}

/// Results for which something is done.
pub(super) const SUMMARY_POLICY: Special = Special {
    expected: "`true`, `false` or a list of results",
    read: |value| match value.get() {
        DeValue::Boolean(true) => Some(Renderable::List(
            Results::ALL.iter().map(|results| Renderable::Int(results.code())).collect(),
        )),
        DeValue::Boolean(false) => Some(Renderable::List(Vec::new())),
        DeValue::Array(_) => value.list("result", result),
        _ => {
            value.unexpected(SUMMARY_POLICY.expected);
            None
        }
    },
};

/// Commands of a sequence, each with what its results do.
pub(super) const COMMANDS: Special = Special {
    expected: "a list of tables, each with a `command`",
    read: |value| value.list("table", |command| args(command, SHELL_ARG)),
};

const SHELL_ARG: Keys = Keys {
    what: "a command of a sequence",
    groups: &[&[
        Key::renderable("command", Kind::Command, "what to run").required(),
        Key::renderable("logname", Kind::Text, "the log that its output goes to")
            .default(Fallback::Of("`stdio`")),
        Key::new("haltOnFailure", Kind::Bool, "FAILURE ends the sequence").default(Fallback::Bool(false)),
        Key::new("flunkOnFailure", Kind::Bool, "FAILURE makes the step FAILURE")
            .default(Fallback::Bool(true)),
        Key::new("flunkOnWarnings", Kind::Bool, "WARNINGS makes the step FAILURE")
            .default(Fallback::Bool(false)),
        Key::new("warnOnFailure", Kind::Bool, "FAILURE makes the step WARNINGS, unless it flunks")
            .default(Fallback::Bool(false)),
        Key::new("warnOnWarnings", Kind::Bool, "WARNINGS makes the step WARNINGS")
            .default(Fallback::Bool(false)),
    ]],
    hints: &[("logfile", "it is called `logname`")],
};

/// Warnings that do not count.
pub(super) const SUPPRESSIONS: Special = Special {
    expected: "a list of tables with `file`, `text`, `start`, `end`",
    read: |value| value.list("table", |suppression| args(suppression, SUPPRESSION)),
};

const SUPPRESSION: Keys = Keys {
    what: "a warning that does not count",
    groups: &[&[
        Key::new("file", Kind::Pattern, "regular expression for the file"),
        Key::new("text", Kind::Pattern, "regular expression for the text"),
        Key::new("start", Kind::Integer(0, i64::MAX), "first line"),
        Key::new("end", Kind::Integer(0, i64::MAX), "last line"),
    ]],
    hints: &[],
};

/// Properties and where their values are found.
pub(super) const EXTRACT: Special = Special {
    expected: "a list of tables with `property` and `pattern`",
    read: |value| value.list("table", |extract| args(extract, EXTRACTED)),
};

const EXTRACTED: Keys = Keys {
    what: "an extracted property",
    groups: &[&[
        Key::new("property", Kind::Text, "the property to set").required(),
        Key::new(
            "pattern",
            Kind::Pattern,
            "regular expression, looked for line by line; its first group is the value, or all that it finds",
        )
        .required(),
    ]],
    hints: &[],
};

/// How much of the history to fetch.
pub(super) const SHALLOW: Special = Special {
    expected: "`true`, `false` or a number of commits",
    read: |value| match value.get() {
        DeValue::Boolean(_) => value.fixed().read(Kind::Bool),
        DeValue::Integer(_) => value.read(Kind::Integer(1, i64::MAX)),
        _ => {
            value.unexpected(SHALLOW.expected);
            None
        }
    },
};

/// Whether to run `git describe`, and how.
pub(super) const DESCRIBE: Special = Special {
    expected: "`true`, `false` or a table of options of `git describe`",
    read: |value| match value.get() {
        DeValue::Boolean(_) => value.fixed().read(Kind::Bool),
        DeValue::Table(_) => args(&value.fixed(), DESCRIBED),
        _ => {
            value.unexpected(DESCRIBE.expected);
            None
        }
    },
};

const DESCRIBED: Keys = Keys {
    what: "`git describe`",
    groups: &[&[
        Key::new("all", Kind::Bool, "`--all`"),
        Key::new("always", Kind::Bool, "`--always`"),
        Key::new("contains", Kind::Bool, "`--contains`"),
        Key::new("debug", Kind::Bool, "`--debug`"),
        Key::new("long", Kind::Bool, "`--long`"),
        Key::new("exact-match", Kind::Bool, "`--exact-match`"),
        Key::new("tags", Kind::Bool, "`--tags`"),
        Key::new("first-parent", Kind::Bool, "`--first-parent`"),
        Key::new("match", Kind::Text, "`--match`"),
        Key::new("exclude", Kind::Text, "`--exclude`"),
        Key::new("abbrev", Kind::Integer(0, 64), "`--abbrev`"),
        Key::new("candidates", Kind::Integer(0, i64::MAX), "`--candidates`"),
        Key::new("dirty", Kind::Special(&DIRTY), "`--dirty`"),
    ]],
    hints: &[],
};

const DIRTY: Special = Special {
    expected: "`true`, `false` or a mark",
    read: |value| match value.get() {
        DeValue::String(_) => value.read(Kind::Text),
        _ => value.read(Kind::Bool),
    },
};

/// Credentials for git.
pub(super) const GIT_CREDENTIALS: Special =
    Special { expected: "a table with `credentials`", read: |value| args(value, CREDENTIALS) };

const CREDENTIALS: Keys = Keys {
    what: "git's credentials",
    groups: &[&[
        Key::renderable(
            "credentials",
            Kind::Special(&CREDENTIAL),
            "each as `{ url = …, username = …, password = … }`, or as the text that `git credential` takes",
        )
        .required(),
        Key::new(
            "use_http_path",
            Kind::Bool,
            "whether the path of a URL counts too (`credential.useHttpPath`)",
        ),
    ]],
    hints: &[],
};

const CREDENTIAL: Special = Special {
    expected: "a list of tables or texts",
    read: |value| {
        value.list("credential", |credential| match credential.get() {
            DeValue::Table(_) => credential.read(Kind::Dict),
            _ => credential.read(Kind::Text),
        })
    },
};

/// The body of a request.
pub(super) const FORM: Special = Special {
    expected: "text, or a table of the fields of a form",
    read: |value| match value.get() {
        DeValue::Table(_) => value.read(Kind::Values),
        _ => value.read(Kind::Text),
    },
};

/// Whom to trust.
pub(super) const VERIFY: Special = Special {
    expected: "`true`, `false` or a file",
    read: |value| match value.get() {
        DeValue::String(_) => value.read(Kind::Text),
        _ => value.read(Kind::Bool),
    },
};

/// A pause and how often to try again.
pub(super) const RETRY: Special = Special {
    expected: "a list of two numbers: seconds to wait, and how often to try again",
    read: |value| {
        let numbers: Vec<_> = value.elements().into_iter().flatten().collect();
        let [delay, repeats] = numbers.as_slice() else {
            value.unexpected(RETRY.expected);
            return None;
        };
        Some(Renderable::List(vec![
            delay.fixed().read(Kind::Seconds)?,
            repeats.fixed().read(Kind::Integer(0, 1000))?,
        ]))
    },
};

/// The keys of tables within arguments, for the reference.
pub(crate) const NESTED: &[(&str, Keys)] = &[
    ("`commands` of `ShellSequence`", SHELL_ARG),
    ("`extract` of `SetPropertyFromCommand`", EXTRACTED),
    ("`logfiles`", LOGFILE),
    ("`suppressionList`", SUPPRESSION),
    ("`getDescription` of `Git`", DESCRIBED),
    ("`git_credentials` of `Git`", CREDENTIALS),
    ("`sourceStamp` of `Trigger`", super::trigger::SOURCE_STAMP),
];

fn dict(value: &Value<'_>, read: impl Fn(&Value<'_>) -> Option<Renderable>) -> Option<Renderable> {
    let Some(entries) = value.entries() else {
        value.unexpected(LOGFILES.expected);
        return None;
    };
    let all: Vec<_> = entries.iter().map(|(name, _, file)| Some(((*name).to_owned(), read(file)?))).collect();
    all.into_iter().collect::<Option<_>>().map(Renderable::Dict)
}

/// A table with known keys; those that are left out and have no default are left out here too.
fn args(value: &Value<'_>, keys: Keys) -> Option<Renderable> {
    let table = Table::of(*value, keys)?;
    let entries = keys
        .iter()
        .map(|key| (key.name.to_owned(), table.renderable(key)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    Some(Renderable::Dict(entries))
}

/// The keys of a step before its type is known.
pub(super) const ANY_STEP: Keys = Keys { what: "a step", groups: &[COMMON], hints: &[] };
