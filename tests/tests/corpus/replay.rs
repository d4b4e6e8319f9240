//! Runs `countersign replay --json` and keeps what it prints.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use countersign_tests::{agent_binary, text};
use serde_json::Value;

use crate::connection::Connection;
use crate::folder::Folder;

/// A replay of a few megabytes takes well under a second; one that takes this long hangs.
const PATIENCE_SECONDS: &str = "60";
/// What the replay promises, however long the capture is.
const MEMORY_LIMIT_KIB: u64 = 64 * 1024;
/// Beside what the promise is about: the program's own pages, which an unoptimised build has many of.
const MEMORY_MARGIN_KIB: u64 = 16 * 1024;
/// How a replay may end: everything was read, nothing could be read, or a part; `--help` documents them.
const DOCUMENTED: [i32; 3] = [0, 1, 4];
/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

/// What came out of one replay.
#[derive(Debug)]
pub struct Replay {
    connections: Vec<Value>,
    /// By fingerprint.
    pub certificates: BTreeMap<String, Value>,
    /// Standard error, without the measurement.
    pub errors: String,
    /// How it ended.
    pub ending: Ending,
    peak_kib: u64,
    violation: Option<String>,
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Code(i32),
    /// Killed.
    Signal(i32),
    /// It was still running after [`PATIENCE_SECONDS`].
    Hung,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Hung => write!(f, "still running after {PATIENCE_SECONDS} s"),
        }
    }
}

impl Replay {
    /// Replays one capture.
    ///
    /// # Errors
    /// When the program cannot be started; a crash of it is an [`Ending`].
    pub fn of(capture: &Path) -> Result<Self> {
        let output = Command::new(env!("CARGO_BIN_EXE_measure"))
            .arg(PATIENCE_SECONDS)
            .arg(agent_binary())
            .args(["replay", "--json"])
            .arg(capture)
            .output()
            .context("start the replay")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{errors}");
        let (errors, measured) = errors.trim_end().rsplit_once('\n').unwrap_or(("", errors.trim_end()));
        let (peak_kib, ending) = measurement(measured).with_context(|| format!("{measured:?}"))?;
        let mut replay = Self {
            connections: Vec::new(),
            certificates: BTreeMap::new(),
            errors: errors.trim().to_owned(),
            ending,
            peak_kib,
            violation: None,
        };
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            replay.take(line);
        }
        Ok(replay)
    }

    fn take(&mut self, line: &[u8]) {
        let record: Value = match serde_json::from_slice(line) {
            Ok(record) => record,
            Err(error) => {
                self.violation = Some(format!("no JSON ({error}): {}", String::from_utf8_lossy(line)));
                return;
            }
        };
        match text(&record, "/schema") {
            "countersign.connection/1" => self.connections.push(record),
            "countersign.certificate/1" => {
                let fingerprint = text(&record, "/sha256").to_owned();
                if self.certificates.insert(fingerprint.clone(), record).is_some() {
                    self.violation = Some(format!("certificate {fingerprint} is printed twice"));
                }
            }
            _ => {}
        }
    }

    /// The connections in the order of the output.
    pub fn connections(&self) -> impl Iterator<Item = Connection<'_>> {
        self.connections.iter().map(Connection)
    }

    /// What no capture may lead to: a crash, a hang, too much memory, output that is not the contract's.
    pub fn fault(&self) -> Option<String> {
        match self.ending {
            Ending::Code(PANICKED) => return Some("panicked".to_owned()),
            Ending::Code(code) if DOCUMENTED.contains(&code) => {}
            _ => return Some(self.ending.to_string()),
        }
        if self.peak_kib > MEMORY_LIMIT_KIB + MEMORY_MARGIN_KIB {
            return Some(format!("{} KiB resident, allowed are {MEMORY_LIMIT_KIB}", self.peak_kib));
        }
        let mut ids: Vec<&str> = self.connections().map(|connection| connection.text("/id")).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("two records of connection {}", twice[0]));
        }
        self.violation.clone()
    }

    /// The most memory it held, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.peak_kib
    }
}

/// `measured: 5120 KiB, code 0`.
fn measurement(line: &str) -> Option<(u64, Ending)> {
    let (peak, ending) = line.strip_prefix("measured: ")?.split_once(" KiB, ")?;
    let ending = match ending.split_once(' ') {
        Some(("code", code)) => Ending::Code(code.parse().ok()?),
        Some(("signal", signal)) => Ending::Signal(signal.parse().ok()?),
        _ => Ending::Hung,
    };
    Some((peak.parse().ok()?, ending))
}

/// The replays of all captures, by file name.
#[derive(Debug)]
pub struct Replays(BTreeMap<String, Replay>);

impl Replays {
    /// Replays the whole folder, once for all tests of this program.
    pub fn intact(folder: &Folder) -> Result<&'static Self> {
        static INTACT: OnceLock<Result<Replays, String>> = OnceLock::new();
        let result = INTACT.get_or_init(|| Self::all(folder).map_err(|error| format!("{error:#}")));
        result.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn all(folder: &Folder) -> Result<Self> {
        let binary = agent_binary();
        if !binary.is_file() {
            bail!("{} is missing: cargo build --release --package countersign", binary.display());
        }
        let started = Instant::now();
        let captures = folder.captures()?;
        let replays = in_parallel(&captures, |capture| Replay::of(&folder.capture(&capture.file)));
        let mut all = BTreeMap::new();
        for (capture, replay) in captures.into_iter().zip(replays) {
            let replay = replay.with_context(|| capture.file.clone())?;
            all.insert(capture.file, replay);
        }
        let connections: usize = all.values().map(|replay| replay.connections.len()).sum();
        println!("{} captures, {connections} connections, {:.1?}", all.len(), started.elapsed());
        Ok(Self(all))
    }

    /// One of them.
    pub fn get(&self, file: &str) -> Option<&Replay> {
        self.0.get(file)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Replay)> {
        self.0.iter().map(|(file, replay)| (file.as_str(), replay))
    }
}

/// Does the same for all items on all processors; the results stand in the order of the items.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((place, item)) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    items.get(place).map(|item| (place, item))
                } {
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
