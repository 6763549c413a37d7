//! The program in machine images, linked statically.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::tools;

/// Builds it, and says where it is.
#[expect(clippy::print_stdout, reason = "other programs read where it is")]
pub(crate) fn run() -> Result<()> {
    let program = build()?;
    let size = fs::metadata(&program).with_context(|| format!("no {}", program.display()))?.len();
    println!("{} ({} KiB)", program.display(), size / 1024);
    Ok(())
}

/// Builds it with glibc: the standard library for musl is not part of every installation of Rust.
pub(crate) fn build() -> Result<PathBuf> {
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let mut build = tools::cargo(&[
        "build",
        "--locked",
        "--profile",
        "bootstrap",
        "--package",
        "ganger-bootstrap",
        "--target",
        &triple,
    ]);
    tools::run("ganger-bootstrap", build.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(tools::target().join(&triple).join("bootstrap").join("ganger-bootstrap"))
}
