//! The arguments of a step, rendered for a build, by the types that steps want.

use std::time::Duration;

use bytestring::ByteString;
use model::{
    Json,
    template::{is_true, to_text},
};
use worker_protocol::{EnvValue, LogFile, Program, Word};

use super::halt::Halt;

/// Rendered arguments by Buildbot's names.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    step: String,
    values: Vec<(String, Json)>,
}

const NULL: &Json = &Json::Null;

impl Arguments {
    /// The arguments of the step that is called `step`.
    pub(crate) fn new(step: impl Into<String>, values: Vec<(String, Json)>) -> Self {
        Self { step: step.into(), values }
    }

    /// The arguments within a table that is an argument itself.
    pub(crate) fn within(&self, table: &Json) -> Self {
        let entries = table.as_object().into_iter().flatten();
        Self::new(&self.step, entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The value; null where there is none.
    pub(crate) fn get(&self, name: &str) -> &Json {
        self.values.iter().find(|(key, _)| key == name).map_or(NULL, |(_, value)| value)
    }

    /// Text; numbers and other values are written as Python would.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Json::Null => None,
            value => Some(to_text(value)),
        }
    }

    /// Text that has to be there.
    pub(crate) fn needed(&self, name: &str) -> Result<String, Halt> {
        self.text(name).ok_or_else(|| self.wrong(name, "has no value", ""))
    }

    /// A truth value, as Python takes it.
    pub(crate) fn truth(&self, name: &str) -> bool {
        is_true(self.get(name))
    }

    /// A truth value that may be left open.
    pub(crate) fn maybe_truth(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Json::Null => None,
            value => Some(is_true(value)),
        }
    }

    /// A time.
    pub(crate) fn seconds(&self, name: &str) -> Result<Option<Duration>, Halt> {
        self.number(name, "a number of seconds", |value| Duration::try_from_secs_f64(value.as_f64()?).ok())
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u64>, Halt> {
        self.number(name, "a whole number from 0 on", Json::as_u64)
    }

    fn number<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&Json) -> Option<T>,
    ) -> Result<Option<T>, Halt> {
        let value = self.get(name);
        // A property that came from a form or a command is text.
        let parsed;
        let value = match value {
            Json::Null => return Ok(None),
            Json::String(text) => match serde_json::from_str::<Json>(text.trim()) {
                Ok(value) => {
                    parsed = value;
                    &parsed
                }
                Err(_) => value,
            },
            value => value,
        };
        read(value).map(Some).ok_or_else(|| self.wrong(name, "is not ", what))
    }

    /// Several texts; one text is a list of one.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Json::Null => Vec::new(),
            Json::Array(values) => values.iter().map(to_text).collect(),
            value => vec![to_text(value)],
        }
    }

    /// Texts by name.
    pub(crate) fn dict(&self, name: &str) -> Vec<(String, String)> {
        let entries = self.get(name).as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.clone(), to_text(value))).collect()
    }

    /// What to run: nested lists are flattened, left-out words are a mistake.
    pub(crate) fn command(&self, name: &str) -> Result<Program, Halt> {
        match self.get(name) {
            Json::String(line) => Ok(Program::Line(line.as_str().into())),
            Json::Array(words) => {
                let mut flat = Vec::with_capacity(words.len());
                flatten(words, &mut flat);
                let word = |word: &Json| match word {
                    Json::Null => Err(self.wrong(name, "has a word without a value", "")),
                    word => Ok(Word::Plain(to_text(word).into())),
                };
                Ok(Program::Words(flat.into_iter().map(word).collect::<Result<_, _>>()?))
            }
            Json::Null => Err(self.wrong(name, "has no value", "")),
            _ => Err(self.wrong(name, "is neither a text nor a list", "")),
        }
    }

    /// Changes to the environment.
    pub(crate) fn env(&self, name: &str) -> Result<Vec<(ByteString, EnvValue)>, Halt> {
        let value = match self.get(name) {
            Json::Null => return Ok(Vec::new()),
            Json::Object(entries) => entries,
            _ => return Err(self.wrong(name, "is not a table", "")),
        };
        Ok(value.iter().map(|(key, value)| (key.as_str().into(), env_value(value))).collect())
    }

    /// Files to follow as logs.
    pub(crate) fn logfiles(&self, name: &str) -> Vec<LogFile> {
        let entries = self.get(name).as_object().into_iter().flatten();
        entries
            .map(|(log, file)| {
                let (path, follow) = match file {
                    Json::Object(file) => (
                        file.get("filename").map(to_text).unwrap_or_default(),
                        file.get("follow").is_some_and(is_true),
                    ),
                    path => (to_text(path), false),
                };
                LogFile { name: log.as_str().into(), path: path.into(), follow }
            })
            .collect()
    }

    /// The step cannot run with this argument.
    pub(crate) fn wrong(&self, name: &str, problem: &str, expected: &str) -> Halt {
        let value = match self.get(name) {
            Json::Null => String::new(),
            value => {
                let text = value.to_string();
                let shown: String = text.chars().take(200).collect();
                format!("; its value is {shown}")
            }
        };
        Halt::Broken(format!("argument `{name}` of step {:?} {problem}{expected}{value}", self.step))
    }
}

/// What becomes of an environment variable.
pub(crate) fn env_value(value: &Json) -> EnvValue {
    match value {
        Json::Null => EnvValue::Unset,
        Json::Array(parts) => EnvValue::Path(parts.iter().map(|part| to_text(part).into()).collect()),
        value => EnvValue::Set(to_text(value).into()),
    }
}

/// The elements of lists within lists, in one.
pub(crate) fn flatten<'a>(values: &'a [Json], flat: &mut Vec<&'a Json>) {
    for value in values {
        match value {
            Json::Array(inner) => flatten(inner, flat),
            value => flat.push(value),
        }
    }
}
