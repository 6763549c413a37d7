//! The program: it reads the command line, runs one command, and ends with a documented exit code.

mod cli;
mod commands;
mod control;
mod desk;
mod enrollment;
mod exit;
mod janitor;
mod local_workers;
mod output;
mod password;
mod providers;
mod quickstart;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{
    cli::Cli,
    exit::{Exit, Failure},
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own code for a wrong command line is 2.
            return if error.print().is_err() || error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    cli.color.write_global();
    match commands::run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) if output::is_broken_pipe(&failure) => Exit::Ok.into(),
        Err(failure) => {
            // When even standard error is gone, the exit code is all that is left to say.
            let _gone = report(&failure);
            failure.exit().into()
        }
    }
}

fn report(failure: &Failure) -> std::io::Result<()> {
    let mut stderr = anstream::stderr().lock();
    writeln!(stderr, "{}: {failure}", output::bad("error"))?;
    if let Some(advice) = failure.advice() {
        writeln!(stderr, "  {advice}")?;
    }
    Ok(())
}
