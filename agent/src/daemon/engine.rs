//! The one thread through which everything flows: source → connections → publisher.

mod pass;
mod repeat;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};

use super::heartbeat::Heartbeat;
use super::libraries::{Notice, Notices};
use super::publisher::{self, Publisher};
use crate::connection::Connections;
use crate::event::{Decision, Event, LossCause, SocketCookie, Timestamp};
use crate::identity::WallClock;
use crate::kernel::{self, KernelSource, Losses};
use crate::metrics::Stage as WorkStage;
use crate::ownership::Owners;
use crate::publication::{
    MAX_ANSWERS, MAX_EDGES, MAX_FINDINGS, MAX_KEYS, MAX_PRESENTED, MAX_REACHED, MAX_WORKLOADS,
};
use crate::record::{GAP_SCHEMA, GapRecord, WallTime};
use crate::scope::Networks;
use crate::verdict::Policy;
use pass::UnderWay;
use repeat::Repeating;

/// Events handled in one go: bounds the time between two looks at commands and clock.
const BATCH: usize = 4096;
/// Pause between two drains while there is work. Measured with new TLS connections over loopback: at 0.6 ms six of ten
/// decisions reach the kernel before a tenth of the handshake's size has followed it, at 1 ms four; the agent's own
/// processor time grows by less than a tenth from 1 ms to 0.5 ms.
const PAUSE: Duration = Duration::from_micros(600);
/// Longest wait for the source.
const IDLE: Duration = Duration::from_millis(500);
/// Between two looks at everything that only time changes.
const TICK: Duration = Duration::from_secs(1);
/// Between two readings of the host's own addresses and interfaces, two counts of the kernel's decisions, and two returns of
/// unused memory.
const LEARN: Duration = Duration::from_secs(30);
/// Between two times at which the history is told of findings that were met again.
const OFFER: Duration = Duration::from_secs(10);
/// Shortest time between two passes over open files: a pass visits every one of the host.
const PASS: Duration = Duration::from_secs(5);
/// Longest time between two passes where the kernel's iterator does not run: no hook tells the end of connections that are
/// older than the agent and idle.
const PASS_WITHOUT_ITERATOR: Duration = Duration::from_secs(30);

/// What the rest of the daemon asks of the engine.
#[derive(Debug)]
pub enum Command {
    /// Judge by another policy and other networks from now on.
    Reload {
        /// The policy.
        policy: Policy,
        /// Its name.
        version: Arc<str>,
        /// What is internal.
        networks: Networks,
        /// Whose things are.
        owners: Arc<Owners>,
    },
    /// End.
    Stop,
}

/// The engine's parts.
#[derive(Debug)]
pub struct Engine {
    source: KernelSource,
    connections: Connections,
    publisher: Publisher,
    heartbeat: Heartbeat,
    losses: Losses,
    /// Sockets that the last pass found.
    found: FxHashSet<SocketCookie>,
    /// Sockets that the last pass did not find although they should be open.
    doubtful: FxHashSet<SocketCookie>,
    /// Sockets that were granted more than the start budget: the grant may still lie in the kernel's table.
    budgeted: FxHashSet<SocketCookie>,
    lost_since_pass: bool,
    /// That a pass does not see everything is in the log.
    unseen_said: bool,
    last_pass: Option<Instant>,
    /// The pass that is not over yet.
    pass: Option<UnderWay>,
    repeating: Repeating,
    heartbeat_failed: bool,
    /// When the history was told of findings that were met again.
    offered: Instant,
    pulse: Arc<AtomicU64>,
    /// Takes what there is to say of processes; nothing if libraries are not probed.
    notices: Option<Notices>,
}

impl Engine {
    /// Takes the parts; nothing runs yet.
    pub fn new(
        source: KernelSource,
        connections: Connections,
        publisher: Publisher,
        heartbeat: Heartbeat,
    ) -> Self {
        Engine {
            source,
            connections,
            publisher,
            heartbeat,
            losses: Losses::default(),
            found: FxHashSet::default(),
            doubtful: FxHashSet::default(),
            budgeted: FxHashSet::default(),
            lost_since_pass: false,
            unseen_said: false,
            last_pass: None,
            pass: None,
            repeating: Repeating::default(),
            heartbeat_failed: false,
            offered: Instant::now(),
            pulse: Arc::default(),
            notices: None,
        }
    }

    /// Whoever looks for TLS libraries is told of processes from now on.
    pub fn tell_of_processes(&mut self, notices: Notices) {
        self.notices = Some(notices);
    }

    /// When it last moved, in nanoseconds since boot.
    pub fn pulse(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.pulse)
    }

    /// Runs until it is told to stop.
    pub fn run(mut self, commands: &Receiver<Command>) {
        self.say_what_was_missed();
        if let Some(reason) = self.source.without_iterator() {
            tracing::warn!(
                reason,
                "the kernel's iterator over open files does not run: connections older than the agent are sought in /proc"
            );
        }
        self.learn();
        self.begin_pass();
        if let Some(notices) = &self.notices {
            notices.begin();
        }
        let (mut ticked, mut learned) = (Instant::now(), Instant::now());
        let mut events = Vec::with_capacity(BATCH);
        loop {
            // One in each turn: events come between two of them.
            let obeyed = match commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => break,
                Ok(command) => {
                    self.obey(command);
                    true
                }
                Err(TryRecvError::Empty) => false,
            };
            self.repeat_open();
            let started = Instant::now();
            self.source.drain(BATCH, &mut |event| events.push(event));
            self.publisher.parts.metrics.stage(WorkStage::KernelDrain, started.elapsed());
            let busy = !events.is_empty();
            self.take_all(&mut events);
            self.hear_of_pass();
            self.carry_out_orders();
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
            if learned.elapsed() >= LEARN {
                learned = Instant::now();
                self.learn();
                // A burst of handshakes leaves holes in the heap.
                kernel::release_unused_memory();
            }
            if obeyed {
                continue;
            }
            if busy || self.repeating.is_under_way() {
                std::thread::park_timeout(PAUSE);
            } else if let Err(error) = self.source.wait(IDLE) {
                tracing::warn!(%error, "waiting for the kernel failed; trying again");
                std::thread::park_timeout(IDLE);
            }
        }
        self.tick();
        self.publisher.offer_findings();
    }

    fn take_all(&mut self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let (started, published) = (Instant::now(), self.publisher.spent);
        for event in events.drain(..) {
            self.take(event);
        }
        let published = self.publisher.spent - published;
        let metrics = &self.publisher.parts.metrics;
        metrics.stage(WorkStage::Publish, published);
        metrics.stage(WorkStage::Connection, started.elapsed().saturating_sub(published));
    }

    fn take(&mut self, event: Event) {
        let publisher = &mut self.publisher;
        publisher.now = event.at();
        if let Some(pass) = &mut self.pass {
            pass.note(&event);
        }
        publisher.parts.metrics.event(&event);
        publisher.parts.processes.observe(&event);
        // Short-lived processes are read while they are there.
        match &event {
            Event::Connect(connect) => drop(publisher.parts.processes.resolve(&connect.task, connect.at)),
            Event::PeerAsked(asked) => drop(publisher.parts.processes.resolve(&asked.task, asked.at)),
            _ => {}
        }
        self.tell_of(&event);
        self.connections.handle(event, &mut self.publisher);
    }

    /// Tells the kernel what was decided. What a socket was to be told that has ended in the same batch is not said.
    fn carry_out_orders(&mut self) {
        let mut decided: FxHashMap<SocketCookie, Decision> = FxHashMap::default();
        for order in self.publisher.orders.drain(..) {
            match order {
                publisher::Order::Decide(socket, decision) => {
                    decided.insert(socket, decision);
                }
                publisher::Order::Forget(socket) => {
                    if decided.remove(&socket).is_none() || self.budgeted.remove(&socket) {
                        self.source.forget(socket);
                    }
                }
            }
        }
        for (socket, decision) in decided {
            if matches!(decision, Decision::Budget { .. }) {
                self.budgeted.insert(socket);
            }
            if let Err(error) = self.source.decide(socket, decision) {
                tracing::warn!(%error, socket = socket.0, "the kernel did not take a decision");
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reload { policy, version, networks, owners } => {
                self.publisher.parts.policy = policy;
                self.publisher.parts.policy_version = version;
                self.publisher.parts.networks = networks;
                self.publisher.set_owners(owners);
                self.publisher.findings.clear();
                self.learn();
            }
            Command::Stop => {}
        }
    }

    /// What matters to whoever looks for TLS libraries.
    fn tell_of(&mut self, event: &Event) {
        let Some(notices) = &mut self.notices else { return };
        match event {
            Event::ProcessExecuted { task, .. } => notices.tell(Notice::Executed(task.process.pid)),
            Event::LibrariesChanged { process, .. } => notices.tell(Notice::Changed(process.pid)),
            Event::ProcessExited { process, .. } => notices.tell(Notice::Exited(process.pid)),
            _ => {}
        }
    }

    fn tick(&mut self) {
        let clock = kernel::clock();
        self.pulse.store(clock.boot.0, Ordering::Relaxed);
        self.publisher.now = clock.boot;
        self.set_clock(clock.wall_minus_boot);
        self.notice_losses(clock.boot);
        self.connections.tick(clock.boot, &mut self.publisher);
        self.publisher.parts.processes.sweep(clock.boot);
        let asked = !std::mem::take(&mut self.publisher.wanted).is_empty();
        let elapsed = |time: Duration| self.last_pass.is_none_or(|last| last.elapsed() >= time);
        self.lost_since_pass |= self.source.without_iterator().is_some() && elapsed(PASS_WITHOUT_ITERATOR);
        if (asked || self.lost_since_pass) && self.pass.is_none() && elapsed(PASS) {
            self.begin_pass();
        }
        self.carry_out_orders();
        self.measure();
        self.offer();
        self.beat();
    }

    /// What the history is told beside what happens.
    fn offer(&mut self) {
        self.publisher.offer_wanted();
        if self.offered.elapsed() >= OFFER {
            self.offered = Instant::now();
            self.publisher.offer_findings();
        }
    }

    fn set_clock(&mut self, wall_minus_boot: i64) {
        let clock = WallClock { wall_minus_boot };
        self.publisher.parts.clock = clock;
        self.publisher.parts.processes.set_clock(clock);
    }

    fn wall(&self) -> WallTime {
        self.publisher.parts.clock.wall(kernel::clock().boot)
    }

    fn notice_losses(&mut self, now: Timestamp) {
        let losses = self.source.losses();
        for cause in LossCause::ALL {
            let lost = losses.count(cause).saturating_sub(self.losses.count(cause));
            if lost == 0 {
                continue;
            }
            self.lost_since_pass = true;
            self.publisher.parts.metrics.lost(cause, lost);
            let event: Event = Event::Lost { at: now, cause, count: lost };
            self.connections.handle(event, &mut self.publisher);
            let to = self.wall();
            self.publisher.gap(GapRecord {
                schema: GAP_SCHEMA.into(),
                from: Some(WallTime(to.0 - TICK.as_nanos() as i64)),
                to,
                cause: cause.as_str().to_owned(),
                lost: Some(lost),
            });
            tracing::warn!(
                cause = cause.as_str(),
                lost,
                "events were lost: what they would have shown is reported as unknown"
            );
        }
        self.losses = losses;
    }

    fn say_what_was_missed(&mut self) {
        let clock = kernel::clock();
        self.set_clock(clock.wall_minus_boot);
        self.publisher.now = clock.boot;
        if let Some(gap) = self.heartbeat.missed(self.wall()) {
            let since = gap.from.map_or_else(|| "an unknown time".to_owned(), |from| from.to_string());
            tracing::info!(since, "the agent was not running: connections since then were not seen");
            self.publisher.parts.metrics.lost(LossCause::AgentDown, 1);
            self.publisher.missed(gap);
        }
        self.beat();
    }

    fn beat(&mut self) {
        let beat = self.heartbeat.beat(self.wall());
        if let Err(error) = &beat
            && !self.heartbeat_failed
        {
            tracing::error!(%error, "cannot write to the data folder: after a crash the gap cannot be dated");
        }
        self.heartbeat_failed = beat.is_err();
    }

    fn learn(&mut self) {
        self.publisher.parts.interfaces.learn();
        if let Err(error) = self.publisher.parts.networks.learn_own() {
            tracing::warn!(%error, "cannot list this host's addresses: the last known ones are used");
        }
        let (waiting, bound) = self.source.decisions_waiting();
        let metrics = &self.publisher.parts.metrics;
        metrics.table("decisions", waiting, bound);
        metrics.table_evictions("decisions", self.losses.refused_decisions);
    }

    fn measure(&self) {
        let metrics = &self.publisher.parts.metrics;
        let sizes = self.connections.sizes();
        let processes = self.publisher.parts.processes.sizes();
        let cgroups = self.publisher.parts.processes.cgroup_sizes();
        let cgroup_paths = self.publisher.parts.processes.cgroup_path_sizes();
        let users = self.publisher.parts.processes.user_sizes();
        let belonging = &self.publisher.belonging;
        let (certificates, findings) = (&self.publisher.parts.certificates, &self.publisher.findings);
        let workloads = self.publisher.parts.workloads.sizes();
        let (uses, edges) = (&self.publisher.uses, self.publisher.parts.edges.sizes());
        metrics.open_connections(sizes.connections);
        if let Some(notices) = &self.notices {
            let (waiting, bound) = notices.waiting();
            metrics.table("process_notices", waiting, bound);
            metrics.table_evictions("process_notices", notices.dropped());
        }
        metrics.library_evidence(self.connections.library_counts());
        let losses = &self.losses;
        metrics.library_events_lost([
            losses.unreadable_certificates,
            losses.refused_library_events,
            losses.long_chains,
            losses.forgotten_calls,
        ]);
        for (table, entries, bound, evicted) in [
            ("connections", sizes.connections, self.connections.bound(), sizes.refused),
            ("held_bytes", sizes.held, self.connections.held_bound(), sizes.readings_cut),
            ("sessions", sizes.sessions, self.connections.session_bound(), sizes.sessions_evicted),
            ("processes", processes.entries, processes.bound, processes.evicted + processes.refused),
            ("cgroups", cgroups.entries, cgroups.bound, cgroups.evicted),
            ("cgroup_paths", cgroup_paths.entries, cgroup_paths.bound, cgroup_paths.evicted),
            ("certificates", certificates.entries(), certificates.bound(), certificates.evicted()),
            ("workloads", workloads.workloads, MAX_WORKLOADS, workloads.workloads_left_out),
            ("workload_certificates", workloads.presented, MAX_PRESENTED, workloads.presented_left_out),
            ("edges", edges.edges, MAX_EDGES, edges.edges_evicted),
            ("reached", edges.reached, MAX_REACHED, edges.reached_evicted),
            ("early", sizes.early, self.connections.early_bound(), sizes.early_evicted),
            ("users", users.entries, users.bound, users.evicted),
            ("rule_answers", belonging.entries(), MAX_ANSWERS, belonging.forgotten()),
            ("findings", findings.entries(), MAX_FINDINGS, findings.refused()),
            ("keys", uses.entries(), MAX_KEYS, uses.evicted()),
        ] {
            metrics.table(table, entries, bound);
            metrics.table_evictions(table, evicted);
        }
    }
}
