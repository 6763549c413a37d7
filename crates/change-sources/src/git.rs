//! Git as a child process.
//!
//! Each run is in a process group of its own, which is killed when the run takes too long, says too much or is not wanted
//! any more: a git that hangs in ssh or a helper leaves nothing behind. Nobody is ever asked for a password.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

/// How much git may say on standard output, in bytes.
const MAX_OUTPUT: u64 = 64 << 20;
/// How much of its complaints is kept, in bytes.
const MAX_COMPLAINT: usize = 2048;

/// Why git did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// It could not be run.
    #[error("cannot run {program}")]
    Run {
        /// What was to be run.
        program: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It ended with an error.
    #[error("git {command} ended with {status}: {complaint}")]
    Failed {
        /// What it was to do.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        complaint: String,
    },
    /// It was killed because it took too long.
    #[error("git {command} was killed after {} s without an end", .after.as_secs())]
    Timeout {
        /// What it was to do.
        command: String,
        /// How long it had.
        after: Duration,
    },
    /// It was killed because it said too much.
    #[error("git {command} was killed because it wrote more than {MAX_OUTPUT} bytes")]
    TooMuch {
        /// What it was to do.
        command: String,
    },
}

/// How git is run.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    pub(crate) program: PathBuf,
    /// The bare repository that it works in.
    pub(crate) directory: PathBuf,
    /// How long a run may take.
    pub(crate) timeout: Duration,
    /// Environment that credentials need.
    pub(crate) env: Vec<(String, OsString)>,
}

impl Git {
    /// Runs git with `args` in its repository, and `input` as its standard input: what it writes.
    pub(crate) async fn run(&self, args: &[&str], input: &str) -> Result<String, GitError> {
        self.run_in(Some(&self.directory), args, input).await
    }

    /// Makes the repository, if it is not there.
    pub(crate) async fn init(&self) -> Result<(), GitError> {
        let directory = self.directory.to_string_lossy().into_owned();
        self.run_in(None, &["init", "--quiet", "--bare", "--", &directory], "").await.map(drop)
    }

    async fn run_in(&self, within: Option<&Path>, args: &[&str], input: &str) -> Result<String, GitError> {
        let name = args.first().copied().unwrap_or_default().to_owned();
        let mut command = Command::new(&self.program);
        if let Some(within) = within {
            command.arg("--git-dir").arg(within);
        }
        // Tidying up is part of the run, so that it is bounded like the run.
        command.args(["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"]);
        command
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env("LC_ALL", "C")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let program = || self.program.display().to_string();
        let mut child = Group(command.spawn().map_err(|cause| GitError::Run { program: program(), cause })?);
        match tokio::time::timeout(self.timeout, child.talk(input)).await {
            Err(_) => Err(GitError::Timeout { command: name, after: self.timeout }),
            Ok(Err(cause)) => Err(GitError::Run { program: program(), cause }),
            Ok(Ok(None)) => Err(GitError::TooMuch { command: name }),
            Ok(Ok(Some((status, output, complaint)))) if status.success() => {
                tracing::trace!(command = name, complaint, "git has run");
                Ok(output)
            }
            Ok(Ok(Some((status, _, complaint)))) => {
                let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(GitError::Failed { command: name, status, complaint })
            }
        }
    }
}

/// A child with all that it has started; killed when it is dropped.
struct Group(Child);

impl Group {
    /// Status, output and complaint; `None` when it writes too much.
    async fn talk(&mut self, input: &str) -> io::Result<Option<(ExitStatus, String, String)>> {
        let (stdin, stdout, stderr) = (self.0.stdin.take(), self.0.stdout.take(), self.0.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // Whoever does not read its input says why by its status.
                stdin.write_all(input.as_bytes()).await.ok();
            }
        };
        let ((), output, complaint) = tokio::join!(write, read(stdout), complain(stderr));
        let Some(output) = output? else { return Ok(None) };
        let status = self.0.wait().await?;
        Ok(Some((status, output, complaint)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not after it was waited for: its id may be somebody else's by then.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process_group(id, Signal::KILL).ok();
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> io::Result<Option<String>> {
    let Some(from) = from else { return Ok(Some(String::new())) };
    let mut bytes = Vec::new();
    from.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await?;
    Ok((bytes.len() as u64 <= MAX_OUTPUT).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The end of what it complains about; the rest is read and forgotten.
async fn complain(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let surplus = kept.len().saturating_sub(MAX_COMPLAINT);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
