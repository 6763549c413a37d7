//! What a worker says about itself when it attaches.

use std::collections::BTreeMap;
use std::fmt;

use perspective_broker::Value;

use crate::text::lossy;
use crate::version::CommandVersion;

/// The operating system family of a worker: Python's `os.name`, which decides the form of its paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum System {
    /// Unix-like; also taken when the worker does not say (before 0.8.3).
    #[default]
    Posix,
    /// Windows.
    Nt,
}

impl System {
    /// Python's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Posix => "posix",
            Self::Nt => "nt",
        }
    }
}

/// Everything a worker told about itself: the answer to `getWorkerInfo`, or to `getSlaveInfo`, `getCommands` and
/// `getVersion` put together (`buildbot_worker/base.py`, `buildslave/bot.py`).
///
/// A worker whose environment or info files are not UTF-8 cannot answer `getWorkerInfo` on Python 3; it is described
/// by its commands and version alone, and works all the same.
#[derive(Clone, Default, PartialEq)]
pub struct WorkerInfo {
    /// Text of `info/admin`: who looks after the worker.
    pub admin: Option<String>,
    /// Text of `info/host`: what the machine is.
    pub host: Option<String>,
    /// Text of `info/access_uri`: where to log in to it.
    pub access_uri: Option<String>,
    /// Version of the worker program; for people only, it may be a date.
    pub version: Option<String>,
    /// Operating system family.
    pub system: System,
    /// The worker's base directory, absolute, in the form of its own system (since 0.8.3).
    pub basedir: Option<String>,
    /// Number of processors (since 0.9.0).
    pub numcpus: Option<u32>,
    /// Environment variables of the worker process (since 0.8.3).
    pub environ: BTreeMap<String, String>,
    /// The fields of `/etc/os-release`, as `os_id` or `os_pretty_name` (since 2.6).
    pub os: BTreeMap<String, String>,
    /// The commands it has, with their versions; empty when it could not be asked.
    pub commands: BTreeMap<String, String>,
    /// It runs on Python 2, so it speaks byte strings.
    pub python2: bool,
    /// It deletes directories of builders it no longer has (since 2.7, told since 3.6).
    pub delete_leftover_dirs: bool,
    /// The worker answers the requests of buildbot-worker (0.9.0 and newer), not those of buildslave.
    pub worker_words: bool,
    /// Other files of `info/`, and keys unknown to us.
    pub extra: BTreeMap<String, String>,
}

impl fmt::Debug for WorkerInfo {
    /// Environment variables carry credentials: only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerInfo")
            .field("version", &self.version)
            .field("system", &self.system)
            .field("basedir", &self.basedir)
            .field("environ", &format_args!("{} variables", self.environ.len()))
            .field("shell", &self.commands.get("shell"))
            .field("python2", &self.python2)
            .field("worker_words", &self.worker_words)
            .finish_non_exhaustive()
    }
}

impl WorkerInfo {
    /// Version of one command, `None` when the worker does not have it or reports something that is no version.
    pub fn command_version(&self, name: &str) -> Option<CommandVersion> {
        self.commands.get(name).and_then(|version| CommandVersion::parse(version))
    }

    /// The version for decisions about arguments: that of `shell`, which every release has, or the oldest that the
    /// kind of worker can have when it did not say.
    pub(crate) fn version_for_arguments(&self) -> CommandVersion {
        self.command_version("shell").unwrap_or(if self.worker_words {
            CommandVersion::new(3, 0)
        } else {
            CommandVersion::new(2, 9)
        })
    }

    /// Whether a command can be tried. A worker that did not list its commands is assumed to have all.
    pub(crate) fn has_command(&self, name: &str) -> bool {
        self.commands.is_empty() || self.commands.contains_key(name)
    }

    /// The object that Buildbot 4.3 stores in the column `workers.info` (`buildbot/worker/base.py`, `attached`).
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "admin": self.admin,
            "host": self.host,
            "access_uri": self.access_uri,
            "version": self.version,
        })
    }

    /// Takes the dictionary that `getWorkerInfo` or `getSlaveInfo` answered. Entries of a wrong type are left out.
    pub(crate) fn take_info(&mut self, entries: &[(Value, Value)]) {
        for (key, value) in entries {
            let Some(key) = lossy(key) else { continue };
            match &*key {
                "environ" => self.environ = text_map(value),
                "worker_commands" | "slave_commands" => self.commands = text_map(value),
                "numcpus" => self.numcpus = value.as_int().and_then(|n| u32::try_from(n).ok()),
                "delete_leftover_dirs" => {
                    self.delete_leftover_dirs = value.as_bool().unwrap_or_default();
                }
                name => {
                    if let Some(text) = printable(value) {
                        self.take_text(name, text);
                    }
                }
            }
        }
    }

    fn take_text(&mut self, name: &str, text: String) {
        match name {
            "admin" => self.admin = Some(text),
            "host" => self.host = Some(text),
            "access_uri" => self.access_uri = Some(text),
            "version" => self.version = Some(text),
            "basedir" => self.basedir = Some(text),
            "system" => self.system = if text == "nt" { System::Nt } else { System::Posix },
            _ if name.starts_with("os_") => {
                self.os.insert(name.to_owned(), text);
            }
            _ => {
                self.extra.insert(name.to_owned(), text);
            }
        }
    }

    /// Takes what `getCommands` answered.
    pub(crate) fn take_commands(&mut self, value: &Value) {
        self.commands = text_map(value);
    }

    /// Takes what `getVersion` answered.
    pub(crate) fn take_version(&mut self, value: &Value) {
        self.version = printable(value);
    }
}

/// A dictionary of text to text; other entries are left out.
fn text_map(value: &Value) -> BTreeMap<String, String> {
    value
        .as_dict()
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, value)| Some((lossy(key)?.to_string(), printable(value)?)))
        .collect()
}

fn printable(value: &Value) -> Option<String> {
    lossy(value).map(|text| text.to_string()).or_else(|| value.as_int().map(|n| n.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_text_say_the_same() {
        for kind in [crate::text::StringKind::Bytes, crate::text::StringKind::Unicode] {
            let text = |text: &'static str| kind.text(text);
            let mut info = WorkerInfo::default();
            info.take_info(&[
                (text("admin"), text("Ann <ann@example.org>\n")),
                (text("system"), text("nt")),
                (text("numcpus"), Value::Int(4)),
                (text("os_id"), text("debian")),
                (text("notes"), text("by the window")),
                (text("environ"), Value::Dict(vec![(text("PATH"), text("/bin"))])),
                (text("worker_commands"), Value::Dict(vec![(text("shell"), text("3.3"))])),
                (text("delete_leftover_dirs"), Value::Bool(true)),
                (Value::Int(3), text("no key")),
                (text("odd"), Value::List(vec![])),
            ]);
            assert_eq!(info.admin.as_deref(), Some("Ann <ann@example.org>\n"));
            assert_eq!(info.system, System::Nt);
            assert_eq!(info.numcpus, Some(4));
            assert_eq!(info.os["os_id"], "debian");
            assert_eq!(info.extra["notes"], "by the window");
            assert_eq!(info.environ["PATH"], "/bin");
            assert_eq!(info.command_version("shell"), Some(CommandVersion::new(3, 3)));
            assert_eq!(info.command_version("rmfile"), None);
            assert!(info.delete_leftover_dirs);
        }
    }

    #[test]
    fn the_environment_is_not_shown() {
        let environ = BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let info = WorkerInfo { environ, version: Some("4.3.0".to_owned()), ..WorkerInfo::default() };
        let shown = format!("{info:?}");
        assert!(shown.contains("4.3.0") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_stored_object_has_buildbots_keys() {
        let info =
            WorkerInfo { admin: Some("a".into()), version: Some("4.3.0".into()), ..Default::default() };
        assert_eq!(
            info.to_json(),
            serde_json::json!({"admin": "a", "host": null, "access_uri": null, "version": "4.3.0"})
        );
    }
}
