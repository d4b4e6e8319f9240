//! Runs a command and says, in the last line of standard error, how it ended and what memory it took.
//!
//! `measure SECONDS COMMAND…`. The kernel keeps the peak of a child's resident memory for its parent, and
//! counts in it what the parent held when it started the child: so the parent has to be a small program
//! of its own, not a test that holds a whole corpus of answers. A command that is still running after
//! `SECONDS` is killed.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};

/// Between two looks at the child: well below what any replay takes.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    match measure() {
        Ok(line) => {
            eprintln!("\n{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<String> {
    let mut arguments = env::args_os().skip(1);
    let seconds = arguments.next().context("SECONDS is missing")?;
    let seconds: u64 = seconds.to_str().context("SECONDS is no text")?.parse()?;
    let program = arguments.next().context("COMMAND is missing")?;
    let started = Instant::now();
    let mut child =
        Command::new(&program).args(arguments).spawn().with_context(|| format!("start {program:?}"))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > Duration::from_secs(seconds) {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(LOOK_AGAIN);
    };
    let end = match status {
        None => "timeout".to_owned(),
        Some(status) => match status.code() {
            Some(code) => format!("code {code}"),
            None => format!("signal {}", status.signal().unwrap_or(0)),
        },
    };
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    Ok(format!("measured: {peak} KiB, {end}"))
}
