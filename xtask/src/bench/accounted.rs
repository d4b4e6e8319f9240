//! What the agent costs by the books: its own processor time and the kernel's statistics of its programs.
//!
//! Ratios of rates hold everything, caches and wake-ups too, and all the noise of the machine. This holds less and
//! is steady: the two are read together. The statistics read a clock twice per run, which costs more than most runs;
//! what they charge a program that returns at once (the ingress one on loopback) is taken for their own cost.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::agent::{Agent, Probing};
use super::load::Load;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Shares of the processor time of server, client and agent together.
pub struct Accounted {
    agent: f64,
    programs: f64,
    without_statistics: f64,
    runs: u64,
    spent: Duration,
    /// Nanoseconds that the statistics charge a run which does nothing.
    floor: f64,
}

/// Fewer runs have no average.
const LEAST_RUNS: u64 = 1_000;

/// What a program of the kernel has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Its type, one of `BPF_PROG_TYPE_*` (linux/bpf.h).
    pub kind: u32,
    /// How often it ran.
    pub runs: u64,
    /// For how long.
    pub time: Duration,
}

/// The kernel's statistics, on as long as this lives.
pub struct Statistics {
    before: String,
}

impl Statistics {
    /// Turns them on.
    pub fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH)?.trim().to_owned();
        fs::write(SWITCH, "1").context("cannot turn the kernel's program statistics on")?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, &self.before) {
            println!("{SWITCH} stays on: {error}");
        }
    }
}

/// One more run of the load, with the books kept.
pub fn account(load: &Load, length: Duration, folder: &Path) -> Result<Accounted> {
    let _statistics = Statistics::on()?;
    let agent = Agent::start(folder, Probing::Off)?;
    let before = programs(agent.pid())?;
    let run = load.run(length, Some(agent.pid()))?;
    let after = programs(agent.pid())?;
    agent.stop()?;
    let books = since(&before, after);
    let (runs, spent) = books
        .iter()
        .fold((0, Duration::ZERO), |(runs, spent), program| (runs + program.runs, spent + program.time));
    let floor = floor(&books);
    let share = |part: Duration| part.as_secs_f64() / run.spent.as_secs_f64();
    let own = spent.saturating_sub(Duration::from_nanos((floor * runs as f64) as u64));
    Ok(Accounted {
        agent: share(run.agent),
        programs: share(spent),
        without_statistics: share(own),
        runs,
        spent,
        floor,
    })
}

/// What each program that the process holds has done, by its id (bpf(2), `BPF_ENABLE_STATS`).
pub fn programs(pid: u32) -> Result<BTreeMap<String, Spent>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed between the two reads.
        let info = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let (Some(id), Some(kind), Some(runs), Some(time)) =
            (field("prog_id:"), field("prog_type:"), field("run_cnt:"), field("run_time_ns:"))
        {
            let time = Duration::from_nanos(time.parse()?);
            found.insert(id.to_owned(), Spent { kind: kind.parse()?, runs: runs.parse()?, time });
        }
    }
    Ok(found)
}

/// What each has done between two looks.
pub fn since(before: &BTreeMap<String, Spent>, after: BTreeMap<String, Spent>) -> Vec<Spent> {
    let difference = |(id, spent): (String, Spent)| {
        let earlier = before.get(&id).copied().unwrap_or_default();
        Spent { runs: spent.runs - earlier.runs, time: spent.time - earlier.time, ..spent }
    };
    after.into_iter().map(difference).collect()
}

/// Nanoseconds that the statistics charge a run which does nothing: the shortest average; 0 if nothing ran often.
pub fn floor(programs: &[Spent]) -> f64 {
    let often = programs.iter().filter(|program| program.runs >= LEAST_RUNS);
    let average = |program: &Spent| program.time.as_nanos() as f64 / program.runs as f64;
    often.map(average).reduce(f64::min).unwrap_or_default()
}

impl fmt::Display for Accounted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "agent {:.2} %, kernel programs {:.2} % of the processor time ({} runs of {:.0} ns), \
             {:.2} % without the {:.0} ns that the statistics charge a run which does nothing",
            self.agent * 100.0,
            self.programs * 100.0,
            self.runs,
            self.spent.as_nanos() as f64 / self.runs.max(1) as f64,
            self.without_statistics * 100.0,
            self.floor,
        )
    }
}
