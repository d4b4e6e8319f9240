//! What is known about a process, and why the rest is not.

use std::borrow::Cow;
use std::sync::Arc;

use super::workload::WorkloadUnknown;
use crate::event::{ProcessKey, Timestamp};
use crate::record::{ProcessRecord, WallTime, WorkloadRecord};

/// Nanoseconds of a clock tick of `/proc` (USER_HZ is 100 on every architecture in use, proc(5)).
pub(super) const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Kind of a workload that is a thread of the kernel.
const KERNEL: &str = "kernel";
/// Kind of a workload that is known by its program alone.
const EXECUTABLE: &str = "executable";

/// Translates the events' clock into wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    /// Wall-clock nanoseconds since 1970 minus nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub wall_minus_boot: i64,
}

impl WallClock {
    /// `at` as a time of day.
    pub fn wall(self, at: Timestamp) -> WallTime {
        WallTime(self.wall_minus_boot.saturating_add_unsigned(at.0))
    }
}

/// A process as far as it is known; never changed once handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownProcess {
    /// Which.
    pub key: ProcessKey,
    /// Its public record.
    pub record: Arc<ProcessRecord>,
    /// What it belongs to; `None` if neither a cgroup nor an executable names it.
    pub workload: Option<Arc<WorkloadRecord>>,
    /// Where `record.executable` comes from.
    pub executable_source: ExecutableSource,
    /// Why the executable was not read from `/proc`.
    pub executable_unknown: Option<ProcessUnknown>,
    /// A thread of the kernel: never the owner of a user's connection.
    pub kernel_thread: bool,
    /// Pid of the leader of its session; 0 if not known.
    pub session: u32,
}

/// Where the path of an executable comes from, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutableSource {
    /// The link `/proc/PID/exe`: the file that runs; for a script its interpreter.
    Link,
    /// Its parent's, of which it is a fork that did not exec.
    Inherited,
    /// The absolute path given to execve(2): may be a symbolic link, or a script instead of its interpreter.
    ExecPath,
    /// The relative path given to execve(2): relative to a working directory that is not known.
    ExecRelativePath,
    /// Nowhere.
    Unknown,
}

impl ExecutableSource {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            ExecutableSource::Link => "proc",
            ExecutableSource::Inherited => "inherited",
            ExecutableSource::ExecPath => "exec_path",
            ExecutableSource::ExecRelativePath => "exec_relative_path",
            ExecutableSource::Unknown => "unknown",
        }
    }
}

/// Why a process, or its executable, is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessUnknown {
    /// It was gone (or its pid belonged to another one) before `/proc` could be read.
    ExitedBeforeRead,
    /// A thread of the kernel has no executable and owns no connection.
    KernelThread,
    /// The agent's `/proc` shows another PID namespace than the initial one, so pids mean others.
    OtherPidNamespace,
    /// The process table had no room.
    TableFull,
    /// The connection was never accepted by a process.
    NeverAccepted,
    /// Several multipath sockets have this address pair.
    MptcpAmbiguous,
    /// The socket is older than the agent, and no holder was found.
    BeforeAgent,
    /// `/proc` refused (CAP_SYS_PTRACE is missing, or hidepid is set).
    PermissionDenied,
    /// `/proc` said something that did not parse.
    Unreadable,
    /// The endpoint is on another host.
    Remote,
    /// The events that name the owner were lost.
    EventsLost,
    /// No hook showed a holder.
    NotSeen,
    /// A capture file names no process.
    CaptureFile,
}

impl ProcessUnknown {
    /// All of them.
    pub const ALL: &'static [ProcessUnknown] = &[
        ProcessUnknown::ExitedBeforeRead,
        ProcessUnknown::KernelThread,
        ProcessUnknown::OtherPidNamespace,
        ProcessUnknown::TableFull,
        ProcessUnknown::NeverAccepted,
        ProcessUnknown::MptcpAmbiguous,
        ProcessUnknown::BeforeAgent,
        ProcessUnknown::PermissionDenied,
        ProcessUnknown::Unreadable,
        ProcessUnknown::Remote,
        ProcessUnknown::EventsLost,
        ProcessUnknown::NotSeen,
        ProcessUnknown::CaptureFile,
    ];

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            ProcessUnknown::ExitedBeforeRead => "exited_before_read",
            ProcessUnknown::KernelThread => "kernel_thread",
            ProcessUnknown::OtherPidNamespace => "other_pid_namespace",
            ProcessUnknown::TableFull => "table_full",
            ProcessUnknown::NeverAccepted => "never_accepted",
            ProcessUnknown::MptcpAmbiguous => "mptcp_ambiguous",
            ProcessUnknown::BeforeAgent => "before_agent",
            ProcessUnknown::PermissionDenied => "permission_denied",
            ProcessUnknown::Unreadable => "unreadable",
            ProcessUnknown::Remote => "remote",
            ProcessUnknown::EventsLost => "events_lost",
            ProcessUnknown::NotSeen => "not_seen",
            ProcessUnknown::CaptureFile => "capture_file",
        }
    }
}

/// What the cgroups of a process say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// It is in a unit or container.
    In(Arc<WorkloadRecord>),
    /// It is in none.
    Outside,
    /// They could not be read.
    Unknown,
}

impl Place {
    /// It is in this unit of the system.
    pub(super) fn is_unit(&self, unit: &str) -> bool {
        matches!(self, Place::In(workload) if workload.kind == "systemd" && workload.name == unit)
    }
}

impl From<Option<Arc<WorkloadRecord>>> for Place {
    fn from(workload: Option<Arc<WorkloadRecord>>) -> Place {
        workload.map_or(Place::Outside, Place::In)
    }
}

/// The parts of which a [`KnownProcess`] is made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parts {
    /// Without pid and times.
    pub(super) record: ProcessRecord,
    pub(super) source: ExecutableSource,
    pub(super) unknown: Option<ProcessUnknown>,
    pub(super) place: Place,
    pub(super) kernel_thread: bool,
    pub(super) session: u32,
}

impl Parts {
    /// Takes a process apart again, to make another one of it.
    pub(super) fn of(known: &KnownProcess) -> Parts {
        Parts {
            record: ProcessRecord::clone(&known.record),
            source: known.executable_source,
            unknown: known.executable_unknown,
            place: known.place(),
            kernel_thread: known.kernel_thread,
            session: known.session,
        }
    }

    pub(super) fn assemble(self, key: ProcessKey, clock: WallClock) -> KnownProcess {
        let workload = self.workload();
        let started = (key.start_time != 0).then(|| clock.wall(Timestamp(key.start_time)));
        KnownProcess {
            key,
            workload,
            executable_source: self.source,
            executable_unknown: self.unknown,
            kernel_thread: self.kernel_thread,
            session: self.session,
            record: Arc::new(ProcessRecord {
                pid: key.pid,
                start_time: key.start_time / NANOSECONDS_PER_TICK,
                started,
                ..self.record
            }),
        }
    }

    fn workload(&self) -> Option<Arc<WorkloadRecord>> {
        let named = |kind: &'static str, name: &str| WorkloadRecord {
            kind: kind.into(),
            name: name.to_owned(),
            ..WorkloadRecord::default()
        };
        if self.kernel_thread {
            return Some(Arc::new(named(KERNEL, &self.record.comm)));
        }
        let unknown = match &self.place {
            Place::In(workload) => return Some(Arc::clone(workload)),
            Place::Outside => None,
            Place::Unknown => Some(WorkloadUnknown::CgroupNotRead.as_str().into()),
        };
        let path = self.record.executable.as_deref()?;
        Some(Arc::new(WorkloadRecord { unknown, ..named(EXECUTABLE, path) }))
    }
}

impl KnownProcess {
    /// Where it is.
    pub(super) fn place(&self) -> Place {
        match &self.workload {
            None => Place::Unknown,
            Some(workload) if [EXECUTABLE, KERNEL].contains(&&*workload.kind) => {
                if workload.unknown.is_some() { Place::Unknown } else { Place::Outside }
            }
            Some(workload) => Place::In(Arc::clone(workload)),
        }
    }
}

/// A name as the kernel keeps it: NUL-padded, any bytes.
pub(super) fn comm_text(comm: &[u8]) -> Cow<'_, str> {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end])
}

/// The start time to look for in `/proc`; `None` if the kernel did not say.
pub(super) fn ticks(key: ProcessKey) -> Option<u64> {
    (key.start_time != 0).then_some(key.start_time / NANOSECONDS_PER_TICK)
}
