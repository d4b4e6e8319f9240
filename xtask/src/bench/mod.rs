//! `cargo xtask bench`: what the agent costs, as ratios with the agent off and on.
//!
//! Absolute numbers belong to a machine; a ratio of two neighbouring runs on it travels. So runs with
//! and without the agent take turns, the order within a pair takes turns too, and what counts is the
//! median of the pairs. Everything is on loopback: both ends of every connection pay.
//!
//! The replay of captures, the price of knowing who is who and the history have nothing to be compared with, so their numbers
//! are absolute: see `replay`, `identity` and `store`.

mod accounted;
mod agent;
mod handshake;
mod holder;
mod identity;
mod libraries;
mod load;
mod memory;
mod page;
mod pairs;
mod replay;
mod shipped;
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::setup::{self, Purpose};
use crate::{process, run, workspace};
use agent::{Agent, Probing};
pub use holder::{Options as HolderOptions, hold};
use load::Load;
use pairs::Pairs;
pub use replay::{MeasuredOptions, measure_child};
use shipped::Shipped;

/// Fewer pairs say little: runs of one second differ by several per cent on a busy machine.
const LEAST_PAIRS: usize = 10;

/// Fewer runs have no median worth its name.
const LEAST_RUNS: usize = 5;
/// Connections that `memory` holds open where no number is given.
const HELD_CONNECTIONS: usize = 50_000;
/// Fewer say little about memory however long the file.
const LEAST_HANDSHAKES: u64 = 50_000;

/// What `bench` takes.
#[derive(clap::Args)]
pub struct Options {
    /// What to measure
    #[arg(default_value = "all")]
    subject: Subject,
    /// How many pairs of runs with the agent off and on
    #[arg(long, default_value_t = 16, value_parser = at_least_ten)]
    pairs: usize,
    /// Length of one run
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    seconds: u64,
    /// How many connections `memory` holds open (50,000) and `store` writes (1,000,000; the full claim is 10,000,000)
    #[arg(long, value_name = "COUNT")]
    connections: Option<usize>,
    /// How many runs of `replay` and `identity`
    #[arg(long, default_value_t = LEAST_RUNS, value_parser = at_least_five)]
    runs: usize,
    /// How many handshakes the capture of `replay` holds
    #[arg(long, default_value_t = LEAST_HANDSHAKES, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(LEAST_HANDSHAKES..))]
    handshakes: u64,
    /// Use the agent as it was last built
    #[arg(long)]
    no_build: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Small HTTP requests on kept connections: the price of a packet
    Keepalive,
    /// New TLS 1.3 connections with an ECDSA certificate: the price of a connection
    Handshakes,
    /// One bulk transfer: the price of a byte
    Bulk,
    /// Resident memory, idle and with many open connections
    Memory,
    /// Reading certificates at TLS libraries, beyond the wire alone
    Libraries,
    /// `countersign replay` of a long capture; needs no root
    Replay,
    /// Knowing processes and workloads, by connection; needs no root
    Identity,
    /// Writing the history, and asking it; needs no root
    Store,
    /// All of them
    All,
}

/// The subjects that are ratios, with the largest part of the work that the agent may cost.
const RATIOS: &[(Subject, &str, f64)] = &[
    (Subject::Keepalive, "keep-alive requests per second", 0.03),
    (Subject::Handshakes, "new TLS 1.3 connections per second", 0.05),
    (Subject::Bulk, "bulk bits per second", 0.01),
];

/// Measures; true if everything is within its limit.
pub fn bench(options: &Options) -> Result<bool> {
    if options.subject == Subject::Replay {
        if !options.no_build {
            setup::prepare(Purpose::Run)?;
            run::build_agent()?;
        }
        return Ok(told(&replay::measure(options.handshakes, options.runs)?));
    }
    if options.subject == Subject::Identity {
        if !options.no_build {
            setup::prepare(Purpose::Run)?;
        }
        return Ok(told(&identity::measure(options.runs, !options.no_build)?));
    }
    if options.subject == Subject::Store {
        if !options.no_build {
            setup::prepare(Purpose::Run)?;
        }
        return Ok(told(&store::measure(options.connections, !options.no_build)?));
    }
    if !process::is_root() {
        bail!("the agent loads kernel programs: run `cargo xtask bench` as root");
    }
    setup::prepare(Purpose::Test)?;
    if !options.no_build {
        run::build_agent()?;
    }
    take_precedence();
    let folder = fresh_folder()?;
    let mut verdicts = Vec::new();
    for (subject, title, limit) in RATIOS {
        if options.subject == *subject || options.subject == Subject::All {
            let mut shipped = Shipped::default();
            let pairs = process::timed(title, || compare(*subject, &folder, options, &mut shipped))?;
            verdicts.push(pairs.verdict(title, *limit));
            if *subject == Subject::Handshakes {
                verdicts.push(shipped.verdict());
            }
        }
    }
    if matches!(options.subject, Subject::Memory | Subject::All) {
        let held = options.connections.unwrap_or(HELD_CONNECTIONS);
        let title = format!("memory, idle and with {held} open connections");
        verdicts.extend(process::timed(&title, || memory::measure(&folder, held))?);
    }
    if matches!(options.subject, Subject::Libraries | Subject::All) {
        verdicts.extend(libraries::measure(&folder, options.pairs, Duration::from_secs(options.seconds))?);
    }
    if options.subject == Subject::All {
        let measure = || replay::measure(options.handshakes, options.runs);
        verdicts.extend(process::timed("replay of a long capture", measure)?);
        verdicts.extend(identity::measure(options.runs, !options.no_build)?);
    }
    Ok(told(&verdicts))
}

/// Prints the results; true if everything is within its limit.
fn told(verdicts: &[Verdict]) -> bool {
    println!();
    for verdict in verdicts {
        println!("{}", verdict.text);
    }
    verdicts.iter().all(|verdict| verdict.within)
}

/// One line of the result.
pub struct Verdict {
    text: String,
    within: bool,
}

fn at_least_ten(text: &str) -> Result<usize, String> {
    at_least(LEAST_PAIRS, "pairs", text)
}

fn at_least_five(text: &str) -> Result<usize, String> {
    at_least(LEAST_RUNS, "runs", text)
}

fn at_least(least: usize, what: &str, text: &str) -> Result<usize, String> {
    let count = text.parse().map_err(|error| format!("{error}"))?;
    if count < least {
        return Err(format!("at least {least} {what}"));
    }
    Ok(count)
}

/// Servers, clients and the agent inherit the highest priority: what else the machine does disturbs
/// them less, and among themselves nothing changes.
fn take_precedence() {
    let own = std::process::id().to_string();
    let raised = process::output_of(Command::new("renice").args(["-n", "-20", "-p", &own]));
    if let Err(error) = raised {
        println!("the runs keep their normal priority: {error}");
    }
}

fn fresh_folder() -> Result<PathBuf> {
    let folder = workspace::target().join("bench/live");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn compare(subject: Subject, folder: &Path, options: &Options, shipped: &mut Shipped) -> Result<Pairs> {
    let load = match subject {
        Subject::Keepalive => Load::keepalive(folder)?,
        Subject::Handshakes => Load::handshakes(folder)?,
        _ => Load::bulk()?,
    };
    let length = Duration::from_secs(options.seconds);
    let off = || load.run(length, None);
    let mut on = || {
        let agent = Agent::start(folder, Probing::Off)?;
        let run = load.run(length, Some(agent.pid()));
        shipped.add(&agent.page()?);
        agent.stop()?;
        run
    };
    // Caches, frequency, and the pages of both programs.
    off()?;
    let mut pairs = Pairs::default();
    for number in 0..options.pairs {
        let (without, with) = if number % 2 == 0 {
            let without = off()?;
            (without, on()?)
        } else {
            let with = on()?;
            (off()?, with)
        };
        println!("{}", pairs.add(without, with));
    }
    pairs.accounted = Some(accounted::account(&load, length, folder)?);
    Ok(pairs)
}
