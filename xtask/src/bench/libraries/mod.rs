//! `cargo xtask bench libraries`: what reading certificates at TLS libraries costs beyond the wire alone.
//!
//! Three kinds of runs take turns: without an agent, with one that looks at the wire alone, and with one that probes
//! libraries too. What the third adds to the second has a limit, by the books: see `books`. Their ratio is printed
//! beside it, with the noise of the machine.

mod books;
mod prices;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Verdict;
use super::accounted::{Statistics, programs, since};
use super::agent::{Agent, Probing};
use super::load::{Load, processor_time};
use super::pairs::Pairs;
use crate::process;
use books::Books;
use prices::Prices;

/// What may get slower, and by how much at most.
struct Subject {
    title: &'static str,
    load: fn(&Path) -> Result<Load>,
    limit: f64,
}

const SUBJECTS: [Subject; 3] = [
    Subject { title: "new mutual TLS 1.3 connections per second", load: Load::mutual, limit: 0.05 },
    Subject { title: "keep-alive HTTPS requests per second", load: Load::keepalive_tls, limit: 0.01 },
    Subject { title: "bulk responses over TLS per second", load: Load::bulk_tls, limit: 0.01 },
];
/// Processes on the host that is attached to.
const PROCESSES: usize = 500;
/// Processor time that attaching may take there.
const ATTACHING: Duration = Duration::from_secs(2);
/// Runs of each load with the kernel's statistics on.
const ACCOUNTED: usize = 5;
/// An agent that takes less than a fiftieth of this much time has nothing to do.
const QUIET: Duration = Duration::from_millis(500);
/// Longest wait for the probes of a few libraries.
const PATIENCE: Duration = Duration::from_secs(20);

/// All measurements.
pub fn measure(folder: &Path, rounds: usize, length: Duration) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    let prices = process::timed("hits of probes", || Prices::measure(folder))?;
    for subject in &SUBJECTS {
        verdicts.extend(process::timed(subject.title, || compare(subject, prices, folder, rounds, length))?);
    }
    verdicts.push(process::timed("attaching to a busy host", || attach(folder))?);
    Ok(verdicts)
}

fn compare(
    subject: &Subject,
    prices: Prices,
    folder: &Path,
    rounds: usize,
    length: Duration,
) -> Result<Vec<Verdict>> {
    let load = (subject.load)(folder)?;
    let title = subject.title;
    let run = |kind: usize| {
        let Some(probing) = [None, Some(Probing::Off), Some(Probing::On)][kind] else {
            return load.run(length, None);
        };
        let agent = start(folder, probing)?;
        let run = load.run(length, Some(agent.pid()))?;
        agent.stop()?;
        Ok(run)
    };
    run(0)?;
    let (mut wire, mut libraries, mut books) = (Pairs::default(), Pairs::default(), Books::default());
    for round in 0..rounds {
        let mut runs = [None; 3];
        for turn in 0..3 {
            let kind = (round + turn) % 3;
            runs[kind] = Some(run(kind)?);
        }
        let [Some(off), Some(on), Some(with)] = runs else { bail!("a run is missing") };
        books.add([off, on, with]);
        wire.add(off, on);
        println!("{}", libraries.add(on, with));
    }
    for _ in 0..ACCOUNTED {
        account(&mut books, &load, folder, length)?;
    }
    Ok(vec![
        books.verdict(title, subject.limit, prices),
        libraries.said(&format!("{title}, libraries against the wire alone")),
        wire.said(&format!("{title}, the wire alone against no agent")),
    ])
}

/// One more run with libraries, with the kernel's statistics of their programs.
fn account(books: &mut Books, load: &Load, folder: &Path, length: Duration) -> Result<()> {
    let _statistics = Statistics::on()?;
    let agent = start(folder, Probing::On)?;
    let before = programs(agent.pid())?;
    let run = load.run(length, Some(agent.pid()))?;
    books.count(run, &since(&before, programs(agent.pid())?));
    agent.stop()
}

/// An agent whose probes, if it has any, are in place: it has nothing to do any more.
fn start(folder: &Path, probing: Probing) -> Result<Agent> {
    let agent = Agent::start(folder, probing)?;
    let deadline = Instant::now() + PATIENCE;
    while probing == Probing::On && agent.page()?.sum("countersign_library_files", "state=\"probed\"") < 1.0 {
        if Instant::now() > deadline {
            bail!("no library is probed after {PATIENCE:?}: `countersign check --libraries` says why");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut before = processor_time(agent.pid())?;
    loop {
        std::thread::sleep(QUIET);
        let now = processor_time(agent.pid())?;
        if now - before < QUIET / 50 || Instant::now() > deadline {
            return Ok(agent);
        }
        before = now;
    }
}

/// What an agent spends in its first seconds on a host with many processes.
fn attach(folder: &Path) -> Result<Verdict> {
    let crowd = Crowd::of(PROCESSES)?;
    let spent = |probing| -> Result<Duration> {
        let agent = start(folder, probing)?;
        let spent = processor_time(agent.pid())?;
        agent.stop()?;
        Ok(spent)
    };
    let (wire, libraries) = (spent(Probing::Off)?, spent(Probing::On)?);
    drop(crowd);
    let text = format!(
        "attaching with {PROCESSES} processes that use a TLS library: {libraries:.3?} of processor time, {wire:.3?} without libraries (limit {ATTACHING:?})"
    );
    Ok(Verdict { text, within: libraries < ATTACHING })
}

/// Processes that map OpenSSL and wait.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(count: usize) -> Result<Self> {
        let mut crowd = Self(Vec::with_capacity(count));
        for _ in 0..count {
            let mut command = Command::new("openssl");
            // Reads its input, which never ends.
            command.arg("dgst").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            crowd.0.push(command.spawn()?);
        }
        std::thread::sleep(Duration::from_secs(2));
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended is what is wanted.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
