//! The table of processes: generations of each pid, kept for a while after exit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::cgroup::{CgroupPaths, CgroupTree, unit};
use super::generations::{Generations, TableSize};
use super::process::{NANOSECONDS_PER_TICK, Parts, comm_text, ticks};
use super::procfs::{Executable, Procfs, Roots, Sighting};
use super::users::UserNames;
use super::{ExecutableSource, KnownProcess, ProcessUnknown, WallClock};
use crate::event::{Event, ProcessKey, Task, Timestamp};

/// Bound on one [`ProcessTable::sweep`]: what exits in a second on a host that forks wildly.
const MAX_EXPIRIES_PER_SWEEP: usize = 4096;
/// Bound on live entries that one sweep compares with `/proc` (about 5 µs each), in case their exit was lost.
const MAX_LIVENESS_CHECKS_PER_SWEEP: usize = 64;
/// The manager of a host; a child of it that is still there was not yet moved to its unit.
const MANAGER_UNIT: &str = "init.scope";

/// Bounds of a [`ProcessTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessTableLimits {
    /// Processes remembered, exited ones included. Each takes about 100 bytes as a fork, 600 on its own.
    pub max_processes: usize,
    /// How long an exited process is remembered: sockets are released, and leaders' threads live on, after the exit.
    pub keep_after_exit: Duration,
}

impl Default for ProcessTableLimits {
    /// 32768 is the kernel's default `pid_max` of small hosts, and at most 20 MiB here; 30 s outlive every
    /// event of a process that was in flight when it exited.
    fn default() -> Self {
        ProcessTableLimits { max_processes: 32768, keep_after_exit: Duration::from_secs(30) }
    }
}

/// Who runs, and who ran until a moment ago.
#[derive(Debug)]
pub struct ProcessTable {
    limits: ProcessTableLimits,
    clock: WallClock,
    procfs: Procfs,
    cgroups: CgroupTree,
    users: UserNames,
    processes: Generations,
}

impl ProcessTable {
    /// An empty table over this host's `/proc`.
    pub fn new(limits: ProcessTableLimits, clock: WallClock) -> Self {
        Self::with_roots(limits, clock, &Roots::host())
    }

    /// The same over other mounts.
    pub fn with_roots(limits: ProcessTableLimits, clock: WallClock, roots: &Roots) -> Self {
        ProcessTable {
            limits,
            clock,
            procfs: Procfs::new(&roots.proc),
            cgroups: CgroupTree::new(roots.cgroup.clone()),
            users: UserNames::default(),
            processes: Generations::new(limits.max_processes),
        }
    }

    /// The wall clock was set: processes seen from now on get their start time by it.
    pub fn set_clock(&mut self, clock: WallClock) {
        self.clock = clock;
    }

    /// Learns from a process event; others are ignored. To be called as soon as the event is
    /// there: a program that lives for milliseconds is read from `/proc` here.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::ProcessForked { at, parent, child } => self.forked(*at, *parent, *child),
            Event::ProcessExecuted { at, task, path } => self.executed(*at, task, path),
            Event::ProcessExited { at, process } => self.exited(*at, *process),
            _ => {}
        }
    }

    /// Who `task` is. Reads `/proc` on the first sighting of the process only.
    pub fn resolve(&mut self, task: &Task, at: Timestamp) -> Arc<KnownProcess> {
        let Some(entry) = self.processes.find(task.process) else {
            return self.first_sighting(task, at);
        };
        let (known, cgroup, inherited) = (entry.known.clone(), entry.cgroup, entry.inherited);
        let moved = task.cgroup != 0 && cgroup != 0 && task.cgroup != cgroup;
        let comm = (task.thread == task.process.pid).then(|| comm_text(&task.comm));
        let renamed = comm.as_ref().is_some_and(|comm| *comm != known.record.comm);
        if !(inherited || moved || renamed || known.record.uid != task.uid) {
            if cgroup == 0 && task.cgroup != 0 {
                self.processes.store(task.process, known.clone(), task.cgroup);
            }
            return known;
        }
        let mut parts = Parts::of(&known);
        if let Some(comm) = comm {
            parts.comm = comm.into_owned();
        }
        if parts.uid != task.uid || parts.user.is_none() {
            parts.uid = task.uid;
            parts.user = self.users.name(task.uid, at);
        }
        if inherited && parts.executable.is_some() {
            parts.source = ExecutableSource::Inherited;
        }
        let unplaced = inherited && cgroup == 0;
        if moved || unplaced || parts.unit.as_deref() == Some(MANAGER_UNIT) {
            let paths = self.procfs.cgroup(task.process.pid, ticks(task.process)).ok();
            parts.unit = self.unit(paths.as_ref(), task, parts.unit, at);
        }
        let key = if inherited { task.process } else { known.key };
        let known = Arc::new(parts.assemble(key, self.clock));
        self.processes.store(task.process, known.clone(), task.cgroup);
        known
    }

    /// Forgets processes that exited `keep_after_exit` ago, and notices exits whose event was lost.
    /// Bounded work; to be called about once a second.
    pub fn sweep(&mut self, now: Timestamp) {
        let keep = u64::try_from(self.limits.keep_after_exit.as_nanos()).unwrap_or(u64::MAX);
        for _ in 0..MAX_EXPIRIES_PER_SWEEP {
            let Some((pid, serial, key)) = self.processes.next_expired(now, keep) else { break };
            // The leader can exit before the other threads, which may go on for ever.
            match self.procfs.threads(pid, ticks(key)) {
                Ok(threads) if threads > 1 => self.processes.revive(pid, serial),
                _ => self.processes.remove(pid, serial),
            }
        }
        for _ in 0..MAX_LIVENESS_CHECKS_PER_SWEEP {
            let Some((pid, serial, key)) = self.processes.next_to_check() else { break };
            if self.procfs.threads(pid, ticks(key)).is_err() {
                self.processes.mark_exited(now, pid, serial);
            }
        }
    }

    /// How full it is.
    pub fn sizes(&self) -> TableSize {
        self.processes.size()
    }

    fn forked(&mut self, at: Timestamp, parent: ProcessKey, child: ProcessKey) {
        if child.start_time != 0 && self.processes.find(child).is_some() {
            return;
        }
        // A pid is only given away again after its last owner is gone.
        if let Some(last) = self.processes.newest(child.pid) {
            self.processes.mark_exited(at, child.pid, last);
        }
        let (known, cgroup) = match self.processes.find(parent) {
            Some(entry) => (entry.known.clone(), entry.cgroup),
            None => {
                let Ok(sighting) = self.procfs.read(parent.pid, ticks(parent), true) else { return };
                let unit = sighting.cgroup.as_ref().and_then(CgroupPaths::unit).map(str::to_owned);
                // Only for the record of a fork that no hook ever shows; a hook tells the user id.
                let uid = sighting.uid.unwrap_or(u32::MAX);
                let key = with_start(parent, &sighting);
                let parts = self.parts_of(sighting, uid, unit, at);
                let known = Arc::new(parts.assemble(key, self.clock));
                self.processes.insert(key, known.clone(), 0, false);
                (known, 0)
            }
        };
        self.processes.insert(child, known, cgroup, true);
    }

    fn executed(&mut self, at: Timestamp, task: &Task, path: &Bytes) {
        let before = self.processes.find(task.process).map(|entry| (entry.serial, entry.known.clone()));
        if let Some((serial, _)) = before {
            // A thread that execs takes the place of its leader, which exits (execve(2)).
            self.processes.revive(task.process.pid, serial);
        }
        let sighting = self.procfs.read(task.process.pid, ticks(task.process), false);
        let (key, parts) = match sighting {
            Ok(sighting) => {
                let unit = self.unit(sighting.cgroup.as_ref(), task, None, at);
                let key = with_start(task.process, &sighting);
                let mut parts = self.parts_of(sighting, task.uid, unit, at);
                if let Some(reason) = parts.unknown {
                    parts.run(path, reason);
                }
                (key, parts)
            }
            Err(reason) => {
                let inherited = before.and_then(|(_, known)| {
                    known.workload.as_ref().and_then(|workload| workload.unit.clone())
                });
                let unit = self.unit(None, task, inherited, at);
                let mut parts = self.parts_of_task(task, reason, at);
                parts.unit = unit;
                parts.run(path, reason);
                (task.process, parts)
            }
        };
        let known = Arc::new(parts.assemble(key, self.clock));
        self.processes.store(task.process, known, task.cgroup);
    }

    fn exited(&mut self, at: Timestamp, process: ProcessKey) {
        if let Some(serial) = self.processes.find(process).map(|entry| entry.serial) {
            self.processes.mark_exited(at, process.pid, serial);
        }
    }

    fn first_sighting(&mut self, task: &Task, at: Timestamp) -> Arc<KnownProcess> {
        let sighting = match (task.kernel_thread || task.process.pid == 0, self.processes.is_full()) {
            (true, _) => Err(ProcessUnknown::KernelThread),
            // Every hook of such a process would read `/proc` again.
            (false, true) => Err(ProcessUnknown::TableFull),
            (false, false) => self.procfs.read(task.process.pid, ticks(task.process), false),
        };
        let (key, parts) = match sighting {
            Ok(sighting) => {
                let unit = self.unit(sighting.cgroup.as_ref(), task, None, at);
                (with_start(task.process, &sighting), self.parts_of(sighting, task.uid, unit, at))
            }
            Err(reason) => {
                let mut parts = self.parts_of_task(task, reason, at);
                if !parts.kernel_thread {
                    parts.unit = self.unit(None, task, None, at);
                }
                (task.process, parts)
            }
        };
        let known = Arc::new(parts.assemble(key, self.clock));
        self.processes.insert(key, known.clone(), task.cgroup, false);
        known
    }

    /// The unit of a task: from `/proc` if that was there, else from the cgroup's id, else inherited.
    fn unit(
        &mut self,
        paths: Option<&CgroupPaths>,
        task: &Task,
        inherited: Option<String>,
        at: Timestamp,
    ) -> Option<String> {
        if let Some(paths) = paths {
            if let Some(path) = &paths.unified {
                self.cgroups.learn(task.cgroup, path);
            }
            return paths.unit().map(str::to_owned);
        }
        let by_id = self.cgroups.path(task.cgroup, at).and_then(unit).map(str::to_owned);
        by_id.or_else(|| inherited.filter(|unit| unit != MANAGER_UNIT || task.process.pid == 1))
    }

    fn parts_of(&mut self, sighting: Sighting, uid: u32, unit: Option<String>, at: Timestamp) -> Parts {
        let (executable, unknown) = match sighting.executable {
            Ok(executable) => (Some(executable), None),
            Err(reason) => (None, Some(reason)),
        };
        Parts {
            comm: sighting.stat.comm,
            uid,
            user: self.users.name(uid, at),
            source: if executable.is_some() { ExecutableSource::Link } else { ExecutableSource::Unknown },
            deleted: executable.as_ref().is_some_and(|executable| executable.deleted),
            executable: executable.map(|Executable { path, .. }| path),
            unknown,
            unit,
            kernel_thread: sighting.stat.kernel_thread,
        }
    }

    fn parts_of_task(&mut self, task: &Task, reason: ProcessUnknown, at: Timestamp) -> Parts {
        Parts {
            comm: comm_text(&task.comm).into_owned(),
            uid: task.uid,
            user: self.users.name(task.uid, at),
            executable: None,
            source: ExecutableSource::Unknown,
            unknown: Some(reason),
            deleted: false,
            unit: None,
            kernel_thread: reason == ProcessUnknown::KernelThread,
        }
    }
}

impl Parts {
    /// Names the executable by what was given to execve(2), for want of better.
    fn run(&mut self, path: &Bytes, reason: ProcessUnknown) {
        self.executable = (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned());
        self.source = match path.first() {
            None => ExecutableSource::Unknown,
            Some(b'/') => ExecutableSource::ExecPath,
            Some(_) => ExecutableSource::ExecRelativePath,
        };
        self.unknown = Some(reason);
    }
}

/// The kernel's start time if it said one, else the coarser one of `/proc`.
fn with_start(key: ProcessKey, sighting: &Sighting) -> ProcessKey {
    match key.start_time {
        0 => ProcessKey { start_time: sighting.stat.start_ticks * NANOSECONDS_PER_TICK, ..key },
        _ => key,
    }
}
