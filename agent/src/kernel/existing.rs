//! Sockets that are older than the agent, from the socket iterator (`iter/task_file`).

use std::{
    collections::HashMap,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsRawFd,
};

use aya::{Ebpf, programs::Program};
use countersign_common::{Record, SocketRecord, tcp_state};

use super::{
    KernelError, clock, cookie,
    decode::{pair_of, task_of},
    programs::program,
};
use crate::event::{Event, Existing, NetworkNamespace, Role, SocketCookie, Task};

/// IPPROTO_MPTCP (include/uapi/linux/in.h).
const MULTIPATH: u32 = 262;

/// The program's name, and the kernel's for what it iterates over.
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

/// What one pass of the iterator found.
#[derive(Debug, Clone, Default)]
pub struct ExistingSockets {
    /// One [`Event::Existing`] per connected socket, with its youngest holder (the child that
    /// serves, not the parent that accepted).
    pub events: Vec<Event>,
    /// One per listening socket.
    pub listeners: Vec<Listener>,
}

impl ExistingSockets {
    /// The connected sockets.
    pub fn sockets(&self) -> impl Iterator<Item = SocketCookie> + '_ {
        self.events.iter().filter_map(|event| match event {
            Event::Existing(existing) => Some(existing.socket),
            _ => None,
        })
    }
}

/// Runs the iterator once.
pub(super) fn read(ebpf: &mut Ebpf) -> Result<ExistingSockets, KernelError> {
    Ok(arrange(&records(ebpf)?))
}

/// Checks that the iterator shows this process and the cookie of a socket it has just opened: its
/// program follows the kernel's own description of structures, which a patched kernel can get wrong.
pub(super) fn prove(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(KernelError::iterator)?;
    let local = listener.local_addr().map_err(KernelError::iterator)?;
    let cookie = cookie::of(&listener).map_err(KernelError::iterator)?;
    let found = read(ebpf)?.listeners;
    let seen = found.iter().find(|seen| seen.socket.0 == cookie);
    match seen {
        None => Err(KernelError::iterator(format!(
            "it does not show the agent's own socket (descriptor {})",
            listener.as_raw_fd()
        ))),
        Some(seen) if seen.owner.process.pid != std::process::id() => Err(KernelError::iterator(format!(
            "it shows the agent's own process as {} instead of {}",
            seen.owner.process.pid,
            std::process::id()
        ))),
        Some(seen) if seen.local != local => {
            Err(KernelError::iterator(format!("it shows {} instead of {local}", seen.local)))
        }
        Some(_) => Ok(()),
    }
}

fn records(ebpf: &mut Ebpf) -> Result<Vec<SocketRecord>, KernelError> {
    let Program::Iter(iterator) = program(ebpf, PROGRAM)? else {
        return Err(KernelError::Missing { kind: "program", name: PROGRAM });
    };
    let link = iterator.attach().map_err(KernelError::iterator)?;
    let mut file = iterator.take_link(link).map_err(KernelError::iterator)?.into_file()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(KernelError::iterator)?;
    Ok(bytes.chunks_exact(size_of::<SocketRecord>()).filter_map(SocketRecord::read).collect())
}

/// One entry per socket out of one per holder and descriptor.
fn arrange(records: &[SocketRecord]) -> ExistingSockets {
    let mut listeners: HashMap<u64, Listener> = HashMap::new();
    for record in records.iter().filter(|record| record.state == tcp_state::LISTEN) {
        let Some(pair) = pair_of(&record.pair) else { continue };
        let owner = task_of(&record.task);
        let listener = Listener {
            socket: SocketCookie(record.socket),
            local: pair.local,
            netns: NetworkNamespace(record.netns),
            owner,
        };
        let known = listeners.entry(record.socket).or_insert(listener);
        if owner.process.start_time < known.owner.process.start_time {
            known.owner = owner;
        }
    }
    let listeners: Vec<Listener> = listeners.into_values().collect();
    let mut connected: HashMap<u64, Existing> = HashMap::new();
    // Of a multipath connection the file has another socket than the packets: it would be met twice.
    let tcp = |record: &&SocketRecord| record.protocol != MULTIPATH && is_connected(record.state);
    for record in records.iter().filter(tcp) {
        let Some(pair) = pair_of(&record.pair) else { continue };
        let owner = task_of(&record.task);
        let netns = NetworkNamespace(record.netns);
        let served = listeners.iter().any(|listener| {
            listener.netns == netns
                && listener.local.port() == pair.local.port()
                && (listener.local.ip().is_unspecified() || listener.local.ip() == pair.local.ip())
        });
        let existing = connected.entry(record.socket).or_insert(Existing {
            at: clock().boot,
            socket: SocketCookie(record.socket),
            pair,
            netns,
            owner: Some(owner),
            role: served.then_some(Role::Server),
        });
        if existing.owner.is_none_or(|known| known.process.start_time < owner.process.start_time) {
            existing.owner = Some(owner);
        }
    }
    ExistingSockets { events: connected.into_values().map(Event::Existing).collect(), listeners }
}

fn is_connected(state: u32) -> bool {
    matches!(
        state,
        tcp_state::ESTABLISHED | tcp_state::FIN_WAIT1 | tcp_state::FIN_WAIT2 | tcp_state::CLOSE_WAIT
    )
}
