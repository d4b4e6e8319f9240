//! `cargo xtask bench store`: what the history costs, and how long questions take.
//!
//! `agent/examples/store_cost` makes the connections, writes them, asks and tidies up; this runs it and judges. Needs no root.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Verdict;
use crate::{process, workspace};

/// Connections written where no number is given.
const CONNECTIONS: usize = 1_000_000;
/// Records that one core writes in a second at least.
const RECORDS_A_SECOND: f64 = 50_000.0;
/// Bytes of the file by connection at most, before folding.
const BYTES: f64 = 250.0;
/// Memory may grow by so much between the first tenth of the connections and the last.
const GROWTH_BYTES: u64 = 16 << 20;
/// Seconds that a question may take in 99 of 100 cases; those that are not named have no limit.
const QUESTIONS: &[(&str, f64)] = &[
    ("explain", 0.05),
    ("connections", 0.05),
    ("who an address", 0.05),
    ("who a visitor", 0.05),
    ("who a workload", 0.05),
    ("who an identity", 0.05),
    ("who a fingerprint", 0.05),
    ("who a pid", 0.05),
    ("edges", 0.3),
    ("edges of a workload", 0.3),
    ("certificates", 0.3),
    ("certificates --expiring", 0.3),
    ("blast-radius", 1.0),
];

/// What a run says.
#[derive(Deserialize)]
struct Run {
    connections: u64,
    records: u64,
    processor_seconds: f64,
    longest_batch_seconds: f64,
    bytes: u64,
    resident_before_bytes: u64,
    resident_bytes: u64,
    questions: Vec<Question>,
    slices: Vec<Slices>,
}

#[derive(Deserialize)]
struct Question {
    name: String,
    asked: u64,
    median_seconds: f64,
    p99_seconds: f64,
}

/// Slices of retention of one kind.
#[derive(Deserialize)]
struct Slices {
    name: String,
    count: u64,
    longest_seconds: f64,
}

/// Builds the load and runs it once: it is long enough.
pub fn measure(connections: Option<usize>, build: bool) -> Result<Vec<Verdict>> {
    if build {
        let mut command = process::cargo();
        command.args(["build", "--release", "--package", "countersign", "--example", "store_cost"]);
        process::timed("build the load", || process::run(&mut command))?;
    }
    let program = workspace::target().join("release/examples/store_cost");
    let mut command = Command::new(&program);
    command.arg(connections.unwrap_or(CONNECTIONS).to_string());
    let answer = process::output_of(&mut command)?;
    let run: Run = serde_json::from_str(&answer).with_context(|| format!("the load says {answer}"))?;
    let mut verdicts = vec![speed(&run), size(&run), memory(&run)];
    verdicts.extend(run.questions.iter().map(question));
    verdicts.extend(run.slices.iter().map(slices));
    Ok(verdicts)
}

fn speed(run: &Run) -> Verdict {
    let rate = run.records as f64 / run.processor_seconds;
    let within = rate >= RECORDS_A_SECOND;
    Verdict {
        text: format!(
            "store: {rate:.0} records a second of processor time (at least {RECORDS_A_SECOND}: {}); the longest batch took {:.0} ms",
            word(within),
            run.longest_batch_seconds * 1e3
        ),
        within,
    }
}

fn size(run: &Run) -> Verdict {
    let bytes = run.bytes as f64 / run.connections as f64;
    let within = bytes <= BYTES;
    Verdict {
        text: format!(
            "store: {bytes:.1} bytes by connection before folding (at most {BYTES}: {}); {} connections in {} MiB",
            word(within),
            run.connections,
            run.bytes >> 20
        ),
        within,
    }
}

fn memory(run: &Run) -> Verdict {
    let within = run.resident_bytes <= run.resident_before_bytes + GROWTH_BYTES;
    Verdict {
        text: format!(
            "store: {} MiB resident after a tenth of the connections, {} MiB after all (at most {} MiB more: {})",
            run.resident_before_bytes >> 20,
            run.resident_bytes >> 20,
            GROWTH_BYTES >> 20,
            word(within)
        ),
        within,
    }
}

fn question(question: &Question) -> Verdict {
    let limit = QUESTIONS.iter().find(|(name, _)| *name == question.name).map(|(_, limit)| *limit);
    let within = limit.is_none_or(|limit| question.p99_seconds <= limit);
    let against = limit.map(|limit| format!(" (at most {:.0}: {})", limit * 1e3, word(within)));
    Verdict {
        text: format!(
            "store: {}: median {:.2} ms, p99 {:.2} ms{}, asked {} times",
            question.name,
            question.median_seconds * 1e3,
            question.p99_seconds * 1e3,
            against.unwrap_or_default(),
            question.asked
        ),
        within,
    }
}

fn slices(slices: &Slices) -> Verdict {
    let text = format!(
        "store: retention by {}: the longest of {} slices held writing up for {:.0} ms",
        slices.name,
        slices.count,
        slices.longest_seconds * 1e3
    );
    Verdict { text, within: true }
}

fn word(within: bool) -> &'static str {
    if within { "within" } else { "EXCEEDED" }
}
