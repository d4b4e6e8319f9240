//! The command line: what was typed, done.
//!
//! Enters: arguments. Leaves: text or JSON lines on standard output, complaints on standard error, an exit code
//! ([`Exit`]). Refuses: printing text that others chose without making it visible, and guessing what was meant.
//!
//! `main → run → ExitCode`: [`run`] parses into `Arguments` (what was typed), each command turns its part into what
//! it means. The kernel's and the daemon's parts come in as a [`Program`], so that all of this runs in tests.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{Config, ConfigLoader};
use crate::display::display_safe;
use crate::logging::Logging;
use crate::record::LibraryFileRecord;

mod answer;
mod arguments;
mod ask;
mod ask_examples;
mod check;
mod configuration;
mod graph;
mod graph_tables;
mod identities;
mod interruption;
mod libraries;
mod list;
mod list_arguments;
mod manual;
mod outcome;
mod output;
mod pem_folder;
mod prose;
mod replay;
mod replay_output;
mod rows;
mod run;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod watch;
mod workloads;

pub use arguments::{Arguments, Command};
pub use check::{CHECK_SCHEMA, CheckRow, CheckStatus};
pub use outcome::{Exit, Failure};

/// What the commands need from the rooms that do the work.
#[derive(Clone, Copy)]
pub struct Program {
    /// What works on this host.
    pub preflight: fn(&Config) -> Vec<CheckRow>,
    /// TLS libraries that processes of this host use, seen without a daemon.
    pub libraries: fn() -> std::io::Result<Vec<LibraryFileRecord>>,
    /// Runs until SIGTERM.
    pub daemon: fn(DaemonStart) -> anyhow::Result<()>,
}

/// What the daemon starts with.
#[derive(Debug)]
pub struct DaemonStart {
    /// Checked, with the flags applied.
    pub config: Config,
    /// Reads it again at SIGHUP.
    pub loader: ConfigLoader,
    /// Is running already.
    pub logging: Logging,
}

/// Does what the arguments say; the first is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, program: &Program) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; a reader that has left wants neither.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Success });
        }
    };
    match execute(arguments.command, program) {
        Ok(exit) => exit.into(),
        // Whoever reads has seen enough (`| head`).
        Err(Failure::BrokenPipe) => Exit::Success.into(),
        Err(failure) => {
            // A verifier's log has many lines: they stay lines.
            let text = failure.to_string();
            let lines: Vec<_> = text.lines().map(display_safe).collect();
            let _ = writeln!(std::io::stderr(), "countersign: {}", lines.join("\n"));
            failure.exit().into()
        }
    }
}

fn execute(command: Command, program: &Program) -> Result<Exit, Failure> {
    match command {
        Command::Check(arguments) => check::check(&arguments, program),
        Command::Run(arguments) => run::run(arguments, program),
        Command::Watch(arguments) => watch::watch(&arguments),
        Command::Workloads(arguments) => workloads::list(*arguments),
        Command::Identities(arguments) => identities::list(&arguments),
        Command::Ask(command) => ask::ask(command),
        Command::BlastRadius(arguments) => graph::blast_radius(*arguments),
        Command::Report(arguments) => graph::write_report(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Config(arguments) => configuration::configuration(&arguments.command),
        Command::Completion(arguments) => manual::completion(arguments.shell),
        Command::Man => manual::manual(),
    }
}
