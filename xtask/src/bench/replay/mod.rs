//! What `countersign replay` costs on a long capture.
//!
//! The capture is of real handshakes and is made once (`capture`); what each of its connections does follows from its
//! number alone (`mix`). The agent then reads it some times, alone on one processor, and what counts is processor
//! time, so neither the disk nor the neighbours of this machine matter much. Before that its answers are counted
//! once: a fast replay that misses connections is not fast. Where tshark is installed, it reads the beginning of
//! the same capture for comparison.
//!
//! ```text
//!  mix ──► peers ──► segments ──► capture ──► answers, measured, tshark ──► verdicts
//!           (identities)             (pcap)
//! ```

mod answers;
mod capture;
mod identities;
mod measured;
mod mix;
mod packet;
mod pcap;
mod peers;
mod segments;

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Verdict;
use crate::{process, workspace};
use capture::{Capture, Parameters};
use measured::{Measured, Spread};
pub use measured::{Options as MeasuredOptions, measure_child};

const MIB: f64 = 1024.0 * 1024.0;
/// Least handshakes per second of processor time.
const RATE_LIMIT: f64 = 100_000.0;
/// Most resident memory at any time.
const MEMORY_LIMIT: f64 = 64.0 * MIB;
/// What tshark prints of each handshake: about what a record says of it.
const TSHARK_FIELDS: &[&str] = &[
    "tcp.stream",
    "tls.handshake.version",
    "tls.handshake.extensions.supported_version",
    "tls.handshake.ciphersuite",
    "tls.handshake.extensions_server_name",
    "tls.handshake.certificate",
    "x509sat.uTF8String",
];

/// Makes the capture if it is not there, and measures the replay of it.
pub fn measure(handshakes: u64, runs: usize) -> Result<Vec<Verdict>> {
    let capture = Capture::obtain(&workspace::target().join("bench/capture"), Parameters { handshakes })?;
    println!("{capture}");
    let answers = answers::count(&workspace::agent_binary(), &capture.file)?;
    let mut spent = Vec::new();
    for number in 1..=runs {
        let run = measured::of(&replay(&capture.file))?;
        println!("run {number:>2}: {run}");
        spent.push(run);
    }
    beside_tshark(&capture)?;
    Ok(vec![answers.verdict(&capture), rate(&capture, &spent), memory(&spent)])
}

fn replay(file: &Path) -> Command {
    let mut command = Command::new(workspace::agent_binary());
    command.args(["replay", "--json"]).arg(file);
    command
}

fn rate(capture: &Capture, runs: &[Measured]) -> Verdict {
    let handshakes = capture.made.handshakes as f64;
    let rates = Spread::of(runs.iter().map(|run| handshakes / run.processor()));
    let bytes = Spread::of(runs.iter().map(|run| capture.made.bytes as f64 / 1e6 / run.processor()));
    let within = rates.median >= RATE_LIMIT;
    Verdict {
        text: format!(
            "replay: {rates:.0} handshakes per second of processor time (at least {RATE_LIMIT}: {})\n  megabytes per second   {bytes:.0}\n  processor seconds      {:.3}, of it in the kernel {:.3}\n  elapsed seconds        {:.3}",
            word(within),
            Spread::of(runs.iter().map(Measured::processor)),
            Spread::of(runs.iter().map(|run| run.system)),
            Spread::of(runs.iter().map(|run| run.elapsed)),
        ),
        within,
    }
}

fn memory(runs: &[Measured]) -> Verdict {
    let peaks = Spread::of(runs.iter().map(|run| run.peak as f64 / MIB));
    let within = peaks.most * MIB <= MEMORY_LIMIT;
    Verdict {
        text: format!(
            "replay: {peaks:.1} MiB resident at most (limit {:.0} MiB: {})",
            MEMORY_LIMIT / MIB,
            word(within)
        ),
        within,
    }
}

fn word(within: bool) -> &'static str {
    if within { "within" } else { "EXCEEDED" }
}

/// A number to read ours against, from the machine it was measured on; no verdict.
fn beside_tshark(capture: &Capture) -> Result<()> {
    let Some(tshark) = process::find_program("tshark") else {
        println!("tshark is not installed: no comparison");
        return Ok(());
    };
    let beginning = &capture.made.beginning;
    let mut command = Command::new(tshark);
    command.args(["-n", "-Y", "tls.handshake", "-T", "fields", "-c", &beginning.packets.to_string()]);
    for field in TSHARK_FIELDS {
        command.args(["-e", field]);
    }
    command.arg("-r").arg(&capture.file);
    let run = measured::of(&command)?;
    println!(
        "tshark, on the first {} handshakes: {:.0} handshakes per second of processor time; {run}",
        beginning.handshakes,
        beginning.handshakes as f64 / run.processor()
    );
    Ok(())
}
