//! `cargo xtask setup`: brings a machine to where it can build, run and test.
//!
//! In: what the machine has. Out: a plan of steps, printed by `--dry-run` and carried out otherwise.
//! A second run finds nothing to do. It starts no service, removes no package, and touches nothing
//! outside the package manager, cargo's folder and `target/`. Where it cannot help (not Debian, not
//! root) it says what to install.

mod debian;
mod kernels;
mod peers;
mod toolchain;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::process;

/// What `setup` takes.
#[derive(clap::Args)]
pub struct Options {
    /// What the machine shall be able to do
    #[arg(long = "for", value_name = "PURPOSE", default_value = "test")]
    purpose: Purpose,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What the machine shall be able to do; each includes the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Purpose {
    /// Build and run the agent
    Run,
    /// Also run every test and the benchmark: real peers, real kernels
    Test,
    /// Also run the tests in full (`test --full`)
    FullTest,
}

/// One thing that is missing, and how it comes here.
pub struct Step {
    /// What it does, with the names of what it installs.
    pub title: String,
    action: Box<dyn FnOnce() -> Result<()>>,
}

impl Step {
    fn new(title: String, action: impl FnOnce() -> Result<()> + 'static) -> Self {
        Self { title, action: Box::new(action) }
    }
}

/// Carries out `cargo xtask setup`.
pub fn setup(options: &Options) -> Result<()> {
    let steps = plan(options.purpose)?;
    if steps.is_empty() {
        println!("setup: nothing is missing");
        return Ok(());
    }
    if options.dry_run {
        println!("setup would:");
        for step in &steps {
            println!("  {}", step.title);
        }
        return Ok(());
    }
    carry_out(steps)?;
    // What was installed may not be what was needed: an old version, a broken mirror.
    let left = plan(options.purpose)?;
    if let Some(step) = left.first() {
        bail!("set-up ran, and this is still missing: {}", step.title);
    }
    Ok(())
}

/// The same for the other commands: quiet when nothing is missing.
pub fn prepare(purpose: Purpose) -> Result<()> {
    let steps = plan(purpose)?;
    if steps.is_empty() {
        return Ok(());
    }
    carry_out(steps)
}

fn plan(purpose: Purpose) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let route = toolchain::route()?;
    let mut packages = route.packages();
    if purpose >= Purpose::Test {
        packages.extend_from_slice(debian::TEST_PACKAGES);
    }
    steps.extend(debian::missing(&packages)?);
    steps.extend(route.linker());
    if purpose >= Purpose::Test {
        steps.extend(kernels::missing()?);
        steps.extend(peers::missing(purpose));
        steps.extend(toolchain::dependency_checker());
    }
    Ok(steps)
}

fn carry_out(steps: Vec<Step>) -> Result<()> {
    for step in steps {
        process::timed(&step.title, step.action)?;
    }
    Ok(())
}
