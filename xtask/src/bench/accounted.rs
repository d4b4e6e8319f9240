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

/// The kernel's statistics, on as long as this lives.
struct Statistics {
    before: String,
}

impl Statistics {
    fn on() -> Result<Self> {
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
    let (mut runs, mut spent, mut floor) = (0, Duration::ZERO, f64::INFINITY);
    for (program, (count, time)) in after {
        let (earlier, earlier_time) = before.get(&program).copied().unwrap_or_default();
        let (count, time) = (count - earlier, time - earlier_time);
        runs += count;
        spent += time;
        if count >= LEAST_RUNS {
            floor = floor.min(time.as_nanos() as f64 / count as f64);
        }
    }
    let floor = if floor.is_finite() { floor } else { 0.0 };
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

/// How often each program that the process holds has run, and for how long (bpf(2), `BPF_ENABLE_STATS`).
fn programs(pid: u32) -> Result<BTreeMap<String, (u64, Duration)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed between the two reads.
        let info = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let (Some(id), Some(count), Some(time)) =
            (field("prog_id:"), field("run_cnt:"), field("run_time_ns:"))
        {
            found.insert(id.to_owned(), (count.parse()?, Duration::from_nanos(time.parse()?)));
        }
    }
    Ok(found)
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
