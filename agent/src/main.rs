//! The `countersign` program.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use countersign::cli::{self, CheckRow, CheckStatus, DaemonStart, Program};
use countersign::config::Config;
use countersign::discovery::Discovery;
use countersign::record::LibraryFileRecord;
use countersign::{daemon, kernel};

fn main() -> ExitCode {
    // The rooms that do the work come in here, and only here.
    cli::run(std::env::args_os(), &Program { preflight, libraries, daemon: start })
}

fn preflight(config: &Config) -> Vec<CheckRow> {
    kernel::preflight(&daemon::kernel_options(config)).into_iter().map(row).collect()
}

fn libraries() -> std::io::Result<Vec<LibraryFileRecord>> {
    let mut discovery = Discovery::new(Path::new("/proc"), usize::MAX);
    for pid in discovery.processes()? {
        // One that has ended since has no libraries.
        let _ = discovery.look(pid, Instant::now(), &mut |_| {});
    }
    Ok(discovery.rows())
}

fn row(check: kernel::Check) -> CheckRow {
    CheckRow {
        name: check.name.to_owned(),
        status: match check.status {
            kernel::CheckStatus::Works => CheckStatus::Works,
            kernel::CheckStatus::Degraded => CheckStatus::Degraded,
            kernel::CheckStatus::Missing => CheckStatus::Missing,
            kernel::CheckStatus::Limit => CheckStatus::Limit,
        },
        detail: check.detail,
        remedy: check.remedy,
    }
}

fn start(start: DaemonStart) -> anyhow::Result<()> {
    let DaemonStart { config, loader, logging } = start;
    Ok(daemon::run(&config, logging, || loader.load())?)
}
