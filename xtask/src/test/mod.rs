//! `cargo xtask test`: every suite in order, a table at the end, and one line of totals.
//!
//! In: names of suites, or none for all. Out: the exit code, and for each suite what passed, failed
//! and was skipped. A failing suite never hides the ones behind it. A test that says `skipped: …`
//! counts as skipped with its reason; where `CI` is set, that is a failure.

mod suites;
mod tally;

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::setup::{self, Purpose};
use suites::{SUITES, Suite};
use tally::Tally;

/// What `test` takes.
#[derive(clap::Args)]
pub struct Options {
    /// The suites to run; all of them without a name
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
    /// Run the full product of the live matrix instead of every pair once, every Go release, the long load
    #[arg(long)]
    full: bool,
    /// Print the suites and what each is for
    #[arg(long)]
    list: bool,
}

/// Runs the suites; true if nothing failed.
pub fn test(options: &Options) -> Result<bool> {
    if options.list {
        for suite in SUITES {
            println!("{:<14} {}", suite.name, suite.purpose);
        }
        return Ok(true);
    }
    let chosen = choose(&options.suites)?;
    setup::prepare(if options.full { Purpose::FullTest } else { Purpose::Test })?;
    let in_ci = env::var_os("CI").is_some_and(|value| value == "true");
    let started = Instant::now();
    let mut results = Vec::new();
    for suite in chosen {
        println!("==> {}: {}", suite.name, suite.purpose);
        let suite_started = Instant::now();
        let mut tally = run_suite(suite, options.full)?;
        if in_ci {
            tally.forbid_skips();
        }
        let elapsed = process::seconds(suite_started.elapsed());
        println!("<== {}: {tally} in {elapsed}", suite.name);
        results.push((suite.name, tally, elapsed));
    }
    print_table(&results, &process::seconds(started.elapsed()));
    let total = Tally::sum(results.iter().map(|(_, tally, _)| tally));
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

fn choose(names: &[String]) -> Result<Vec<&'static Suite>> {
    if names.is_empty() {
        return Ok(SUITES.iter().collect());
    }
    if let Some(name) = names.iter().find(|name| !SUITES.iter().any(|suite| suite.name == **name)) {
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        bail!("there is no suite {name:?}; the suites are: {}", known.join(", "));
    }
    // In the order of the list whatever the order of the names: the live suites need the build.
    Ok(SUITES.iter().filter(|suite| names.iter().any(|name| suite.name == name)).collect())
}

/// Runs one suite, showing its output as it comes and counting in it.
fn run_suite(suite: &Suite, full: bool) -> Result<Tally> {
    let mut command = suite.command();
    if full {
        command.env("COUNTERSIGN_FULL", "1");
    }
    let mut tally = Tally::default();
    let success = follow(&mut command, |line| tally.read(line))?;
    tally.conclude(success);
    Ok(tally)
}

/// Runs a command with both outputs joined, in order, passed on to this terminal line by line.
fn follow(command: &mut Command, mut each: impl FnMut(&str)) -> Result<bool> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let shown = process::shown(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    // The command keeps the writing ends; the reader would wait for them for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        each(text.trim_end());
    }
    Ok(child.wait()?.success())
}

fn print_table(results: &[(&'static str, Tally, String)], total_time: &str) {
    println!();
    println!("{:<14} {:>7} {:>7} {:>8} {:>9}", "suite", "passed", "failed", "skipped", "time");
    for (name, tally, elapsed) in results {
        println!(
            "{name:<14} {:>7} {:>7} {:>8} {elapsed:>9}",
            tally.passed,
            tally.failed,
            tally.skipped.len()
        );
    }
    println!("{:<14} {:>34}", "all", total_time);
    for (name, tally, _) in results {
        for failure in &tally.failures {
            println!("failed in {name}: {failure}");
        }
    }
    for (name, tally, _) in results {
        for reason in &tally.skipped {
            println!("skipped in {name}: {reason}");
        }
    }
    println!();
}
