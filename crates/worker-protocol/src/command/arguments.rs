//! Builds the argument dictionary of one command in the words of one worker.

use std::time::Duration;

use bytestring::ByteString;
use perspective_broker::Value;

use super::{CommandUnsupported, EnvValue, WireCommand};
use crate::info::{System, WorkerInfo};
use crate::text::StringKind;
use crate::version::{CommandVersion, PATH_LISTS};

pub(crate) struct Arguments<'a> {
    worker: &'a WorkerInfo,
    kind: StringKind,
    entries: Vec<(Value, Value)>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(worker: &'a WorkerInfo) -> Self {
        let kind = if worker.python2 { StringKind::Bytes } else { StringKind::Unicode };
        Self { worker, kind, entries: Vec::with_capacity(16) }
    }

    /// Version that decides which words and arguments the worker knows.
    pub(crate) fn version(&self) -> CommandVersion {
        self.worker.version_for_arguments()
    }

    pub(crate) fn has_command(&self, name: &str) -> bool {
        self.worker.has_command(name)
    }

    pub(crate) fn require_command(
        &self,
        command: &'static str,
        hint: &'static str,
    ) -> Result<(), CommandUnsupported> {
        if self.has_command(command) { Ok(()) } else { Err(CommandUnsupported::Missing { command, hint }) }
    }

    pub(crate) fn set(&mut self, key: &'static str, value: Value) {
        let key = self.kind.text(ByteString::from_static(key));
        self.entries.push((key, value));
    }

    pub(crate) fn set_text(&mut self, key: &'static str, text: &ByteString) {
        let value = self.text(text);
        self.set(key, value);
    }

    pub(crate) fn set_optional_text(&mut self, key: &'static str, text: Option<&ByteString>) {
        let value = text.map_or(Value::None, |text| self.text(text));
        self.set(key, value);
    }

    pub(crate) fn set_bool(&mut self, key: &'static str, value: bool) {
        self.set(key, Value::Bool(value));
    }

    pub(crate) fn set_texts(&mut self, key: &'static str, texts: &[ByteString]) {
        let list = texts.iter().map(|text| self.text(text)).collect();
        self.set(key, Value::List(list));
    }

    /// Seconds, or None for no limit. Whole seconds are sent as an integer, as workers print them.
    pub(crate) fn set_seconds(&mut self, key: &'static str, time: Option<Duration>) {
        self.set(key, seconds(time));
    }

    pub(crate) fn set_count(&mut self, key: &'static str, count: Option<u64>) {
        let value = count.map_or(Value::None, |count| Value::Int(i64::try_from(count).unwrap_or(i64::MAX)));
        self.set(key, value);
    }

    pub(crate) fn set_env(&mut self, env: &[(ByteString, EnvValue)]) {
        if env.is_empty() {
            return self.set("env", Value::None);
        }
        let entries = env
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    EnvValue::Set(text) => self.text(text),
                    EnvValue::Path(parts) if self.version() < PATH_LISTS => {
                        let separator = if self.worker.system == System::Nt { ";" } else { ":" };
                        self.kind.text(parts.join(separator))
                    }
                    EnvValue::Path(parts) => Value::List(parts.iter().map(|part| self.text(part)).collect()),
                    EnvValue::Unset => Value::None,
                };
                (self.text(name), value)
            })
            .collect();
        self.set("env", Value::Dict(entries));
    }

    pub(crate) fn text(&self, text: &ByteString) -> Value {
        self.kind.text(text.clone())
    }

    pub(crate) fn word(&self, text: &'static str) -> Value {
        self.kind.text(ByteString::from_static(text))
    }

    pub(crate) fn finish(&mut self, name: &'static str) -> WireCommand {
        WireCommand { name, arguments: std::mem::take(&mut self.entries) }
    }
}

pub(crate) fn seconds(time: Option<Duration>) -> Value {
    match time {
        None => Value::None,
        Some(time) if time.subsec_nanos() == 0 => {
            Value::Int(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
        }
        Some(time) => Value::Float(time.as_secs_f64()),
    }
}
