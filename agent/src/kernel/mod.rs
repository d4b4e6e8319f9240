//! The kernel: eBPF programs in, events out.
//!
//! Enters: options. Leaves: [`Event`]s in the order in which each CPU saw them, and the sockets
//! that were open before. [`KernelSource`] loads the embedded programs, attaches them to the root
//! of cgroup v2 by links that vanish with it (also with kill -9), reads the ring buffer and hands
//! decisions back; [`preflight`] says what would work here and why the rest would not.
//! Refuses: any decision about a connection. Everything not delivered is counted ([`Losses`]).
//!
//! Order matters at start: the hooks that give a socket its storage are attached before those that
//! read packets, and [`KernelSource::existing`] comes last, so that no socket falls in between; one
//! can be reported twice.

mod btf;
mod cgroup;
mod clock;
mod cookie;
mod decode;
mod error;
mod existing;
mod memory;
mod offsets;
mod preflight;
mod probes;
mod programs;
mod ring;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuArray},
};
use countersign_common::{DECISIONS_MAX, RING_BYTES, START_BUDGET, counter};

pub use clock::{Clock, clock};
pub use cookie::own_network_namespace;
pub use error::KernelError;
pub use existing::{ExistingSockets, Listener, Missed};
pub use memory::{release_unused_memory, share_memory_between_threads};
pub use preflight::{Check, CheckStatus, has_rights, preflight};
pub use probes::{Probed, Prober, RefusedPoint};
pub use programs::Unavailable;
pub use ring::Waker;

use crate::event::{Decision, Event, LossCause, SocketCookie};

/// How to start.
#[derive(Debug, Clone)]
pub struct KernelOptions {
    /// Root of cgroup v2; found by itself if `None`. Only sockets of processes in it are seen.
    pub cgroup_root: Option<PathBuf>,
    /// Size of the ring buffer, a power of two of at least 65,536.
    pub ring_bytes: u32,
    /// Payload bytes of each direction that the kernel ships before it is told otherwise.
    pub start_budget: u32,
    /// Of bytes that cross the loopback interface, ship the sender's copy only. Has no effect where a part of the cgroup
    /// hierarchy is watched: there the sender may be outside of it.
    pub loopback_once: bool,
}

impl Default for KernelOptions {
    fn default() -> Self {
        KernelOptions {
            cgroup_root: None,
            ring_bytes: RING_BYTES as u32,
            start_budget: START_BUDGET,
            loopback_once: true,
        }
    }
}

/// What was not delivered since the start, and how much was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Events that found no room in the ring buffer ([`LossCause::RingFull`]).
    pub ring_full: u64,
    /// Sockets for which the kernel had no storage, and decisions that found no room.
    pub table_full: u64,
    /// Only the decisions among them.
    pub refused_decisions: u64,
    /// Packets that could not be read or placed.
    pub unreadable: u64,
    /// Runs of certificate bytes that could not be read out of a process.
    pub unreadable_certificates: u64,
    /// Events of libraries that found the ring buffer half full: the rest is the wire's.
    pub refused_library_events: u64,
    /// Chains of which certificates beyond a bound were not read.
    pub long_chains: u64,
    /// Calls of libraries that no table had room for.
    pub forgotten_calls: u64,
    /// Records that did not decode.
    pub malformed: u64,
    /// Payload bytes that the kernel shipped.
    pub bytes_shipped: u64,
    /// Size of the ring buffer.
    pub ring_bytes: u32,
}

impl Losses {
    /// How many events a cause has taken; what happened while the agent was down is not counted here.
    pub fn count(&self, cause: LossCause) -> u64 {
        match cause {
            LossCause::RingFull => self.ring_full,
            LossCause::TableFull => self.table_full,
            LossCause::Unreadable => self.unreadable,
            LossCause::Malformed => self.malformed,
            LossCause::AgentDown => 0,
        }
    }
}

/// Running programs. Dropping it detaches them.
pub struct KernelSource {
    /// Shared with whoever attaches probes.
    ebpf: Arc<Mutex<Ebpf>>,
    ring: ring::Ring,
    decisions: HashMap<MapData, u64, [u32; 4]>,
    counters: PerCpuArray<MapData, u64>,
    unavailable: Vec<Unavailable>,
    refused_decisions: u64,
    ring_bytes: u32,
    /// The cgroup that is watched, if it is not the root.
    part: Option<PathBuf>,
}

impl std::fmt::Debug for KernelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelSource").field("unavailable", &self.unavailable).finish_non_exhaustive()
    }
}

impl KernelSource {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    ///
    /// When a hook without which connections cannot be told is refused: see [`KernelError`]. What
    /// else is refused is left out and listed by [`KernelSource::unavailable`].
    pub fn start(options: &KernelOptions) -> Result<Self, KernelError> {
        let programs::Loaded { mut ebpf, mut unavailable } = programs::start(options)?;
        let ring = ring::Ring::new(programs::take_map(&mut ebpf, "EVENTS")?)?;
        let decisions = HashMap::try_from(programs::take_map(&mut ebpf, "DECISIONS")?)
            .map_err(KernelError::map("DECISIONS"))?;
        let counters = PerCpuArray::try_from(programs::take_map(&mut ebpf, "COUNTERS")?)
            .map_err(KernelError::map("COUNTERS"))?;
        if let Err(error) = existing::iterator::prove(&mut ebpf) {
            unavailable.push(Unavailable::new(existing::PROGRAM, &error));
        }
        let ring_bytes = options.ring_bytes;
        release_unused_memory();
        Ok(KernelSource {
            ebpf: Arc::new(Mutex::new(ebpf)),
            ring,
            decisions,
            counters,
            unavailable,
            refused_decisions: 0,
            ring_bytes,
            part: programs::hierarchy(options).filter(|found| !found.is_root).map(|found| found.path),
        })
    }

    /// What this kernel refused and the source does without.
    pub fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }

    /// The TCP sockets that are open now, with their holders: by the kernel's iterator over open files, or without it
    /// from `/proc` and sock_diag. By the iterator, their packets are not looked at from now on, and their last release is
    /// reported; without it both begin with their next packet.
    ///
    /// # Errors
    ///
    /// [`KernelError::Iterator`], or [`KernelError::Existing`] where that does not run either.
    pub fn existing(&mut self) -> Result<ExistingSockets, KernelError> {
        match self.without_iterator() {
            Some(_) => within(self.part.as_deref(), existing::files::read(Path::new("/proc"))),
            None => {
                let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
                within(self.part.as_deref(), existing::iterator::read(&mut ebpf))
            }
        }
    }

    /// The same from `/proc` and sock_diag, on a thread of its own that answers once: it takes seconds on a host with millions
    /// of descriptors, in which events would find no room.
    ///
    /// # Errors
    ///
    /// If the system has no room for a thread.
    pub fn existing_aside(&self) -> io::Result<Receiver<Result<ExistingSockets, KernelError>>> {
        let part = self.part.clone();
        let (told, answer) = channel();
        let work = move || {
            // Nobody is there any more to hear of it when the daemon ends.
            drop(told.send(within(part.as_deref(), existing::files::read(Path::new("/proc")))));
        };
        std::thread::Builder::new().name("open files".to_owned()).spawn(work)?;
        Ok(answer)
    }

    /// Why the kernel's iterator over open files is not used, if so.
    pub fn without_iterator(&self) -> Option<&str> {
        let lacking = self.unavailable.iter().find(|lacking| lacking.program == existing::PROGRAM)?;
        Some(&lacking.reason)
    }

    /// Attaches probes of TLS libraries, whose events this source delivers. One is enough: each loads what it needs.
    pub fn prober(&self) -> Prober {
        Prober::new(Arc::clone(&self.ebpf))
    }

    /// Ends [`KernelSource::wait`] from another thread.
    pub fn waker(&self) -> Waker {
        self.ring.waker()
    }

    /// Waits until there is something to drain or somebody wakes it; `false` after `timeout` or a signal.
    ///
    /// # Errors
    ///
    /// As poll(2).
    pub fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        self.ring.wait(timeout)
    }

    /// Hands at most `limit` events to `each` and says how many there were. What is left keeps its
    /// place; fewer than `limit` means that the ring buffer is empty.
    pub fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Event)) -> usize {
        self.ring.drain(limit, each)
    }

    /// Tells the kernel what is wanted of a socket; its next packet takes it up.
    ///
    /// # Errors
    ///
    /// When the table is full, which is also counted.
    pub fn decide(&mut self, socket: SocketCookie, decision: Decision) -> Result<(), KernelError> {
        let value = match decision {
            Decision::Stop => [1, 0, 0, 0],
            Decision::Budget { sent, received } => [0, sent, received, 0],
        };
        self.decisions.insert(socket.0, value, 0).map_err(|error| {
            self.refused_decisions += 1;
            KernelError::map("DECISIONS")(error)
        })
    }

    /// Drops a decision that no packet took up: the connection has ended.
    pub fn forget(&mut self, socket: SocketCookie) {
        // Mostly it is gone already: the packet that took it up removed it.
        let _gone: Result<(), MapError> = self.decisions.remove(&socket.0);
    }

    /// Decisions that no packet has taken up yet, and how many there is room for. Asks the kernel once per entry.
    pub fn decisions_waiting(&self) -> (usize, usize) {
        (self.decisions.keys().take(DECISIONS_MAX).filter(Result::is_ok).count(), DECISIONS_MAX)
    }

    /// Totals since the start.
    pub fn losses(&mut self) -> Losses {
        let total =
            |slot: u32| -> u64 { self.counters.get(&slot, 0).map_or(0, |values| values.iter().sum()) };
        Losses {
            ring_full: total(counter::RING_FULL),
            table_full: total(counter::TABLE_FULL) + self.refused_decisions,
            refused_decisions: self.refused_decisions,
            unreadable: total(counter::UNREADABLE),
            unreadable_certificates: total(counter::UNREADABLE_CERTIFICATES),
            refused_library_events: total(counter::LIBRARY_REFUSED),
            long_chains: total(counter::LONG_CHAINS),
            forgotten_calls: total(counter::CALLS_FORGOTTEN),
            malformed: self.ring.malformed(),
            bytes_shipped: total(counter::BYTES_SHIPPED),
            ring_bytes: self.ring_bytes,
        }
    }
}

/// Of a part of the hierarchy of cgroups only what is held there.
fn within(
    part: Option<&Path>,
    found: Result<ExistingSockets, KernelError>,
) -> Result<ExistingSockets, KernelError> {
    match part {
        Some(part) => found.map(|found| found.held_in(&cgroup::numbers_below(part))),
        None => found,
    }
}
