//! `ganger new`.

use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::CONFIGURATION;
use crate::{
    exit::{Exit, Failure},
    output::{self, strong},
};

/// The example that every user starts from; tests load it.
const EXAMPLE: &str = include_str!("../../../../examples/first.toml");

/// Make a directory with a commented ganger.toml to start from.
#[derive(Args, Debug)]
pub(crate) struct New {
    /// The directory; it is made when it is not there.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl New {
    /// Writes the example, but over nothing.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let directory = self.directory.display();
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {directory}"))
            .map_err(|error| Failure::new(Exit::CannotCreate, error))?;
        let path = self.directory.join(CONFIGURATION);
        write_new(&path, EXAMPLE)?;
        output::text(format_args!("wrote {}", path.display()))?;
        output::text(format_args!(
            "  read it, change it, then: {}",
            strong(format!("ganger check {directory}"))
        ))?;
        output::text(format_args!(
            "  and start the master:      {}",
            strong(format!("ganger start {directory}"))
        ))?;
        Ok(Exit::Ok)
    }
}

/// Writes a file that was not there. It may hold passwords, so only its owner can read it.
pub(crate) fn write_new(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    let shown = path.display();
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::text(
            Exit::CannotCreate,
            format!("{shown} is already there, and nothing was changed"),
        )
        .advise("name another directory, or remove the file first")),
        Err(error) => Err(Failure::new(
            Exit::CannotCreate,
            anyhow::Error::new(error).context(format!("cannot write {shown}")),
        )),
    }
}
