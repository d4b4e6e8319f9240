//! The table of processes: generations of each pid, kept for a while after exit.

mod family;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::cgroup::{CgroupPaths, CgroupTree};
use super::generations::{Arrival, Generations, TableSize};
use super::process::{NANOSECONDS_PER_TICK, Parts, Place, comm_text, ticks};
use super::procfs::{Executable, Fate, Procfs, Roots, Sighting};
use super::users::UserNames;
use super::workload::{Workloads, may_be_told_later};
use super::{ExecutableSource, KnownProcess, ProcessUnknown, WallClock};
use crate::event::{Event, ProcessKey, Task, Timestamp};
use crate::record::ProcessRecord;
use family::MAX_PARENTS;

/// Bound on one [`ProcessTable::sweep`]: what exits in a second on a host that forks wildly.
const MAX_EXPIRIES_PER_SWEEP: usize = 4096;
/// Bound on live entries that one sweep compares with `/proc` (about 5 µs each), in case their exit was lost.
const MAX_LIVENESS_CHECKS_PER_SWEEP: usize = 64;
/// Bound on executables that one sweep looks at again (about 15 µs each), of processes that were asked for.
const MAX_EXECUTABLE_CHECKS_PER_SWEEP: usize = 64;
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
    workloads: Workloads,
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
            cgroups: CgroupTree::new(roots.hierarchies.unified().map(Path::to_owned)),
            users: UserNames::default(),
            workloads: Workloads::new(roots),
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
        let (parent, pid, serial) = (entry.parent, task.process.pid, entry.serial);
        if !entry.named {
            self.processes.name(pid, serial);
        }
        let moved = task.cgroup != 0 && cgroup != 0 && task.cgroup != cgroup;
        let comm = (task.thread == task.process.pid).then(|| comm_text(&task.comm));
        let renamed = comm.as_ref().is_some_and(|comm| *comm != known.record.comm);
        // It was met as a parent only, and may have been moved since, or its cgroup was never told.
        let unplaced = cgroup == 0 && (inherited || task.cgroup != 0);
        if !(inherited || moved || unplaced || renamed || known.record.uid != task.uid) {
            return known;
        }
        let mut parts = Parts::of(&known);
        // Most programs have the name of their file: another one may be of an exec whose event was lost.
        let again = if renamed { self.read_other(task.process, task.uid, &known, at) } else { None };
        let executed = again.is_some();
        parts = again.unwrap_or(parts);
        if let Some(comm) = comm {
            parts.record.comm = comm.into_owned();
        }
        if parts.record.uid != task.uid || parts.record.user.is_none() {
            parts.record.uid = task.uid;
            parts.record.user = self.users.name(task.uid, at);
        }
        if inherited && executed {
            parts.record.parents = self.parents(task.process.pid, parts.session, parent);
        } else if inherited {
            self.adopt(&mut parts, task.process, parent);
        }
        if moved || unplaced || parts.place.is_unit(MANAGER_UNIT) {
            let text = self.procfs.cgroup(task.process.pid, ticks(task.process)).ok();
            parts.place = self.place(text.as_deref(), task, parts.place, at);
        }
        let key = if inherited { task.process } else { known.key };
        let known = Arc::new(parts.assemble(key, self.clock));
        self.processes.store(task.process, known.clone(), task.cgroup, None);
        known
    }

    /// Reads a process again if it runs another file than it is known for.
    fn read_other(
        &mut self,
        process: ProcessKey,
        uid: u32,
        before: &KnownProcess,
        at: Timestamp,
    ) -> Option<Parts> {
        let sighting = self.procfs.read(process.pid, ticks(process), false).ok()?;
        let record = &before.record;
        let known = record.executable_device.as_deref().zip(record.executable_inode);
        let file = sighting.executable.as_ref().ok()?.file.as_ref()?;
        if known.is_none_or(|known| known == (file.0.as_str(), file.1)) {
            return None;
        }
        let place = match &sighting.cgroup {
            Some(text) => self.workloads.of(text, at, &mut self.users).into(),
            None => before.place(),
        };
        let mut parts = self.parts_of(sighting, uid, place, at);
        parts.record.parents.clone_from(&record.parents);
        Some(parts)
    }

    /// What differs between a process and the fork of it that it was taken for so far.
    fn adopt(&mut self, parts: &mut Parts, process: ProcessKey, parent: Option<ProcessKey>) {
        if parts.record.executable.is_some() {
            parts.source = ExecutableSource::Inherited;
        }
        parts.record.parents = self.parents(process.pid, parts.session, parent);
        if parts.record.pid_namespace.is_some() {
            parts.record.namespace_pid = self.procfs.namespace_pid(process.pid, ticks(process));
        }
    }

    /// Forgets processes that exited `keep_after_exit` ago, and notices exits whose event was lost.
    /// Bounded work; to be called about once a second.
    pub fn sweep(&mut self, now: Timestamp) {
        let keep = u64::try_from(self.limits.keep_after_exit.as_nanos()).unwrap_or(u64::MAX);
        for _ in 0..MAX_EXPIRIES_PER_SWEEP {
            let Some((pid, serial, key)) = self.processes.next_expired(now, keep) else { break };
            // The leader can exit before the other threads, which may go on for ever.
            match self.procfs.threads(pid, ticks(key)) {
                Ok(threads) if threads > 1 => self.processes.keep(pid, serial),
                _ => self.processes.remove(pid, serial),
            }
        }
        for _ in 0..MAX_LIVENESS_CHECKS_PER_SWEEP {
            let Some((pid, serial, key)) = self.processes.next_to_check() else { break };
            if self.procfs.threads(pid, ticks(key)).is_err() {
                self.processes.mark_exited(now, pid, serial);
            }
        }
        for _ in 0..MAX_EXECUTABLE_CHECKS_PER_SWEEP.min(self.processes.named()) {
            let Some((pid, serial)) = self.processes.next_named() else { break };
            self.check_executable(pid, serial, now);
            self.check_user(pid, serial, now);
            self.check_place(pid, serial, now);
        }
        self.workloads.sweep();
    }

    /// How full it is.
    pub fn sizes(&self) -> TableSize {
        self.processes.size()
    }

    /// How full the memory of cgroups' workloads is.
    pub fn cgroup_sizes(&self) -> TableSize {
        self.workloads.size()
    }

    /// How full the memory of where cgroups are is, by which processes are placed that are gone.
    pub fn cgroup_path_sizes(&self) -> TableSize {
        self.cgroups.size()
    }

    /// How full the memory of users' names is.
    pub fn user_sizes(&self) -> TableSize {
        self.users.size()
    }

    /// Files, folders and links of `/proc` and of container runtimes that were read so far.
    pub fn reads(&self) -> u64 {
        self.procfs.reads() + self.workloads.reads()
    }

    /// The name of its user may have come by now.
    fn check_user(&mut self, pid: u32, serial: u64, now: Timestamp) {
        let Some(entry) = self.processes.at(pid, serial).filter(|entry| !entry.inherited) else { return };
        let known = Arc::clone(&entry.known);
        if known.record.user.is_some() {
            return;
        }
        if let Some(user) = self.users.known(known.record.uid, now) {
            let mut parts = Parts::of(&known);
            parts.record.user = Some(user.to_owned());
            self.processes.describe(pid, serial, Arc::new(parts.assemble(known.key, self.clock)));
        }
    }

    /// A runtime may know more of a container by now than when its processes were placed.
    fn check_place(&mut self, pid: u32, serial: u64, now: Timestamp) {
        let Some(entry) = self.processes.at(pid, serial).filter(|entry| !entry.inherited) else { return };
        let (key, known) = (entry.key, Arc::clone(&entry.known));
        let Some(before) = known.workload.as_ref().filter(|workload| may_be_told_later(workload)) else {
            return;
        };
        let Ok(text) = self.procfs.cgroup(pid, ticks(key)) else { return };
        let Some(workload) = self.workloads.of(&text, now, &mut self.users) else { return };
        if workload != *before {
            let mut parts = Parts::of(&known);
            parts.place = Place::In(workload);
            self.processes.describe(pid, serial, Arc::new(parts.assemble(known.key, self.clock)));
        }
    }

    /// Notices that a program was deleted or replaced while it runs, and another program whose exec was not told.
    fn check_executable(&mut self, pid: u32, serial: u64, now: Timestamp) {
        let Some(entry) = self.processes.at(pid, serial).filter(|entry| !entry.inherited) else { return };
        let (key, known) = (entry.key, Arc::clone(&entry.known));
        let record = &known.record;
        let (Some(path), Some(device), Some(inode), ExecutableSource::Link | ExecutableSource::Inherited) = (
            record.executable.as_deref(),
            record.executable_device.as_deref(),
            record.executable_inode,
            known.executable_source,
        ) else {
            return;
        };
        let parts = match self.procfs.executable_changed(pid, ticks(key), (path, device, inode)) {
            Ok(Fate::Same(changed)) if changed.is_some() && changed != record.executable_changed => {
                let mut parts = Parts::of(&known);
                parts.record.executable_changed = changed;
                Some(parts)
            }
            Ok(Fate::Other) => self.read_other(key, record.uid, &known, now),
            _ => None,
        };
        if let Some(parts) = parts {
            self.processes.describe(pid, serial, Arc::new(parts.assemble(known.key, self.clock)));
        }
    }

    fn forked(&mut self, at: Timestamp, parent: ProcessKey, child: ProcessKey) {
        if child.start_time != 0 && self.processes.find(child).is_some() {
            return;
        }
        // A pid is only given away again after its last owner is gone.
        if let Some(last) = self.processes.newest(child.pid) {
            self.processes.mark_exited(at, child.pid, last);
        }
        if self.processes.find(parent).is_none() {
            self.meet(parent, at, MAX_PARENTS);
        }
        let Some(entry) = self.processes.find(parent) else { return };
        let (known, cgroup) = (entry.known.clone(), entry.cgroup);
        self.processes.insert(Arrival { key: child, known, cgroup, inherited: true, parent: Some(parent) });
    }

    fn executed(&mut self, at: Timestamp, task: &Task, path: &Bytes) {
        let before = self.processes.find(task.process);
        let before = before.map(|entry| (entry.serial, entry.parent, entry.known.clone()));
        if let Some((serial, ..)) = before {
            // A thread that execs takes the place of its leader, which exits (execve(2)).
            self.processes.revive(task.process.pid, serial);
        }
        let mut parent = before.as_ref().and_then(|(_, parent, _)| *parent);
        let sighting = self.procfs.read(task.process.pid, ticks(task.process), false);
        let (key, mut parts) = match sighting {
            Ok(sighting) => {
                let place = self.place(sighting.cgroup.as_deref(), task, Place::Unknown, at);
                let key = with_start(task.process, &sighting);
                parent = parent.or_else(|| self.meet_parent(key, &sighting, at, MAX_PARENTS));
                let mut parts = self.parts_of(sighting, task.uid, place, at);
                if let Some(reason) = parts.unknown {
                    parts.run(path, reason);
                }
                (key, parts)
            }
            Err(reason) => {
                let (place, session) =
                    before.map_or((Place::Unknown, 0), |(_, _, known)| (known.place(), known.session));
                let place = self.place(None, task, place, at);
                let mut parts = self.parts_of_task(task, reason, at);
                (parts.place, parts.session) = (place, session);
                parts.run(path, reason);
                (task.process, parts)
            }
        };
        parts.record.parents = self.parents(key.pid, parts.session, parent);
        let known = Arc::new(parts.assemble(key, self.clock));
        self.processes.store(task.process, known, task.cgroup, parent);
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
        let mut parent = None;
        let (key, mut parts) = match sighting {
            Ok(sighting) => {
                let place = self.place(sighting.cgroup.as_deref(), task, Place::Unknown, at);
                let key = with_start(task.process, &sighting);
                parent = self.meet_parent(key, &sighting, at, MAX_PARENTS);
                (key, self.parts_of(sighting, task.uid, place, at))
            }
            Err(reason) => {
                let mut parts = self.parts_of_task(task, reason, at);
                if !parts.kernel_thread {
                    parts.place = self.place(None, task, Place::Unknown, at);
                }
                (task.process, parts)
            }
        };
        parts.record.parents = self.parents(key.pid, parts.session, parent);
        let known = Arc::new(parts.assemble(key, self.clock));
        let arrival = Arrival { key, known: known.clone(), cgroup: task.cgroup, inherited: false, parent };
        self.processes.insert(arrival);
        if let Some(serial) = self.processes.newest(key.pid) {
            self.processes.name(key.pid, serial);
        }
        known
    }

    /// Where a task is: by what `/proc` said if that was there, else by its cgroup's id, else as its parent.
    fn place(&mut self, text: Option<&[u8]>, task: &Task, inherited: Place, at: Timestamp) -> Place {
        if let Some(text) = text {
            if let Some(line) = CgroupPaths::parse(text).unified() {
                self.cgroups.learn(task.cgroup, &line.path);
            }
            return self.workloads.of(text, at, &mut self.users).into();
        }
        if let Some(path) = self.cgroups.path(task.cgroup, at) {
            let text = format!("0::{path}\n");
            if let Some(workload) = self.workloads.of(text.as_bytes(), at, &mut self.users) {
                return Place::In(workload);
            }
        }
        match inherited {
            // It was about to be moved to its own unit.
            place if place.is_unit(MANAGER_UNIT) && task.process.pid != 1 => Place::Unknown,
            place => place,
        }
    }

    fn parts_of(&mut self, sighting: Sighting, uid: u32, place: Place, at: Timestamp) -> Parts {
        let (executable, unknown) = match sighting.executable {
            Ok(executable) => (Some(executable), None),
            Err(reason) => (None, Some(reason)),
        };
        let source = if executable.is_some() { ExecutableSource::Link } else { ExecutableSource::Unknown };
        let mut record = ProcessRecord {
            comm: sighting.stat.comm,
            uid,
            user: self.users.name(uid, at),
            pid_namespace: sighting.namespace.map(|(inode, _)| inode),
            namespace_pid: sighting.namespace.and_then(|(_, pid)| pid),
            mount_namespace: sighting.mount_namespace,
            ..ProcessRecord::default()
        };
        if let Some(Executable { path, file, changed }) = executable {
            let (device, inode) = file.unzip();
            record.executable = Some(path);
            (record.executable_device, record.executable_inode) = (device, inode);
            record.executable_changed = changed;
        }
        let (kernel_thread, session) = (sighting.stat.kernel_thread, sighting.stat.session);
        Parts { record, source, unknown, place, kernel_thread, session }
    }

    fn parts_of_task(&mut self, task: &Task, reason: ProcessUnknown, at: Timestamp) -> Parts {
        let record = ProcessRecord {
            comm: comm_text(&task.comm).into_owned(),
            uid: task.uid,
            user: self.users.name(task.uid, at),
            ..ProcessRecord::default()
        };
        Parts {
            record,
            source: ExecutableSource::Unknown,
            unknown: Some(reason),
            place: Place::Unknown,
            kernel_thread: reason == ProcessUnknown::KernelThread,
            session: 0,
        }
    }
}

impl Parts {
    /// Names the executable by what was given to execve(2), for want of better.
    fn run(&mut self, path: &Bytes, reason: ProcessUnknown) {
        self.record.executable = (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned());
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
