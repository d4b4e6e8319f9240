//! What a hook of libraries costs however little its program does: the trap of a uprobe, the call at a receive.
//!
//! A small program on the system's OpenSSL measures how long its calls take while the agent probes that library, and while
//! there is none: by turns, since whatever else the machine does lasts longer than a measurement. The least of each counts. What
//! the programs do beyond returning at once, the kernel's statistics tell.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::agent::{Agent, Probing};
use super::super::load::{CLIENT_PROCESSOR, bound_to};
use super::PATIENCE;
use crate::process;

/// What is compiled for it.
const SOURCE: &str = include_str!("hits.c");
/// Programs that run in its round of calls: three at the entry only or at the return only, and two at both.
const RUNS_OF_A_ROUND: f64 = 7.0;

/// Measurements with the agent and without it.
const TURNS: usize = 3;

/// Nanoseconds of processor time.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    /// Of a run of a uprobe's program, in the mix of a handshake: entries and returns.
    pub hit: f64,
    /// Of a run of the tracepoint of receives that finds nothing received.
    pub receive: f64,
}

impl Prices {
    /// Measures them.
    pub fn measure(folder: &Path) -> Result<Self> {
        let mut caller = Caller::start(folder)?;
        let (mut without, mut with) = ([f64::INFINITY; 2], [f64::INFINITY; 2]);
        for _ in 0..TURNS {
            least(&mut without, caller.measure()?);
            let agent = Agent::start(folder, Probing::On)?;
            caller.await_probes(folder)?;
            least(&mut with, caller.measure()?);
            agent.stop()?;
        }
        let hit = (with[0] - without[0]) / RUNS_OF_A_ROUND;
        if hit <= 0.0 {
            bail!("calls of OpenSSL that are probed take {:.0} ns, others {:.0} ns", with[0], without[0]);
        }
        // So little that noise may swallow it.
        Ok(Self { hit, receive: (with[1] - without[1]).max(0.0) })
    }
}

fn least(so_far: &mut [f64; 2], times: [f64; 2]) {
    for (least, time) in so_far.iter_mut().zip(times) {
        *least = least.min(time);
    }
}

/// The program, ended with this value.
struct Caller {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Caller {
    fn start(folder: &Path) -> Result<Self> {
        let (source, program) = (folder.join("hits.c"), folder.join("hits"));
        std::fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("gcc");
        process::output_of(compiler.args(["-O2", "-o"]).arg(&program).arg(&source).arg("-lcrypto"))?;
        let mut command = bound_to(CLIENT_PROCESSOR, &program.to_string_lossy());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output of the caller")?);
        Ok(Self { child, lines })
    }

    /// Nanoseconds of a round of calls, and of a receive.
    fn measure(&mut self) -> Result<[f64; 2]> {
        self.child.stdin.as_mut().context("no input of the caller")?.write_all(b"\n")?;
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        let (calls, receives) = line.trim().split_once(' ').context("the caller measured nothing")?;
        Ok([calls.parse()?, receives.parse()?])
    }

    /// Returns once the library that it maps is probed.
    fn await_probes(&self, folder: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_probed(folder)? {
            if Instant::now() > deadline {
                bail!("OpenSSL is not probed after {PATIENCE:?}: `countersign check --libraries` says why");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn is_probed(&self, folder: &Path) -> Result<bool> {
        let files = Agent::check_libraries(folder)?;
        let pid = serde_json::Value::from(self.child.id());
        Ok(files.iter().any(|file| {
            let maps = file["processes"].as_array().is_some_and(|processes| processes.contains(&pid));
            maps && file["library"] == "openssl" && file["state"] == "probed"
        }))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // One that has ended is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
