//! Events: the vocabulary that every source speaks and every later room understands.
//!
//! Enters: nothing. Leaves: the types below. The `kernel` room decodes ring-buffer records into
//! them; the `capture_file` room gives the same ones. No kernel layout, file format or policy here.
//!
//! Directions are seen from the socket: `Sent` by its owner, `Received` by its owner. Sequence
//! numbers are TCP's own, modulo 2^32 (RFC 9293 section 3.4).

mod library;

use std::net::SocketAddr;

use bytes::Bytes;

pub use library::{
    Library, LibraryBytes, LibraryCall, LibraryForm, LibrarySocket, LibraryVerdict, LibraryVerification,
    Presenter, SocketBy,
};

/// A moment in nanoseconds on the one clock of all events of a source: since boot (`CLOCK_BOOTTIME`) for the kernel, since
/// the Unix epoch for a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Nanoseconds from `earlier` to `self`, 0 if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The kernel's socket cookie (`SO_COOKIE`): unique on the host until reboot, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketCookie(pub u64);

/// The cookie of a network namespace (`bpf_get_netns_cookie`); 1 is the initial namespace on
/// kernels that number from boot, 0 means not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NetworkNamespace(pub u64);

/// The address pair of a socket as the socket itself has it, IPv4-mapped addresses as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressPair {
    /// The socket's own address and port.
    pub local: SocketAddr,
    /// Its peer's, as this socket sees it.
    pub remote: SocketAddr,
}

impl AddressPair {
    /// The same pair seen from the other end.
    pub fn mirrored(self) -> AddressPair {
        AddressPair { local: self.remote, remote: self.local }
    }
}

/// Which side of the TCP connection a socket is, by who opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Active open.
    Client,
    /// Passive open.
    Server,
}

/// Which way bytes went, seen from the socket that saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Travel {
    /// Egress.
    Sent,
    /// Ingress.
    Received,
}

/// The identity of a process: pids are reused, the pair is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// Thread group id in the initial PID namespace.
    pub pid: u32,
    /// Start of the thread group leader in nanoseconds since boot; `/proc/PID/stat` field 22 is
    /// this divided by 10^7 (USER_HZ = 100). 0 if the kernel did not say.
    pub start_time: u64,
}

/// Nanoseconds of a clock tick, in which `/proc` tells the start of a process (USER_HZ is 100 on every architecture in use).
pub const NANOSECONDS_PER_TICK: u64 = 10_000_000;

impl ProcessKey {
    /// Whether both can mean the same process: one start may be known to the clock tick only, or not at all.
    pub fn agrees(self, other: ProcessKey) -> bool {
        let (start, others) = (self.start_time, other.start_time);
        let known_to_the_tick = start % NANOSECONDS_PER_TICK == 0 || others % NANOSECONDS_PER_TICK == 0;
        let same = match known_to_the_tick {
            true => start / NANOSECONDS_PER_TICK == others / NANOSECONDS_PER_TICK,
            false => start == others,
        };
        self.pid == other.pid && (same || start == 0 || others == 0)
    }
}

/// A task as the kernel described it while it ran the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Which process.
    pub process: ProcessKey,
    /// Thread id.
    pub thread: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Id of its cgroup in the v2 hierarchy (the inode number of the folder).
    pub cgroup: u64,
    /// Name of the thread, NUL-padded (TASK_COMM_LEN).
    pub comm: [u8; 16],
    /// PF_KTHREAD was set: no process of user space, never an owner.
    pub kernel_thread: bool,
}

/// What a source reports. One variant per thing that happened, none for what it means. `B` holds payload: a source whose
/// events are taken one by one need not copy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<B = Bytes> {
    /// A process is about to connect (`cgroup/connect4,6`).
    Connect(Connect),
    /// A process asked a socket for its peer, which accept(2) does (`cgroup/getpeername4,6`).
    PeerAsked(PeerAsked),
    /// The last holder lets go of a socket (`cgroup/sock_release`).
    Released(Released),
    /// The three-way handshake is done (`sockops`).
    Established(Established),
    /// Bytes of one direction, within the budget (`cgroup_skb`).
    Segment(Segment<B>),
    /// The socket reached TCP_CLOSE (`sockops`).
    Closed(Closed),
    /// A connection whose beginning was not seen: older than the agent, found by the iterator or
    /// by its next packet.
    Existing(Existing),
    /// A further subflow of a multipath connection (RFC 8684 MP_JOIN); not a connection of its own.
    Subflow {
        /// When.
        at: Timestamp,
        /// The subflow's socket.
        socket: SocketCookie,
    },
    /// A process came into being by fork(2) (threads are not reported).
    ProcessForked {
        /// When.
        at: Timestamp,
        /// Who forked.
        parent: ProcessKey,
        /// The new process; it runs its parent's executable.
        child: ProcessKey,
    },
    /// A process replaced its program by execve(2).
    ProcessExecuted {
        /// When.
        at: Timestamp,
        /// The process, with its new name.
        task: Task,
        /// The path as it was given to execve(2): may be relative, at most 255 bytes.
        path: Bytes,
    },
    /// The leader of a thread group exited; other threads may still run.
    ProcessExited {
        /// When.
        at: Timestamp,
        /// Which.
        process: ProcessKey,
    },
    /// Certificates went through a TLS library (uprobes).
    LibraryBytes(Box<LibraryBytes>),
    /// A TLS library verified the peer's certificate (uprobes).
    LibraryVerification(Box<LibraryVerification>),
    /// The dynamic linker of a process has mapped or unmapped libraries (`_dl_debug_state`).
    LibrariesChanged {
        /// When.
        at: Timestamp,
        /// Which.
        process: ProcessKey,
    },
    /// The source could not report something.
    Lost {
        /// When it was noticed.
        at: Timestamp,
        /// Why.
        cause: LossCause,
        /// How many events.
        count: u64,
    },
}

impl<B> Event<B> {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Event::Connect(event) => event.at,
            Event::PeerAsked(event) => event.at,
            Event::Released(event) => event.at,
            Event::Established(event) => event.at,
            Event::Segment(event) => event.at,
            Event::Closed(event) => event.at,
            Event::Existing(event) => event.at,
            Event::LibraryBytes(event) => event.call.at,
            Event::LibraryVerification(event) => event.call.at,
            Event::LibrariesChanged { at, .. }
            | Event::Subflow { at, .. }
            | Event::ProcessForked { at, .. }
            | Event::ProcessExecuted { at, .. }
            | Event::ProcessExited { at, .. }
            | Event::Lost { at, .. } => *at,
        }
    }
}

/// See [`Event::Connect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// When.
    pub at: Timestamp,
    /// The connecting socket.
    pub socket: SocketCookie,
    /// Who connects.
    pub task: Task,
    /// The address the program asked for, before any translation.
    pub dialled: SocketAddr,
    /// Where.
    pub netns: NetworkNamespace,
}

/// See [`Event::PeerAsked`]. Reported once per socket and process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAsked {
    /// When.
    pub at: Timestamp,
    /// The socket asked; for multipath TCP not the one that packets show.
    pub socket: SocketCookie,
    /// Who asked: the acceptor if it is the first on a passive socket.
    pub task: Task,
    /// The socket's addresses.
    pub pair: AddressPair,
    /// Where.
    pub netns: NetworkNamespace,
    /// The socket is a multipath one (IPPROTO_MPTCP, 262).
    pub multipath: bool,
}

/// See [`Event::Released`]. Precedes the FIN; left out if the holder is the process last reported for this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// When.
    pub at: Timestamp,
    /// The socket.
    pub socket: SocketCookie,
    /// Who ran the release: a kernel thread when the socket was dropped in flight.
    pub task: Task,
    /// The socket's addresses.
    pub pair: AddressPair,
    /// Where.
    pub netns: NetworkNamespace,
    /// The socket is a multipath one (IPPROTO_MPTCP, 262).
    pub multipath: bool,
}

/// Whether the first bytes of a connection can have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// The handshake of TCP was seen, or reported by the kernel.
    Seen,
    /// It was not: the capture begins in the middle. The sequence numbers are those of the first bytes that were seen,
    /// and who opened is concluded from them.
    Missed,
}

/// See [`Event::Established`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Established {
    /// When.
    pub at: Timestamp,
    /// The connected socket.
    pub socket: SocketCookie,
    /// Who opened.
    pub role: Role,
    /// The socket's addresses.
    pub pair: AddressPair,
    /// Where.
    pub netns: NetworkNamespace,
    /// Sequence number of the first byte that this socket will send (initial + 1).
    pub first_sent: u32,
    /// Sequence number of the first byte that its peer will send.
    pub first_received: u32,
    /// Whether these are the first bytes there were.
    pub beginning: Beginning,
}

/// Which connection a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentOwner {
    /// The socket itself saw it.
    Socket(SocketCookie),
    /// The listening socket saw it: data on the last packet of a passive open (TCP_DEFER_ACCEPT, Fast Open).
    Listener {
        /// As the accepted socket will have it.
        pair: AddressPair,
        /// Where.
        netns: NetworkNamespace,
    },
}

/// A run of payload bytes at its place in the sequence space; segments of one socket arrive in the order in
/// which the kernel saw them, which on ingress is before TCP has ordered them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<B = Bytes> {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub owner: SegmentOwner,
    /// Which way.
    pub travel: Travel,
    /// Sequence number of `bytes[0]`.
    pub sequence: u32,
    /// Acknowledgement number of the packet: what the sender had received when it sent this.
    pub acknowledged: u32,
    /// Payload bytes of the packet that follow `bytes` and will not be shipped.
    pub withheld: u32,
    /// Why the first of them will not.
    pub withheld_for: Withheld,
    /// Index of the interface, 0 if not known.
    pub interface: u32,
    /// The payload.
    pub bytes: B,
}

impl<B: AsRef<[u8]>> Segment<B> {
    /// The same without a hold on the payload.
    pub fn as_slice(&self) -> Segment<&[u8]> {
        self.with_bytes(self.bytes.as_ref())
    }

    /// The same with a copy of the payload.
    pub fn to_owned(&self) -> Segment {
        self.with_bytes(Bytes::copy_from_slice(self.bytes.as_ref()))
    }

    fn with_bytes<C>(&self, bytes: C) -> Segment<C> {
        let Segment { at, owner, travel, sequence, acknowledged, withheld, withheld_for, interface, .. } =
            *self;
        Segment { at, owner, travel, sequence, acknowledged, withheld, withheld_for, interface, bytes }
    }
}

/// Why a source does not ship payload of a packet that it met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// The budget was spent.
    Budget,
    /// The capture holds only the beginning of the packet (snap length).
    Cut,
}

/// How a connection ended, as far as the last state before TCP_CLOSE tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both sides finished.
    Fin,
    /// Aborted by either side.
    Reset,
    /// Retransmissions or keep-alive gave up.
    Timeout,
    /// Not visible.
    Unknown,
}

/// See [`Event::Closed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// The socket.
    pub socket: SocketCookie,
    /// Payload bytes that the peer acknowledged.
    pub sent: u64,
    /// Payload bytes received.
    pub received: u64,
    /// How.
    pub reason: CloseReason,
}

/// See [`Event::Existing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Existing {
    /// When it was found.
    pub at: Timestamp,
    /// The socket.
    pub socket: SocketCookie,
    /// Its addresses.
    pub pair: AddressPair,
    /// Where; 0 where the source cannot tell.
    pub netns: NetworkNamespace,
    /// A holder, if the iterator found one.
    pub owner: Option<Task>,
    /// The port is one that a listening socket of this namespace holds: the socket is the server's. `None`: not known.
    pub role: Option<Role>,
}

/// Why a source lost events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// The ring buffer had no room.
    RingFull,
    /// A kernel table had no room (socket storage, decisions).
    TableFull,
    /// The packet could not be read.
    Unreadable,
    /// The agent was not running.
    AgentDown,
    /// A record of the ring buffer did not decode.
    Malformed,
}

impl LossCause {
    /// All causes.
    pub const ALL: [LossCause; 5] = [
        LossCause::RingFull,
        LossCause::TableFull,
        LossCause::Unreadable,
        LossCause::AgentDown,
        LossCause::Malformed,
    ];

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            LossCause::RingFull => "ring_full",
            LossCause::TableFull => "table_full",
            LossCause::Unreadable => "unreadable",
            LossCause::AgentDown => "agent_down",
            LossCause::Malformed => "malformed",
        }
    }
}

/// What user space tells the kernel about a socket that it still looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing more is wanted: from now on a packet costs one storage look-up.
    Stop,
    /// At most so many payload bytes from the start of each direction are wanted in all.
    Budget {
        /// Bytes sent by the socket.
        sent: u32,
        /// Bytes received by it.
        received: u32,
    },
}
