//! How a machine's process is started.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, ChildStdin, Command};

use crate::{
    Settings, SettingsError,
    fate::{End, Fate},
    machine::Owner,
    process::{self, BOOT_ID},
    record::Boot,
};

/// Waits until the process is in the record, and for as long as it is told to; then becomes the worker. When the master
/// dies before it says so, there is an end of the input and no worker. `$1` is the time to wait, `$2` the time after which
/// it is to die; 0 is not at all.
const BOOT: &str = r#"
read -r go && [ "$go" = go ] || exit 1
exec </dev/null
rm -f twistd.pid
[ "$1" = 0 ] || sleep "$1" || exit 1
[ "$2" = 0 ] || { sleep "$2"; kill -9 $$; } &
shift 2
exec "$@"
"#;

/// What stands in for the worker on a machine that is to fail.
const FAIL: &str = "echo 'this machine was told to fail as it boots'; exit 1";

/// What stands in for the worker on a machine that is to hang.
const HANG: &str = "echo 'this machine was told to hang'; while :; do sleep 3600; done";

/// Variables that workers have as the master has them.
const INHERITED: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];

/// What processes are started with.
#[derive(Debug)]
pub(crate) struct Starter {
    setsid: PathBuf,
    shell: PathBuf,
    worker: PathBuf,
    owner: Option<Owner>,
    host: String,
}

/// A process that waits for [`Started::go`].
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) boot: Boot,
    pub(crate) child: Child,
    input: ChildStdin,
}

impl Starter {
    /// Looks for the programs and the user. Blocks.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            setsid: find(Path::new("setsid"))?,
            shell: find(Path::new("sh"))?,
            worker: find(&settings.program)?,
            owner: settings.user.as_deref().map(owner).transpose()?,
            host: process::host_boot().map_err(SettingsError::Proc)?,
        })
    }

    /// All that [`Starter::new`] could stop at.
    pub(crate) fn problems(settings: &Settings) -> Vec<SettingsError> {
        let programs = [Path::new("setsid"), Path::new("sh"), &settings.program];
        let programs = programs.into_iter().filter_map(|program| find(program).err());
        let owner = settings.user.as_deref().and_then(|user| owner(user).err());
        programs.chain(owner).chain(process::host_boot().map_err(SettingsError::Proc).err()).collect()
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// The host's own boot.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Starts a process that waits. Needs a runtime around it.
    pub(crate) fn start(
        &self,
        settings: &Settings,
        home: &Path,
        console: File,
        fate: Fate,
    ) -> io::Result<Started> {
        let id = random_id()?;
        let mut command = Command::new(&self.setsid);
        let die = if let End::Vanishes(after) = fate.end { seconds(after) } else { "0".to_owned() };
        command.arg(&self.shell).args(["-c", BOOT, "machine", &seconds(fate.boot), &die]);
        match fate.end {
            End::Well | End::Vanishes(_) => {
                command.arg(&self.worker).args(["start", "--nodaemon"]).arg(home);
            }
            End::Fails => {
                command.arg(&self.shell).args(["-c", FAIL]);
            }
            End::Hangs => {
                command.arg(&self.shell).args(["-c", HANG]);
            }
        }
        // The master's own environment may hold secrets.
        command.env_clear().env("LC_ALL", "C.UTF-8");
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", home).envs(&settings.environment).env(BOOT_ID, &id);
        if let Some(Owner { uid, gid }) = self.owner {
            command.uid(uid).gid(gid);
        }
        let mut child = command
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.setsid.display())))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let (Some(pid), Some(input)) = (pid, child.stdin.take()) else {
            return Err(io::Error::other("a process ended before it began"));
        };
        let started =
            process::started(pid).ok_or_else(|| io::Error::other("a process ended before it began"))?;
        Ok(Started { boot: Boot { id, pid, started, host: self.host.clone() }, child, input })
    }
}

impl Started {
    /// Lets it go on, now that it is in the record. Blocks for no time: the pipe is empty.
    pub(crate) fn go(self) -> io::Result<Child> {
        let input: OwnedFd = self.input.into_owned_fd()?;
        File::from(input).write_all(b"go\n")?;
        Ok(self.child)
    }
}

fn seconds(time: std::time::Duration) -> String {
    if time.is_zero() { "0".to_owned() } else { format!("{:.3}", time.as_secs_f64()) }
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| io::Error::other(format!("the system has no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A program's absolute path.
fn find(program: &Path) -> Result<PathBuf, SettingsError> {
    let is_program = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let missing =
        |place: &str| SettingsError::Program { program: program.to_owned(), place: place.to_owned() };
    if program.components().count() > 1 {
        let path = std::path::absolute(program).map_err(|_| missing(""))?;
        return if is_program(&path) { Ok(path) } else { Err(missing(", or cannot be run")) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_absolute() && is_program(path))
        .ok_or_else(|| missing(" in any directory of PATH"))
}

/// A user and its group, by whatever the system knows users from.
fn owner(user: &str) -> Result<Owner, SettingsError> {
    let refuse = |problem: &str| SettingsError::User { user: user.to_owned(), problem: problem.to_owned() };
    if user.is_empty() || user.starts_with('-') {
        return Err(refuse("that is no name"));
    }
    let ask = |what: &str| {
        let output = std::process::Command::new("id").args([what, "--", user]).output();
        let number = output.ok().filter(|output| output.status.success())?;
        String::from_utf8(number.stdout).ok()?.trim().parse::<u32>().ok()
    };
    let (Some(uid), Some(gid)) = (ask("-u"), ask("-g")) else {
        return Err(refuse("there is none of that name"));
    };
    let own = rustix::process::geteuid();
    if !own.is_root() && own.as_raw() != uid {
        return Err(refuse("only a master that runs as root can start processes of another user"));
    }
    Ok(Owner { uid, gid })
}
