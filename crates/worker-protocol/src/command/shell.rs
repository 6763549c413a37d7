//! Running a program on a worker.

use std::fmt;
use std::time::Duration;

use bytestring::ByteString;
use perspective_broker::Value;

use super::{Arguments, CommandUnsupported};
use crate::version::{INTERRUPT_SIGNAL, OBFUSCATED_WORDS, SIGTERM_TIME, WORKER_WORDS};

/// Runs a program (`shell`; `buildbot_worker/commands/shell.py`, `buildslave/commands/shell.py`).
///
/// Limits that a worker is too old to know (`max_lines` before 4.1, `sigterm_time` before 0.8.9, `interrupt_signal`
/// before 0.8.6) are left out; [`crate::WorkerInfo::command_version`] tells.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Where it runs; made when missing.
    pub workdir: ByteString,
    /// What runs.
    pub command: Program,
    /// Changes to the worker's environment.
    pub env: Vec<(ByteString, EnvValue)>,
    /// It is killed after that long without output.
    pub timeout: Option<Duration>,
    /// It is killed after that long.
    pub max_time: Option<Duration>,
    /// It is killed after that many lines of output.
    pub max_lines: Option<u64>,
    /// It is asked by SIGTERM first, and killed by `interrupt_signal` that long after.
    pub sigterm_time: Option<Duration>,
    /// Send what it writes to its standard output.
    pub want_stdout: bool,
    /// Send what it writes to its standard error.
    pub want_stderr: bool,
    /// Its standard input; empty when `None`.
    pub initial_stdin: Option<ByteString>,
    /// Files that are sent as logs while it runs.
    pub logfiles: Vec<LogFile>,
    /// Give it a terminal. `None` leaves it to the worker before 0.9, and means no terminal since.
    pub use_pty: Option<bool>,
    /// Begin its log with the whole environment.
    pub log_environ: bool,
    /// The signal that kills it, without `SIG`: `TERM`, `INT`; `KILL` when `None`.
    pub interrupt_signal: Option<ByteString>,
}

impl Shell {
    /// A command with Buildbot's defaults: 20 minutes without output, both streams, the environment in the log.
    pub fn new(workdir: impl Into<ByteString>, command: Program) -> Self {
        Self {
            workdir: workdir.into(),
            command,
            env: Vec::new(),
            timeout: Some(Duration::from_secs(20 * 60)),
            max_time: None,
            max_lines: None,
            sigterm_time: None,
            want_stdout: true,
            want_stderr: true,
            initial_stdin: None,
            logfiles: Vec::new(),
            use_pty: None,
            log_environ: true,
            interrupt_signal: None,
        }
    }

    pub(super) fn encode(&self, arguments: &mut Arguments<'_>) -> Result<(), CommandUnsupported> {
        let version = arguments.version();
        arguments.set_text("workdir", &self.workdir);
        let command = self.command.encode(arguments)?;
        arguments.set("command", command);
        arguments.set_env(&self.env);
        arguments.set_seconds("timeout", self.timeout);
        arguments.set_seconds("maxTime", self.max_time);
        arguments.set_count("max_lines", self.max_lines);
        if version >= SIGTERM_TIME {
            arguments.set_seconds("sigtermTime", self.sigterm_time);
        }
        arguments.set("want_stdout", Value::Int(self.want_stdout.into()));
        arguments.set("want_stderr", Value::Int(self.want_stderr.into()));
        arguments.set_optional_text("initial_stdin", self.initial_stdin.as_ref());
        let logfiles = self.logfiles.iter().map(|log| log.encode(arguments)).collect();
        // Always a dictionary: None breaks 0.8 and 0.9.0.
        arguments.set("logfiles", Value::Dict(logfiles));
        let use_pty = match self.use_pty {
            Some(wanted) => Value::Bool(wanted),
            None if version < WORKER_WORDS => arguments.word("slave-config"),
            None => Value::Bool(false),
        };
        arguments.set("usePTY", use_pty);
        arguments.set_bool("logEnviron", self.log_environ);
        if version >= INTERRUPT_SIGNAL
            && let Some(signal) = &self.interrupt_signal
        {
            arguments.set_text("interruptSignal", signal);
        }
        Ok(())
    }
}

/// What runs: a line for the worker's shell, or a program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// For `/bin/sh -c`, or the command interpreter on Windows.
    Line(ByteString),
    /// The program and its arguments; no shell takes part.
    Words(Vec<Word>),
}

impl Program {
    /// A program with plain arguments.
    pub fn words<T: Into<ByteString>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::Words(words.into_iter().map(|word| Word::Plain(word.into())).collect())
    }

    fn encode(&self, arguments: &Arguments<'_>) -> Result<Value, CommandUnsupported> {
        match self {
            Self::Line(line) => Ok(arguments.text(line)),
            Self::Words(words) if words.is_empty() => {
                Err(CommandUnsupported::Invalid { command: "shell", problem: "the list of words is empty" })
            }
            Self::Words(words)
                if arguments.version() < OBFUSCATED_WORDS
                    && words.iter().any(|word| matches!(word, Word::Obfuscated { .. })) =>
            {
                Err(CommandUnsupported::Argument {
                    command: "shell",
                    argument: "obfuscated",
                    needs: OBFUSCATED_WORDS,
                    has: arguments.version(),
                })
            }
            // A list, never a tuple, and a hidden word a tuple, never a list: workers test the types.
            Self::Words(words) => Ok(Value::List(words.iter().map(|word| word.encode(arguments)).collect())),
        }
    }
}

/// One word of a command.
#[derive(Clone, PartialEq, Eq)]
pub enum Word {
    /// An ordinary word.
    Plain(ByteString),
    /// A secret: the worker runs `real` and shows `shown` in its log.
    ///
    /// Slaves before 0.8.9 would run the pair itself and print it, so they are not given one.
    Obfuscated {
        /// What the program gets.
        real: ByteString,
        /// What people see.
        shown: ByteString,
    },
}

impl Word {
    fn encode(&self, arguments: &Arguments<'_>) -> Value {
        match self {
            Self::Plain(word) => arguments.text(word),
            Self::Obfuscated { real, shown } => {
                Value::Tuple(vec![arguments.word("obfuscated"), arguments.text(real), arguments.text(shown)])
            }
        }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(word) => fmt::Debug::fmt(word, f),
            Self::Obfuscated { shown, .. } => f.debug_tuple("Obfuscated").field(shown).finish(),
        }
    }
}

/// What becomes of one environment variable. `${NAME}` in a value stands for the worker's own variable.
#[derive(Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// It gets this value.
    Set(ByteString),
    /// It gets these values, joined as the worker's system joins search paths.
    Path(Vec<ByteString>),
    /// It is removed.
    Unset,
}

impl fmt::Debug for EnvValue {
    /// Environment variables carry credentials: only the kind of change is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "Set(..)",
            Self::Path(_) => "Path(..)",
            Self::Unset => "Unset",
        })
    }
}

/// A file that the worker sends as a log while a command writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Name of the log.
    pub name: ByteString,
    /// Path on the worker, relative to the command's directory.
    pub path: ByteString,
    /// Leave out what the file holds when the worker first sees it change; it looks every two seconds.
    pub follow: bool,
}

impl LogFile {
    fn encode(&self, arguments: &Arguments<'_>) -> (Value, Value) {
        let path = arguments.text(&self.path);
        let value = if self.follow {
            Value::Dict(vec![
                (arguments.word("filename"), path),
                (arguments.word("follow"), Value::Bool(true)),
            ])
        } else {
            path
        };
        (arguments.text(&self.name), value)
    }
}
