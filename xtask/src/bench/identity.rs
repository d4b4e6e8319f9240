//! `cargo xtask bench identity`: what it costs to know who is who, by connection.
//!
//! `agent/examples/identity_cost` makes the events and drives the agent's rooms from the table of processes to the list of
//! workloads; this runs it some times and judges. Needs no root.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Verdict;
use crate::{process, workspace};

/// Processor time that the identity of a connection's two ends may take, in microseconds.
const LIMIT: f64 = 20.0;

/// What one run says.
#[derive(Deserialize)]
struct Run {
    workloads: u64,
    connections: u64,
    steady_microseconds: f64,
    steady_reads: u64,
    sweep_reads_a_second: u64,
    mixed_microseconds: f64,
    mixed_processes: u64,
    mixed_reads: u64,
    first_sighting_microseconds: f64,
    real_exec_microseconds: f64,
    processes: u64,
    processes_bound: u64,
    cgroups: u64,
    cgroups_bound: u64,
}

/// Builds the load and runs it.
pub fn measure(runs: usize, build: bool) -> Result<Vec<Verdict>> {
    if build {
        let mut command = process::cargo();
        command.args(["build", "--release", "--package", "countersign", "--example", "identity_cost"]);
        process::timed("build the load", || process::run(&mut command))?;
    }
    let program = workspace::target().join("release/examples/identity_cost");
    let mut measured = Vec::new();
    for number in 1..=runs {
        let answer = process::output_of(&mut Command::new(&program))?;
        let run: Run = serde_json::from_str(&answer).with_context(|| format!("the load says {answer}"))?;
        println!(
            "run {number:>2}: {:.3} µs a connection, {:.3} µs with short-lived processes, {} reads",
            run.steady_microseconds, run.mixed_microseconds, run.steady_reads
        );
        measured.push(run);
    }
    measured.sort_by(|one, other| one.mixed_microseconds.total_cmp(&other.mixed_microseconds));
    let run = measured.get(measured.len() / 2).context("no run")?;
    Ok(vec![cost(run), reads(&measured), bounds(run)])
}

fn cost(run: &Run) -> Verdict {
    let worst = run.mixed_microseconds.max(run.steady_microseconds);
    let within = worst <= LIMIT;
    Verdict {
        text: format!(
            "identity: {worst:.3} µs of processor time a connection (at most {LIMIT}: {})\n  \
             {} connections between {} workloads: {:.3} µs each\n  \
             the same with {} short-lived processes: {:.3} µs each, {} reads\n  \
             first sighting of a process in a container: {:.1} µs; exec of a process in the real /proc: {:.1} µs",
            word(within),
            run.connections,
            run.workloads,
            run.steady_microseconds,
            run.mixed_processes,
            run.mixed_microseconds,
            run.mixed_reads,
            run.first_sighting_microseconds,
            run.real_exec_microseconds,
        ),
        within,
    }
}

fn reads(runs: &[Run]) -> Verdict {
    let most = runs.iter().map(|run| run.steady_reads).max().unwrap_or_default();
    let sweeps = runs.iter().map(|run| run.sweep_reads_a_second).max().unwrap_or_default();
    let within = most == 0;
    Verdict {
        text: format!(
            "identity: {most} files read for connections of known processes ({sweeps} a second by sweeps): {}",
            word(within)
        ),
        within,
    }
}

fn bounds(run: &Run) -> Verdict {
    let within = run.processes <= run.processes_bound && run.cgroups <= run.cgroups_bound;
    Verdict {
        text: format!(
            "identity: {} of {} processes and {} of {} cgroups remembered: {}",
            run.processes,
            run.processes_bound,
            run.cgroups,
            run.cgroups_bound,
            word(within)
        ),
        within,
    }
}

fn word(within: bool) -> &'static str {
    if within { "within" } else { "EXCEEDED" }
}
