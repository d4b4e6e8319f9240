//! What one run of a program costs, by the system's books of ended children.
//!
//! Those books hold the largest memory of *any* child, and the child before may have been a compiler. So
//! `cargo xtask` starts itself again, and that process has a single child. The same process binds itself, and with
//! it the child, to one processor.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::process;

/// Any one; the last of two is as good as the first.
const PROCESSOR: usize = 1;

/// A program and its arguments.
#[derive(clap::Args)]
pub struct Options {
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// What a run costs.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Measured {
    /// Seconds of processor time in the program.
    pub user: f64,
    /// Seconds of processor time in the kernel for it.
    pub system: f64,
    /// Seconds on the clock.
    pub elapsed: f64,
    /// Largest resident memory in bytes. Never less than what this small process has: a child begins as its copy.
    pub peak: u64,
}

impl Measured {
    /// Seconds of processor time.
    pub fn processor(&self) -> f64 {
        self.user + self.system
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "user {:.3} s, system {:.3} s, elapsed {:.3} s, peak {:.1} MiB",
            self.user,
            self.system,
            self.elapsed,
            self.peak as f64 / super::MIB
        )
    }
}

/// Runs the command to its end, its output thrown away.
pub fn of(command: &Command) -> Result<Measured> {
    let mut measuring = Command::new(env::current_exe()?);
    measuring.arg("measure-child").arg("--").arg(command.get_program()).args(command.get_args());
    let answer = process::output_of(&mut measuring)?;
    serde_json::from_str(&answer).with_context(|| format!("`{}` says {answer}", process::shown(&measuring)))
}

/// Carries out `cargo xtask measure-child`.
pub fn measure_child(options: &Options) -> Result<()> {
    let (program, arguments) = options.program.split_first().context("no program")?;
    let mut processors = CpuSet::new();
    processors.set(PROCESSOR)?;
    if let Err(error) = sched_setaffinity(Pid::from_raw(0), &processors) {
        eprintln!("the program runs on whatever processor there is: {error}");
    }
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let elapsed = started.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{} ended with {status}", program.display());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |microseconds: i64| microseconds as f64 / 1e6;
    let measured = Measured {
        user: seconds(usage.user_time().num_microseconds()),
        system: seconds(usage.system_time().num_microseconds()),
        elapsed,
        // Linux counts in KiB (getrusage(2)).
        peak: u64::try_from(usage.max_rss())? * 1024,
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Several runs.
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Of nothing it is not a number, which is within no limit.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |position: usize| sorted.get(position).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Self { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), least: at(0), most: at(last) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = out.precision().unwrap_or(3);
        let Self { median, least, most } = self;
        write!(out, "{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_run_does_not_decide() {
        let spread = Spread::of([3.0, 1.0, 2.0, 90.0, 2.5].into_iter());
        assert_eq!(format!("{spread:.1}"), "2.5 (1.0 to 90.0)");
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).median, 1.5);
    }

    #[test]
    fn nothing_measured_is_within_no_limit() {
        let spread = Spread::of(std::iter::empty());
        assert!(spread.median.is_nan() && spread.most.is_nan());
    }
}
