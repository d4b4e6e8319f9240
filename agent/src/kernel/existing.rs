//! Sockets that are older than the agent, from the kernel's iterator over open files (`iter/task_file`); where that does
//! not run, from `/proc` and sock_diag.

pub(super) mod files;
pub(super) mod iterator;
mod process;
mod sock_diag;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use countersign_common::tcp_state;

use super::clock;
use crate::event::{AddressPair, Existing, NetworkNamespace, ProcessKey, Role, SocketCookie, Task};

/// IPPROTO_MPTCP (include/uapi/linux/in.h).
const MULTIPATH: u32 = 262;

/// The iterator's program, and the kernel's name for what it iterates over.
pub(super) const PROGRAM: &str = "task_file";

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Its cookie.
    pub socket: SocketCookie,
    /// Its address, possibly a wildcard; an IPv6 wildcard also takes IPv4 unless told otherwise.
    pub local: SocketAddr,
    /// Where.
    pub netns: NetworkNamespace,
    /// The holder that started first: a prefork server's parent.
    pub owner: Task,
}

/// What one pass over open files found.
#[derive(Debug, Clone, Default)]
pub struct ExistingSockets {
    /// One per connected socket, with its youngest holder (the child that serves, not the parent that accepted).
    pub events: Vec<Existing>,
    /// One per listening socket whose holder is known.
    pub listeners: Vec<Listener>,
    /// Every connected socket that is open, with a known holder or not.
    pub open: Vec<SocketCookie>,
    /// Network namespaces in which a connected socket that is not in `open` is closed; `None` for all there are. One to which
    /// only processes lead that do not show their files is not found.
    pub covered: Option<HashSet<NetworkNamespace>>,
    /// What could not be looked at; nothing by the iterator.
    pub missed: Missed,
}

/// What a pass over `/proc` could not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missed {
    /// Processes whose open files were not shown: CAP_SYS_PTRACE is missing.
    pub processes: u64,
    /// Processes of which not all descriptors were looked at: a pass looks at so many, and for so long.
    pub crowded: u64,
    /// Network namespaces that could not be entered (CAP_SYS_ADMIN is missing) or listed, or that were too many.
    pub namespaces: u64,
    /// Sockets beyond the bounds.
    pub sockets: u64,
    /// `/proc` hides processes (its option hidepid, without CAP_SYS_PTRACE).
    pub hidden_processes: bool,
    /// The agent's `/proc` shows another PID namespace than the initial one, so that its pids mean others.
    pub foreign_pids: bool,
}

impl Missed {
    /// A socket may have a holder that was not seen.
    fn hides_holders(self) -> bool {
        self.processes > 0
            || self.crowded > 0
            || self.sockets > 0
            || self.hidden_processes
            || self.foreign_pids
    }

    /// Nothing was missed.
    pub fn is_empty(self) -> bool {
        self == Missed::default()
    }

    /// In words, with what to do; nothing if nothing was missed.
    pub fn reasons(self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.foreign_pids {
            reasons.push(
                "/proc is of another PID namespace: no holders (run in the host's, --pid=host)".to_owned(),
            );
        }
        if self.hidden_processes {
            reasons.push("/proc hides processes (hidepid): CAP_SYS_PTRACE is missing".to_owned());
        }
        if self.processes > 0 && !self.foreign_pids {
            reasons.push(format!(
                "{} processes do not show their files: CAP_SYS_PTRACE is missing",
                self.processes
            ));
        }
        if self.crowded > 0 {
            reasons.push(format!("{} processes have too many descriptors, or come after them", self.crowded));
        }
        if self.namespaces > 0 {
            let count = self.namespaces;
            reasons.push(format!("{count} network namespaces cannot be listed: CAP_SYS_ADMIN is missing"));
        }
        if self.sockets > 0 {
            reasons.push(format!("{} sockets are too many", self.sockets));
        }
        reasons
    }
}

impl ExistingSockets {
    /// Those of which a holder is in one of `cgroups`: the hooks of a part of the hierarchy do not see others.
    pub(super) fn held_in(mut self, cgroups: &HashSet<u64>) -> Self {
        let inside = |owner: &Task| cgroups.contains(&owner.cgroup);
        self.events.retain(|existing| existing.owner.as_ref().is_some_and(inside));
        self.listeners.retain(|listener| inside(&listener.owner));
        self
    }
}

/// A socket and one that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    socket: SocketCookie,
    netns: NetworkNamespace,
    pair: AddressPair,
    /// One of [`tcp_state`].
    state: u32,
    multipath: bool,
    owner: Option<Task>,
}

/// One entry per socket out of one per holder and descriptor.
fn arrange(held: impl Iterator<Item = Held>) -> ExistingSockets {
    let mut listeners: HashMap<SocketCookie, Held> = HashMap::new();
    let mut connected: HashMap<SocketCookie, Held> = HashMap::new();
    for one in held {
        // Of a multipath connection the file has another socket than the packets: it would be met twice.
        let (table, younger) = match one.state {
            tcp_state::LISTEN => (&mut listeners, false),
            state if is_connected(state) && !one.multipath => (&mut connected, true),
            _ => continue,
        };
        let known = table.entry(one.socket).or_insert(one);
        if let Some(owner) = one.owner
            && known.owner.is_none_or(|before| (age(before) < age(owner)) == younger)
        {
            known.owner = Some(owner);
        }
    }
    let mut heard: HashMap<(NetworkNamespace, u16), Vec<IpAddr>> = HashMap::new();
    for listener in listeners.values() {
        let local = listener.pair.local;
        heard.entry((listener.netns, local.port())).or_default().push(local.ip());
    }
    let at = clock().boot;
    let existing = |one: Held| {
        let local = one.pair.local;
        let addresses = heard.get(&(one.netns, local.port())).map_or(&[][..], Vec::as_slice);
        let served = addresses.iter().any(|address| address.is_unspecified() || *address == local.ip());
        let Held { socket, pair, netns, owner, .. } = one;
        Existing { at, socket, pair, netns, owner, role: served.then_some(Role::Server) }
    };
    let listener = |one: Held| {
        let owner = one.owner?;
        Some(Listener { socket: one.socket, local: one.pair.local, netns: one.netns, owner })
    };
    ExistingSockets {
        open: connected.keys().copied().collect(),
        events: connected.into_values().map(existing).collect(),
        listeners: listeners.into_values().filter_map(listener).collect(),
        covered: None,
        missed: Missed::default(),
    }
}

/// Sorts processes by their start; `/proc` tells it to the hundredth of a second, within which pids grow.
fn age(task: Task) -> (u64, u32) {
    let ProcessKey { pid, start_time } = task.process;
    (start_time, pid)
}

fn is_connected(state: u32) -> bool {
    matches!(
        state,
        tcp_state::ESTABLISHED | tcp_state::FIN_WAIT1 | tcp_state::FIN_WAIT2 | tcp_state::CLOSE_WAIT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_its_youngest_holders_and_a_listener_its_oldest_ones() {
        let address = SocketAddr::from(([127, 0, 0, 1], 443));
        let held = |socket, state, start_time| {
            let process = ProcessKey { pid: 7, start_time };
            let owner = Task { process, thread: 7, uid: 0, cgroup: 0, comm: [0; 16], kernel_thread: false };
            let pair = AddressPair { local: address, remote: address };
            let (socket, netns) = (SocketCookie(socket), NetworkNamespace(1));
            Held { socket, netns, pair, state, multipath: false, owner: Some(owner) }
        };
        for starts in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
            let all = starts.iter().flat_map(|start| {
                [held(1, tcp_state::ESTABLISHED, *start), held(2, tcp_state::LISTEN, *start)]
            });
            let found = arrange(all);
            let [existing] = &found.events[..] else { panic!("{:?}", found.events) };
            assert_eq!(existing.owner.map(|owner| owner.process.start_time), Some(3));
            let oldest: Vec<u64> =
                found.listeners.iter().map(|listener| listener.owner.process.start_time).collect();
            assert_eq!(oldest, [1]);
        }
    }
}
