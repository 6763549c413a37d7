//! Every check and every test, in the order in which they fail soonest.

use std::{env, process::Command};

use anyhow::Result;

use crate::{
    ec2_lab, terraform, tidy,
    tools::{self, cargo, cargo_subcommand, command, system_program},
};

const NEXTEST: (&str, &str) = ("cargo-nextest", "0.9.143");
const DENY: (&str, &str) = ("cargo-deny", "0.20.2");

/// The program with EC2, which `cargo build` leaves out as its SDK takes minutes to compile.
const EC2: [&str; 2] = ["--features", "ganger/ec2"];

pub(crate) fn run() -> Result<()> {
    prerequisites()?;
    tools::run("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    tools::run(
        "lints",
        cargo(&["clippy", "--workspace", "--all-targets", "--locked"])
            .args(EC2)
            .args(["--", "-D", "warnings"]),
    )?;
    tools::run("workers for the tests", &mut command("python3", &["tests/python/venvs.py", "--ci"]))?;
    ec2_lab::image()?;
    tools::run("tests", cargo(&["nextest", "run", "--workspace", "--locked", "--profile", "ci"]).args(EC2))?;
    recorded_demand()?;
    terraform::run()?;
    tools::run("cloud-init user data", &mut command("python3", &["tests/python/test_cloud_init.py"]))?;
    tools::run(
        "examples in the documentation",
        cargo(&["test", "--doc", "--workspace", "--locked", "--quiet"]).args(EC2),
    )?;
    tools::run(
        "documentation",
        cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked", "--quiet"])
            .args(EC2)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    tools::run(
        "licences, sources, banned crates",
        &mut cargo(&["deny", "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]),
    )
}

pub(crate) fn run_long() -> Result<()> {
    prerequisites()?;
    tools::run("every worker version", &mut command("python3", &["tests/python/venvs.py", "--all"]))?;
    ec2_lab::image()?;
    tools::run(
        "tests with every worker version",
        cargo(&["nextest", "run", "--workspace", "--locked", "--profile", "ci"])
            .args(EC2)
            .env("GANGER_WORKERS", "all"),
    )?;
    tools::run(
        "an end at every commit",
        cargo(&["nextest", "run", "-p", "ganger", "--locked", "--profile", "long", "--test", "e2e"])
            .args(EC2)
            .arg("barriers::")
            .env("GANGER_BARRIERS", "all"),
    )?;
    ec2_lab::disk()?;
    ec2_lab::stock()?;
    // Of the whole workspace, so that nothing is compiled with other features than before.
    tools::run(
        "disks in an emulator: the machine image, and a stock system with cloud-init",
        cargo(&["nextest", "run", "--workspace", "--locked", "--profile", "long"]).args(EC2).args([
            "--test",
            "e2e",
            "--run-ignored",
            "only",
            "ec2::",
        ]),
    )?;
    second_ec2()?;
    tools::run("thousands of random worlds of pools", scenarios(&["chaos"]).env("GANGER_SEEDS", "4000"))
}

/// The provider's tests against an EC2 that shares nothing with moto, but for what that does not have.
fn second_ec2() -> Result<()> {
    let target = tools::target().join("fakecloud");
    tools::run(
        "a second EC2, by fakecloud",
        cargo(&["build", "--locked", "--manifest-path", "tests/fakecloud/Cargo.toml", "--target-dir"])
            .arg(&target),
    )?;
    // It has no other services than EC2, no DryRun, and few data of types.
    let lacks = "test(queue::) + test(parameter) + test(requirements::) + test(preflight)";
    tools::run(
        "machines of the second EC2",
        cargo(&["nextest", "run", "--workspace", "--locked", "--profile", "long"])
            .args(EC2)
            .args(["--test", "machines", "-E"])
            .arg(format!("package(ganger-provider-ec2) - ({lacks})"))
            .env("GANGER_EC2_SERVER", target.join("debug/ganger-fakecloud")),
    )
}

/// Pools on recorded demand, which is not part of the tree.
#[expect(clippy::print_stderr, reason = "what is not run is told to the person who runs the task")]
fn recorded_demand() -> Result<()> {
    if env::var_os("GANGER_TRACES").is_none() {
        eprintln!("==> pools on recorded demand: NOT RUN, GANGER_TRACES names no directory with recordings");
        return Ok(());
    }
    tools::run("pools on recorded demand", &mut scenarios(&["--run-ignored", "only", "s28"]))
}

/// The scenarios of pools that take long.
fn scenarios(args: &[&str]) -> Command {
    let mut run = cargo(&["nextest", "run", "-p", "ganger-pools", "--locked", "--profile", "long"]);
    run.args(["--test", "scenarios"]).args(args);
    run
}

pub(crate) fn advisories() -> Result<()> {
    cargo_subcommand(DENY.0, DENY.1)?;
    tools::run("known vulnerabilities", &mut cargo(&["deny", "check", "advisories"]))
}

fn prerequisites() -> Result<()> {
    system_program(&["git", "--version"], "git")?;
    system_program(&["python3", "-c", "import ensurepip, venv"], "python3-venv")?;
    system_program(&["dockerd", "--version"], "docker.io")?;
    system_program(&["docker-registry", "--version"], "docker-registry")?;
    system_program(&["podman", "--version"], "podman")?;
    system_program(&["busybox", "true"], "busybox-static")?;
    system_program(&["strace", "--version"], "strace")?;
    // `kill` is in it as well.
    system_program(&["ps", "--version"], "procps")?;
    system_program(&["sh", "-c", "command -v initdb || ls /usr/lib/postgresql/*/bin/initdb"], "postgresql")?;
    cargo_subcommand(NEXTEST.0, NEXTEST.1)?;
    cargo_subcommand(DENY.0, DENY.1)
}
