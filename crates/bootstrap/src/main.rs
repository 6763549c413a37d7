//! Makes a machine the worker of a pool.
//!
//! It is in the machine's image and starts with it. From the instance's metadata it learns whose the machine is; it enrolls
//! with the master, writes the configuration of a stock `buildbot-worker`, and runs that as a user that can reach neither
//! the metadata nor this program's secrets. Then it watches: the market that takes the machine back, a master that is gone
//! for good, a workspace that fills the disk. `docs/bootstrap.md` is for people.

mod clean;
mod document;
mod enroll;
mod guard;
mod http;
mod metadata;
mod options;
mod pinned;
mod power;
mod process;
mod report;
mod say;
mod supervise;
mod user;
mod watch;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Command, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    let part = match &options.command {
        Some(Command::Reach { address }) => return guard::reach(address),
        Some(Command::Furnish { directory }) => Some(worker::write_files(directory)),
        Some(Command::Clean { directory }) => Some(clean::empty(directory)),
        None => None,
    };
    match part {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => {
            say::error(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
        None => {}
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say::line(format_args!("cannot begin: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(supervise::run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::line(format_args!("{}", say::causes(&error)));
            ExitCode::FAILURE
        }
    }
}
