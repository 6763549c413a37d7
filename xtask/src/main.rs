//! Everything that is automated in this workspace: `cargo xtask --help`.

mod bootstrap;
mod ci;
mod ec2_lab;
mod fixtures;
mod policy;
mod terraform;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything that is automated in this workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check and every test, and install what they need
    Ci,
    /// Run the tests with every worker version that can run here, and thousands of random worlds of pools; takes long
    Long,
    /// Check the rules that no compiler checks: who may depend on whom, file sizes, where versions stand
    Tidy,
    /// Build the program in machine images, linked statically
    Bootstrap,
    /// Run an EC2 on this machine, whose instances really boot the worker's image, until Ctrl-C. Needs root
    Ec2Lab {
        #[command(subcommand)]
        only: Option<OfLab>,
    },
    /// Record the protocol fixtures again, from real masters and workers
    Fixtures,
    /// Apply the Terraform module of the examples to an emulated EC2
    Terraform,
    /// Look for known vulnerabilities in dependencies; needs the network
    Advisories,
}

#[derive(Subcommand)]
enum OfLab {
    /// Only build the image, unless it is there
    Image,
    /// Only build the image as a disk that an emulator boots
    Disk,
    /// Only build a stock system with cloud-init, as a disk that an emulator boots
    Stock,
    /// Run a master on it, and show what its pool does with a burst of requests
    Quickstart,
}

#[expect(clippy::print_stderr, reason = "this is where errors are told")]
fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Ci => ci::run(),
        Task::Long => ci::run_long(),
        Task::Tidy => tidy::run(),
        Task::Bootstrap => bootstrap::run(),
        Task::Ec2Lab { only: None } => ec2_lab::run(),
        Task::Ec2Lab { only: Some(OfLab::Image) } => ec2_lab::image(),
        Task::Ec2Lab { only: Some(OfLab::Disk) } => ec2_lab::disk(),
        Task::Ec2Lab { only: Some(OfLab::Stock) } => ec2_lab::stock(),
        Task::Ec2Lab { only: Some(OfLab::Quickstart) } => ec2_lab::quickstart(),
        Task::Fixtures => fixtures::run(),
        Task::Terraform => terraform::run(),
        Task::Advisories => ci::advisories(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
