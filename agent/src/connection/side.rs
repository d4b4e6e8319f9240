//! One end of a connection: a socket of this host and who held it.

use std::net::SocketAddr;

use crate::event::{AddressPair, NetworkNamespace, SocketCookie, Task};

/// Holders remembered per socket: acceptor, worker, last holder, and a few more; a prefork server that passes its
/// sockets around would add one per process.
pub const MAX_HOLDERS: usize = 8;

/// A socket of this host.
#[derive(Debug)]
pub struct Side {
    /// Which.
    pub socket: SocketCookie,
    /// Its addresses.
    pub pair: AddressPair,
    /// Where.
    pub netns: NetworkNamespace,
    /// What its program asked for (client only).
    pub dialled: Option<SocketAddr>,
    /// What makes the connection's number of a byte of the server out of the one that this socket has: 0 unless a SYN proxy stands
    /// between the ends.
    pub(super) server_shift: u32,
    /// Who held it, in the order of sightings, at most [`MAX_HOLDERS`].
    pub holders: Vec<Holder>,
    /// Why nobody is known to hold it, if so.
    pub owner_unknown: OwnerUnknown,
    /// Its end, if it was seen or noticed.
    pub closed: Option<End>,
}

impl Side {
    pub(super) fn new(socket: SocketCookie, pair: AddressPair, netns: NetworkNamespace) -> Self {
        Side {
            socket,
            pair,
            netns,
            dialled: None,
            server_shift: 0,
            holders: Vec::new(),
            owner_unknown: OwnerUnknown::NotSeen,
            closed: None,
        }
    }

    /// The owner: who connected or accepted, else the listener's owner, else whoever was seen with it.
    pub fn owner(&self) -> Option<&Holder> {
        self.holders.iter().min_by_key(|holder| holder.source)
    }

    /// Notes a holder; `false` if it was known in this role. Kernel threads are never holders.
    pub(super) fn hold(&mut self, task: Task, role: HolderRole, source: OwnerSource) -> bool {
        if task.kernel_thread {
            if self.holders.is_empty() {
                self.owner_unknown = OwnerUnknown::KernelThread;
            }
            return false;
        }
        let same = |holder: &&mut Holder| holder.task.process.agrees(task.process);
        if let Some(known) = self.holders.iter_mut().find(same) {
            // The owner of the listening socket turned out to be a holder of this one.
            if known.source == OwnerSource::Listener && source != OwnerSource::Listener {
                (known.role, known.source) = (role, source);
                return true;
            }
            return false;
        }
        // Whoever listened was a guess: it may never have had this socket.
        self.holders.retain(|holder| holder.source != OwnerSource::Listener);
        if self.holders.len() >= MAX_HOLDERS {
            return false;
        }
        // Most sockets have one holder for life.
        self.holders.reserve_exact(1);
        self.holders.push(Holder { task, role, source });
        true
    }
}

/// The end of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Payload bytes sent and received; `None` if the end itself was not seen.
    pub bytes: Option<(u64, u64)>,
}

/// A process that held a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub task: Task,
    /// As what.
    pub role: HolderRole,
    /// How it is known.
    pub source: OwnerSource,
}

/// What a process did with a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderRole {
    /// Opened it.
    Connect,
    /// Accepted it.
    Accept,
    /// Used it.
    Use,
    /// Released it last.
    LastHolder,
}

impl HolderRole {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            HolderRole::Connect => "connect",
            HolderRole::Accept => "accept",
            HolderRole::Use => "use",
            HolderRole::LastHolder => "last_holder",
        }
    }
}

/// How a holder is known; the first of these that is at hand names the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerSource {
    /// connect(2).
    Connect,
    /// accept(2), getpeername(2).
    GetPeerName,
    /// A TLS library that made a handshake on it.
    Library,
    /// A pass over open files: the kernel's iterator, or `/proc` where that does not run.
    Iterator,
    /// The last release.
    Release,
    /// The owner of the listening socket.
    Listener,
}

impl OwnerSource {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            OwnerSource::Connect => "connect",
            OwnerSource::GetPeerName => "getpeername",
            OwnerSource::Library => "library",
            OwnerSource::Iterator => "iterator",
            OwnerSource::Release => "release",
            OwnerSource::Listener => "listener",
        }
    }
}

/// Why no owner is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerUnknown {
    /// No hook ran in a process that holds it (yet): accept(2) without address, or never accepted.
    NotSeen,
    /// It was dropped in flight and released by a kernel thread.
    KernelThread,
    /// The multipath socket cannot be told from others with the same addresses.
    Multipath,
    /// It is older than the agent, and no pass over open files found a holder.
    BeforeAgent,
}

impl OwnerUnknown {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            OwnerUnknown::NotSeen => "not_seen",
            OwnerUnknown::KernelThread => "kernel_thread",
            OwnerUnknown::Multipath => "mptcp_ambiguous",
            OwnerUnknown::BeforeAgent => "before_agent",
        }
    }
}
