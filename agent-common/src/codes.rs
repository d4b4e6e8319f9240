//! The integers that stand for something.

/// What a ring-buffer record is ([`crate::Header::kind`]).
pub mod kind {
    /// [`crate::HolderRecord`]: a process connects; the pair's remote is the dialled address.
    pub const CONNECT: u32 = 1;
    /// [`crate::HolderRecord`]: a process asks for the peer; detail 1 = multipath.
    pub const PEER_ASKED: u32 = 2;
    /// [`crate::HolderRecord`]: the last holder lets go; detail 1 = multipath.
    pub const RELEASED: u32 = 3;
    /// [`crate::EstablishedRecord`]; detail is a [`super::role`].
    pub const ESTABLISHED: u32 = 4;
    /// [`crate::SegmentRecord`], followed by its payload.
    pub const SEGMENT: u32 = 5;
    /// [`crate::ClosedRecord`]; detail is a [`super::close`].
    pub const CLOSED: u32 = 6;
    /// [`crate::ExistingRecord`].
    pub const EXISTING: u32 = 7;
    /// [`crate::Header`] alone: a further subflow of a multipath connection.
    pub const SUBFLOW: u32 = 8;
    /// [`crate::ForkRecord`].
    pub const FORK: u32 = 9;
    /// [`crate::ExecRecord`].
    pub const EXEC: u32 = 10;
    /// [`crate::ProcessRecord`]: it has exited.
    pub const EXIT: u32 = 11;
    /// [`crate::LibraryBytesRecord`], followed by its bytes.
    pub const LIBRARY_BYTES: u32 = 12;
    /// [`crate::LibraryVerificationRecord`].
    pub const LIBRARY_VERIFICATION: u32 = 13;
    /// [`crate::ProcessRecord`]: its dynamic linker has mapped or unmapped libraries.
    pub const LIBRARIES_CHANGED: u32 = 14;
}

/// Which side of a connection a socket is.
pub mod role {
    /// Active open.
    pub const CLIENT: u32 = 1;
    /// Passive open.
    pub const SERVER: u32 = 2;
}

/// How a connection ended.
pub mod close {
    /// Both sides finished.
    pub const FIN: u32 = 1;
    /// Aborted.
    pub const RESET: u32 = 2;
    /// Retransmissions gave up.
    pub const TIMEOUT: u32 = 3;
}

/// Flags of a segment ([`crate::Header::detail`]).
pub mod segment {
    /// The socket received the bytes; without it, it sent them.
    pub const RECEIVED: u32 = 1;
    /// A listening socket saw them: the pair says whose they will be.
    pub const LISTENER: u32 = 2;
}

/// Flags of a task ([`crate::TaskRecord::flags`]).
pub mod task {
    /// `PF_KTHREAD` was set.
    pub const KERNEL_THREAD: u32 = 1;
}

/// TLS libraries.
pub mod library {
    /// OpenSSL and what exports its functions.
    pub const OPENSSL: u32 = 1;
    /// BoringSSL.
    pub const BORINGSSL: u32 = 2;
    /// GnuTLS.
    pub const GNUTLS: u32 = 3;
    /// Mozilla NSS.
    pub const NSS: u32 = 4;
    /// crypto/tls of Go.
    pub const GO: u32 = 5;
    /// rustls.
    pub const RUSTLS: u32 = 6;
}

/// Whose certificates a library handled.
pub mod presenter {
    /// The peer's.
    pub const PEER: u32 = 1;
    /// The own.
    pub const OWN: u32 = 2;
}

/// What the bytes of a [`crate::LibraryBytesRecord`] are.
pub mod form {
    /// The certificate_list of a Certificate message, behind its three bytes of length.
    pub const LIST: u32 = 1;
    /// The DER of a leaf.
    pub const LEAF: u32 = 2;
    /// The DER of a certificate that follows the one before.
    pub const FOLLOWING: u32 = 3;
}

/// How a library's call was joined to a socket ([`crate::Header::detail`] of its records).
pub mod socket_by {
    /// Not at all: the cookie is 0.
    pub const NONE: u32 = 0;
    /// The thread received from it last.
    pub const LAST_RECEIVE: u32 = 1;
    /// The library's structures name its file descriptor.
    pub const DESCRIPTOR: u32 = 2;
}

/// What a library said of the peer's certificate.
pub mod verdict {
    /// It is valid.
    pub const VERIFIED: u32 = 1;
    /// It is not; the record has the library's code.
    pub const FAILED: u32 = 2;
    /// A verifier was called; what it said was not seen.
    pub const ATTEMPTED: u32 = 3;
}

/// Address families (the kernel's own numbers, part of its user ABI).
pub mod family {
    /// AF_INET.
    pub const INET: u32 = 2;
    /// AF_INET6.
    pub const INET6: u32 = 10;
}

/// TCP states (linux/bpf.h `BPF_TCP_*`, user ABI).
pub mod tcp_state {
    /// Open both ways.
    pub const ESTABLISHED: u32 = 1;
    /// Active open under way.
    pub const SYN_SENT: u32 = 2;
    /// Passive open under way.
    pub const SYN_RECEIVED: u32 = 3;
    /// We finished; the peer has not acknowledged it.
    pub const FIN_WAIT1: u32 = 4;
    /// We finished; the peer has not.
    pub const FIN_WAIT2: u32 = 5;
    /// Both finished, waiting.
    pub const TIME_WAIT: u32 = 6;
    /// The end.
    pub const CLOSE: u32 = 7;
    /// The peer finished; we have not.
    pub const CLOSE_WAIT: u32 = 8;
    /// Both finished; our FIN is not acknowledged.
    pub const LAST_ACK: u32 = 9;
    /// A listening socket.
    pub const LISTEN: u32 = 10;
    /// Both finished at once.
    pub const CLOSING: u32 = 11;
}

/// Slots of the per-CPU counters.
pub mod counter {
    /// Records that found no room in the ring buffer.
    pub const RING_FULL: u32 = 0;
    /// Sockets for which no storage could be had.
    pub const TABLE_FULL: u32 = 1;
    /// Packets that could not be read.
    pub const UNREADABLE: u32 = 2;
    /// Payload bytes shipped.
    pub const BYTES_SHIPPED: u32 = 3;
    /// Runs of certificate bytes that could not be read out of their process.
    pub const UNREADABLE_CERTIFICATES: u32 = 4;
    /// Events of libraries for which the ring buffer had no room to spare.
    pub const LIBRARY_REFUSED: u32 = 5;
    /// Chains of which certificates beyond a bound were not read: all of a list, the rest of others.
    pub const LONG_CHAINS: u32 = 6;
    /// Calls of libraries, and receives, for whose memory there was no room: what depends on them is not told.
    pub const CALLS_FORGOTTEN: u32 = 7;
    /// How many slots there are.
    pub const SLOTS: usize = 8;
}
