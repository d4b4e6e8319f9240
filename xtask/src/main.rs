//! The commands of the project: set-up, run, test, bench.
//!
//! Nothing here is part of the product. Each command first brings the machine to where it can do
//! its work (`setup`), so a fresh clone needs no other instructions.
#![expect(clippy::print_stdout, reason = "a command-line program whose output is its purpose")]

mod bench;
mod process;
mod run;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of Countersign's workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what this machine lacks to build, run or test; does nothing the second time
    Setup(setup::Options),
    /// Build the agent and start the daemon (as root); arguments after `--` go to `countersign run`
    Run(run::Options),
    /// Run every suite, or the named ones, and print what passed
    Test(test::Options),
    /// Measure what the agent costs: as ratios with the agent off and on, and the replay of a capture
    Bench(bench::Options),
    /// A part of `bench memory`
    #[command(hide = true)]
    HoldConnections(bench::HolderOptions),
    /// A part of `bench replay`
    #[command(hide = true)]
    MeasureChild(bench::MeasuredOptions),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup(options) => setup::setup(&options).map(|()| true),
        Command::Run(options) => run::run(&options).map(|()| true),
        Command::Test(options) => test::test(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::HoldConnections(options) => bench::hold(&options).map(|()| true),
        Command::MeasureChild(options) => bench::measure_child(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
