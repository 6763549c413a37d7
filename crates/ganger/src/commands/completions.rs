//! `ganger completions`.

use std::io::Write;

use clap::{Args, CommandFactory};

use crate::{
    cli::Cli,
    exit::{Exit, Failure},
};

/// Print a completion script for a shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints the script.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ganger", &mut script);
        std::io::stdout().lock().write_all(&script)?;
        Ok(Exit::Ok)
    }
}
