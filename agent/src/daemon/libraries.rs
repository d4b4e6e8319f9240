//! Who uses which TLS library: a thread of its own, since reading `/proc` must not hold events up.
//!
//! The engine tells it of processes that began, changed and ended.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::discovery::{Discovery, FileKey, Order, ProbeOutcome};
use crate::kernel::{Probed, Prober, RefusedPoint};
use crate::library::Point;
use crate::metrics::{Metrics, Stage};
use crate::record::LibraryFileRecord;

/// Notices that wait; processes whose notice finds no room are met by the next sweep.
const MAX_NOTICES: usize = 4096;
/// Between two looks at every process: heals what notices have missed.
const SWEEP: Duration = Duration::from_secs(60);
/// After a program has started whose dynamic linker is not probed: its libraries are mapped within milliseconds, others later.
const LATER: [Duration; 3] = [Duration::from_millis(5), Duration::from_millis(50), Duration::from_secs(1)];
/// Looks that wait; beyond, the next sweep does them.
const MAX_LATER: usize = 4096;

/// What the engine tells.
#[derive(Debug)]
pub enum Notice {
    /// The first pass over open files is done, for which no loading of programs shall stand in the way.
    Begin,
    /// A process runs a new program.
    Executed(u32),
    /// The libraries of a process have changed.
    Changed(u32),
    /// A process has ended.
    Exited(u32),
    /// End.
    Stop,
}

/// What others see of the files.
pub type Rows = Arc<Mutex<Vec<LibraryFileRecord>>>;

/// The engine's end.
#[derive(Debug)]
pub struct Notices {
    sender: Sender<Notice>,
    /// Of processes, not yet taken.
    waiting: Arc<AtomicUsize>,
    dropped: u64,
}

impl Notices {
    /// Tells of a process. Never waits.
    pub fn tell(&mut self, notice: Notice) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_NOTICES || self.sender.send(notice).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped += 1;
        }
    }

    /// Tells that the looking can begin.
    pub fn begin(&self) {
        // If the thread is gone, the daemon ends.
        drop(self.sender.send(Notice::Begin));
    }

    /// How many are not yet taken, and how many may be.
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.load(Ordering::Relaxed), MAX_NOTICES)
    }

    /// How many found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The thread, and how to end it.
#[derive(Debug)]
pub struct Watch {
    sender: Sender<Notice>,
    thread: JoinHandle<()>,
    ending: Arc<AtomicBool>,
    /// What was found.
    pub rows: Rows,
}

impl Watch {
    /// Starts it. At most `max_files` files are probed at once.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub fn start(
        proc: &Path,
        max_files: usize,
        prober: Prober,
        metrics: Metrics,
    ) -> std::io::Result<(Watch, Notices)> {
        let (sender, notices) = channel();
        let (detaching, detached) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let ending = Arc::new(AtomicBool::new(false));
        let rows = Rows::default();
        let mut watcher = Watcher {
            discovery: Discovery::new(proc, max_files),
            probes: Probes {
                prober,
                attached: FxHashMap::default(),
                detaching,
                lacking: 0,
                ending: Arc::clone(&ending),
            },
            metrics,
            max_files,
            rows: Arc::clone(&rows),
            later: VecDeque::new(),
            waiting: Arc::clone(&waiting),
        };
        let thread =
            std::thread::Builder::new().name("libraries".to_owned()).spawn(move || watcher.run(&notices))?;
        std::thread::Builder::new()
            .name("detach".to_owned())
            .spawn(move || detached.into_iter().for_each(drop::<Probed>))?;
        let watch = Watch { sender: sender.clone(), thread, ending, rows };
        Ok((watch, Notices { sender, waiting, dropped: 0 }))
    }

    /// Tells it that the agent ends, before what its programs need is gone.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        // If it is gone already, joining it is all there is to do.
        drop(self.sender.send(Notice::Stop));
    }

    /// Waits until it has ended.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread that looks for TLS libraries panicked");
        }
    }
}

struct Watcher {
    discovery: Discovery,
    probes: Probes,
    metrics: Metrics,
    max_files: usize,
    rows: Rows,
    /// Processes to be looked at again, in no particular order of time: there are three delays.
    later: VecDeque<(Instant, u32, usize)>,
    waiting: Arc<AtomicUsize>,
}

impl Watcher {
    fn run(&mut self, notices: &Receiver<Notice>) {
        match notices.recv() {
            Ok(Notice::Stop) | Err(_) => return,
            Ok(_) => {}
        }
        // Whoever comes first does not wait for the verifier.
        let ending = Arc::clone(&self.probes.ending);
        self.probes.prober.load(|| !ending.load(Ordering::Acquire));
        let mut swept = Instant::now();
        self.sweep();
        loop {
            let until = self.next_look().unwrap_or(SWEEP).min(SWEEP.saturating_sub(swept.elapsed()));
            let first = match notices.recv_timeout(until) {
                Ok(notice) => Some(notice),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let started = Instant::now();
            let mut changed = BTreeSet::new();
            for notice in first.into_iter().chain(notices.try_iter()).take(MAX_NOTICES) {
                if matches!(notice, Notice::Executed(_) | Notice::Changed(_) | Notice::Exited(_)) {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                match notice {
                    Notice::Executed(pid) => {
                        changed.remove(&pid);
                        self.look(pid, Some(0));
                    }
                    Notice::Changed(pid) => {
                        changed.insert(pid);
                    }
                    Notice::Exited(pid) => {
                        changed.remove(&pid);
                        self.discovery.gone(pid, started);
                    }
                    Notice::Begin => {}
                    Notice::Stop => return,
                }
            }
            for pid in changed {
                self.look(pid, None);
            }
            self.look_again(started);
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep();
            }
            self.publish();
            self.metrics.stage(Stage::Discovery, started.elapsed());
        }
    }

    /// Looks at every process, and lets it be seen at once what was found: attaching takes milliseconds a file.
    fn sweep(&mut self) {
        match self.discovery.processes() {
            Ok(mut living) => {
                let mut examined = self.discovery.examined();
                living.retain(|pid| {
                    let lives = !self.probes.ends() && self.look(*pid, None);
                    if examined != self.discovery.examined() {
                        examined = self.discovery.examined();
                        self.publish();
                    }
                    lives
                });
                let probes = &mut self.probes;
                self.discovery.keep(&living, Instant::now(), &mut |order| drop(probes.obey(order)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot list processes: TLS libraries that are loaded from now on may be missed");
            }
        }
        self.publish();
    }

    fn note(&mut self, outcomes: Vec<(FileKey, ProbeOutcome)>) {
        for (key, outcome) in outcomes {
            self.discovery.probed(key, outcome, Instant::now());
        }
    }

    /// `attempt` counts the looks at a program that has just started. False if the process is gone, and maps nothing any more.
    fn look(&mut self, pid: u32, attempt: Option<usize>) -> bool {
        let mut outcomes = Vec::new();
        let probes = &mut self.probes;
        let look = self.discovery.look(pid, Instant::now(), &mut |order| outcomes.extend(probes.obey(order)));
        self.note(outcomes);
        let Ok(look) = look else { return false };
        if let Some(attempt) = attempt
            && look.links
            && !look.announces
            && let Some(delay) = LATER.get(attempt)
            && self.later.len() < MAX_LATER
        {
            self.later.push_back((Instant::now() + *delay, pid, attempt + 1));
        }
        true
    }

    fn look_again(&mut self, now: Instant) {
        for _ in 0..self.later.len() {
            let Some((at, pid, attempt)) = self.later.pop_front() else { return };
            if at <= now {
                self.look(pid, Some(attempt));
            } else {
                self.later.push_back((at, pid, attempt));
            }
        }
    }

    fn next_look(&self) -> Option<Duration> {
        let next = self.later.iter().map(|(at, ..)| *at).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn publish(&self) {
        let rows = self.discovery.rows();
        self.metrics.library_files(&rows);
        self.metrics.table("probed_files", self.discovery.probed_files(), self.max_files);
        let (known, bound) = self.discovery.sizes();
        self.metrics.table("examined_files", known, bound);
        self.metrics.table_evictions("examined_files", self.discovery.refused());
        self.metrics.library_files_passed_over(self.discovery.passed_over());
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

/// What is attached.
struct Probes {
    prober: Prober,
    attached: FxHashMap<FileKey, Probed>,
    /// Probes that are not needed any more: the kernel takes a tenth of a second for each, for which nothing should wait.
    detaching: Sender<Probed>,
    /// How many refusals of the kernel are in the log.
    lacking: usize,
    ending: Arc<AtomicBool>,
}

impl Probes {
    /// Whether the agent ends: what programs need goes with the source of events, and is then refused for no other reason.
    fn ends(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Does what discovery asks for, and says what became of a file that is to be probed.
    fn obey(&mut self, order: Order) -> Option<(FileKey, ProbeOutcome)> {
        match order {
            Order::Probe { key, file, points, last } => Some((key, self.probe(key, &file, &points, last))),
            Order::Release { key } => {
                if let Some(probed) = self.attached.remove(&key) {
                    self.detach(probed);
                }
                None
            }
        }
    }

    fn probe(&mut self, key: FileKey, file: &File, points: &[Point], last: bool) -> ProbeOutcome {
        // However the file was reached, the way to it may be gone by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let probed = self.prober.probe(Path::new(&path), points);
        if self.ends() {
            return ProbeOutcome::Later("the agent ends".to_owned());
        }
        let outcome = outcome(probed.attached(), probed.refused(), last);
        match &outcome {
            ProbeOutcome::Whole => {}
            ProbeOutcome::Part(reason) | ProbeOutcome::None(reason) | ProbeOutcome::Later(reason) => {
                tracing::warn!(
                    reason,
                    "a TLS library cannot be probed in full: `countersign check --libraries` says which"
                );
            }
        }
        match outcome {
            ProbeOutcome::Whole | ProbeOutcome::Part(_) => drop(self.attached.insert(key, probed)),
            // Nobody orders the release of what is not probed.
            ProbeOutcome::None(_) | ProbeOutcome::Later(_) => self.detach(probed),
        }
        self.say_what_is_lacking();
        outcome
    }

    fn say_what_is_lacking(&mut self) {
        let lacking = self.prober.unavailable();
        for lacking in lacking.iter().skip(self.lacking) {
            tracing::warn!(
                program = lacking.program,
                reason = lacking.reason,
                "this kernel refuses a probe of libraries: `countersign check` says what is missing without it"
            );
        }
        self.lacking = lacking.len();
    }

    fn detach(&self, probed: Probed) {
        // That thread ends when this one does.
        drop(self.detaching.send(probed));
    }
}

/// What becomes of a file of which so many programs are attached. What is wanting may be there when it is asked for again: until
/// then nothing is kept, since half of a library's points can mislead.
fn outcome(attached: usize, refused: &[RefusedPoint], last: bool) -> ProbeOutcome {
    let reasons =
        refused.iter().map(|refused| format!("{:?}: {}", refused.point.hook, super::chain(&refused.error)));
    let reason = reasons.collect::<Vec<_>>().join("; ");
    let transient = refused.iter().any(|refused| refused.error.is_transient());
    match (refused.is_empty(), attached) {
        (true, _) => ProbeOutcome::Whole,
        (false, _) if transient && !last => ProbeOutcome::Later(reason),
        (false, 0) => ProbeOutcome::None(reason),
        (false, _) => ProbeOutcome::Part(reason),
    }
}
