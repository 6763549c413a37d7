//! Running other programs, and getting those that are not there.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command that runs at the root.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// `cargo`, the one that runs this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = command(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), args);
    let tools = tools_dir().join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let paths = [tools].into_iter().chain(env::split_paths(&path));
    if let Ok(path) = env::join_paths(paths) {
        command.env("PATH", path);
    }
    command
}

/// Runs a command to its end, under a heading that says what it is for.
#[expect(clippy::print_stderr, reason = "progress is for the person who runs the task")]
pub(crate) fn run(title: &str, command: &mut Command) -> Result<()> {
    eprintln!("==> {title}");
    let start = Instant::now();
    let status =
        command.status().with_context(|| format!("{title}: cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{title}: {:?} ended with {status}", command.get_program());
    }
    eprintln!("    {title}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn tools_dir() -> PathBuf {
    root().join("target").join("tools")
}

/// Makes sure that a cargo subcommand is there; builds the pinned version otherwise.
pub(crate) fn cargo_subcommand(name: &str, version: &str) -> Result<()> {
    let short = name.trim_start_matches("cargo-");
    if succeeds(&mut cargo(&[short, "--version"])) {
        return Ok(());
    }
    let tools = tools_dir();
    run(
        &format!("install {name} {version}"),
        cargo(&["install", "--locked", "--version", version, name]).arg("--root").arg(tools),
    )
}

/// Makes sure that a program is there; installs its Debian package where that is possible.
pub(crate) fn system_program(probe: &[&str], package: &str) -> Result<()> {
    let [program, args @ ..] = probe else { bail!("a probe names its program") };
    if succeeds(&mut command(program, args)) {
        return Ok(());
    }
    if !succeeds(&mut command("apt-get", &["--version"])) {
        bail!("`{}` does not work: please install what Debian calls {package}", probe.join(" "));
    }
    let update = run("apt-get update", &mut command("apt-get", &["update", "-qq"]));
    update.and_then(|()| {
        run(
            &format!("apt-get install {package}"),
            command("apt-get", &["install", "-y", "-qq", "--no-install-recommends", package])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    })
}
