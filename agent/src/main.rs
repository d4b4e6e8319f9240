//! The `countersign` program.

use std::process::ExitCode;

use countersign::cli::{self, CheckRow, CheckStatus, DaemonStart, Program};
use countersign::config::Config;

fn main() -> ExitCode {
    // The rooms that do the work come in here, and only here.
    let program = Program { finding_codes: FINDING_CODES, preflight, daemon };
    cli::run(std::env::args_os(), &program)
}

const FINDING_CODES: &[&str] = &[
    "unauthenticated_east_west",
    "server_only_tls_east_west",
    "client_certificate_requested_not_sent",
    "deprecated_tls_version",
    "expired_certificate_accepted",
    "not_yet_valid_certificate_accepted",
    "exception_expired",
];

fn preflight(_config: &Config) -> Vec<CheckRow> {
    vec![CheckRow {
        name: "kernel".to_owned(),
        status: CheckStatus::Missing,
        detail: "this build has no kernel programs".to_owned(),
        remedy: None,
    }]
}

fn daemon(_start: DaemonStart) -> anyhow::Result<()> {
    anyhow::bail!("this build has no kernel programs")
}
