//! PostgreSQL servers for tests: clusters that are made, used and thrown away, reached by a Unix socket.

use std::{
    fs::File,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The role that owns everything.
pub const USER: &str = "ganger";

/// The variable that names the socket of the shared cluster to processes that tests start.
pub const SHARED: &str = "GANGER_SHARED_POSTGRES";

const SOCKET_PORT: u16 = 5432;

/// Ends the server when the process whose number is `$0` is gone; `$1` is the directory of the cluster.
const WATCH: &str = r#"while kill -0 "$0" 2>/dev/null; do sleep 1; done
kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; rm -rf "$1" "$1.lock""#;

/// A server and its data.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    /// Where it speaks TLS; 0 where it does not.
    port: u16,
    /// Ended and removed with this value.
    own: Option<tempfile::TempDir>,
}

impl Cluster {
    /// The cluster that all tests of this run share; the first to ask starts it. It ends with the run.
    ///
    /// # Errors
    ///
    /// PostgreSQL is not installed, or does not start.
    pub fn shared() -> Result<Self> {
        if let Some(directory) = std::env::var_os(SHARED) {
            return Ok(Self { directory: directory.into(), port: 0, own: None });
        }
        // Each test may be a process of its own, but all have the same parent.
        let run = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
        let directory = std::env::temp_dir().join(format!("ganger-postgres-{run}"));
        let lock = File::create(directory.with_extension("lock"))?;
        lock.lock()?;
        if !directory.join("ready").exists() {
            std::fs::remove_dir_all(&directory).ok();
            std::fs::create_dir(&directory)?;
            make(&directory)?;
            start(&directory, 0)?;
            let mut watch = Command::new("sh");
            watch.args(["-c", WATCH]).arg(run.to_string()).arg(&directory).current_dir("/");
            watch
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()?;
            File::create(directory.join("ready"))?;
        }
        Ok(Self { directory, port: 0, own: None })
    }

    /// A cluster of the caller's own, to be ended and started again.
    ///
    /// # Errors
    ///
    /// PostgreSQL is not installed, or does not start.
    pub fn start() -> Result<Self> {
        let cluster = Self::make_own()?;
        cluster.start_again()?;
        Ok(cluster)
    }

    fn make_own() -> Result<Self> {
        let own = tempfile::Builder::new().prefix("ganger-postgres-own").tempdir()?;
        let directory = own.path().to_owned();
        make(&directory)?;
        Ok(Self { directory, port: 0, own: Some(own) })
    }

    /// A cluster of the caller's own that speaks TLS with this certificate and key (PEM) on `localhost`, and asks who comes
    /// from there for passwords.
    ///
    /// # Errors
    ///
    /// PostgreSQL is not installed, or does not start.
    pub fn start_with_tls(certificate: &str, key: &str) -> Result<Self> {
        let mut cluster = Self::make_own()?;
        let data = cluster.directory.join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            give(&path)?;
        }
        std::fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all all scram-sha-256\n")?;
        cluster.port = std::net::TcpListener::bind("localhost:0")?.local_addr()?.port();
        cluster.start_again()?;
        Ok(cluster)
    }

    /// The port on `localhost`, of a cluster that speaks TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its socket, whose port is 5432 unless it speaks TLS.
    pub fn socket(&self) -> &Path {
        &self.directory
    }

    /// Makes a database unless it is there. Names are letters, digits and underscores.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub fn database(&self, name: &str) -> Result<()> {
        let found =
            self.sql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'"))?;
        if found.trim() == "0" {
            self.sql("postgres", &format!("CREATE DATABASE \"{name}\""))?;
        }
        Ok(())
    }

    /// Runs statements in a database; gives back what they answer, columns with `|` between them.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses one of them.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let output = Command::new(program("psql")?)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database, "-h"])
            .arg(&self.directory)
            .args(["-p", &(if self.port == 0 { SOCKET_PORT } else { self.port }).to_string()])
            .args(["-c", statements])
            .output()?;
        if !output.status.success() {
            bail!("{statements}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends the server as a crash would, if it runs.
    ///
    /// # Errors
    ///
    /// It cannot be ended.
    pub fn kill(&self) -> Result<()> {
        pg_ctl(&self.directory, &["-m", "immediate", "stop"]).map(drop)
    }

    /// Starts the server again.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn start_again(&self) -> Result<()> {
        start(&self.directory, self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.own.is_some() {
            // It may have been ended already.
            self.kill().ok();
        }
    }
}

/// A program of PostgreSQL; Debian has those of the server in a directory of their own.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    let found = versions.into_iter().rev().chain(std::env::split_paths(&path)).map(|bin| bin.join(name));
    found.into_iter().find(|path| path.exists()).with_context(|| {
        format!("there is no `{name}`: install PostgreSQL (Debian: apt-get install postgresql)")
    })
}

/// A program that may not be root, as the server refuses to be: then it is the system's user for it.
fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let mut command = Command::new(program);
    if let Some((user, group)) = user()? {
        command.uid(user).gid(group);
    }
    command.current_dir("/").env_remove("PGDATA").env_remove("PGHOST").env("LC_ALL", "C.UTF-8");
    Ok(command)
}

fn user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        let id = |kind| -> Result<u32> {
            let output = Command::new("id").args([kind, name]).output()?;
            Ok(String::from_utf8(output.stdout)?.trim().parse()?)
        };
        if let (Ok(user), Ok(group)) = (id("-u"), id("-g")) {
            return Ok(Some((user, group)));
        }
    }
    bail!("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
}

/// Makes a file the server's.
fn give(path: &Path) -> Result<()> {
    if let Some((user, group)) = user()? {
        std::os::unix::fs::chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

fn make(directory: &Path) -> Result<()> {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    give(directory)?;
    let mut initdb = as_user(program("initdb")?)?;
    initdb.args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"]);
    succeed(initdb.arg(directory.join("data")))
}

fn start(directory: &Path, port: u16) -> Result<()> {
    let data = directory.join("data");
    let listen = match port {
        0 => format!("-p {SOCKET_PORT} -c listen_addresses=''"),
        port => format!("-p {port} -c listen_addresses=localhost -c ssl=on"),
    };
    // Nothing here outlives the machine, so the disk need not be waited for.
    let options = format!("-k {} {listen} -c fsync=off -c max_connections=200", directory.display());
    let log = directory.join("data").join("server.log");
    let mut pg_ctl = as_user(program("pg_ctl")?)?;
    pg_ctl.arg("-D").arg(&data).arg("-l").arg(&log).args(["-w", "-o", &options, "start"]);
    // The server inherits what is open, and must not keep whoever reads from us waiting.
    pg_ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !pg_ctl.status()?.success() {
        bail!("PostgreSQL does not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
    }
    Ok(())
}

fn pg_ctl(directory: &Path, args: &[&str]) -> Result<()> {
    succeed(as_user(program("pg_ctl")?)?.arg("-D").arg(directory.join("data")).args(args))
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
