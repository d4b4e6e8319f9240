//! `cargo xtask run`: from a clone to a running daemon.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Purpose};
use crate::{process, workspace};

/// What `run` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Arguments of `countersign run`, for instance `-- --metrics-listen 127.0.0.1:19965`
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Sets up, builds, and becomes `countersign run`; returns only if that is impossible.
pub fn run(options: &Options) -> Result<()> {
    // Before the build: who cannot run the agent should not wait for it.
    if !process::is_root() {
        bail!("the agent loads kernel programs: run `cargo xtask run` as root");
    }
    setup::prepare(Purpose::Run)?;
    build_agent()?;
    let agent = workspace::agent_binary();
    println!("==> {} run", agent.display());
    let failure = Command::new(&agent).arg("run").args(&options.arguments).exec();
    Err(failure).with_context(|| format!("cannot start {}", agent.display()))
}

/// Builds the agent as it is shipped.
pub fn build_agent() -> Result<()> {
    process::timed("build the agent", || {
        process::run(process::cargo().args(["build", "--release", "--package", "countersign"]))
    })
}
