//! The ABI between the kernel programs (`agent-ebpf`) and the agent, and nothing else.
//!
//! Every record is `repr(C)`, made of integers only, without padding: any bytes are a valid value,
//! so decoding is a length check and a copy, without unsafe code. Meaning (roles, reasons, addresses) is given to the
//! integers by the agent's `kernel` room, which refuses what it does not know.
//!
//! Addresses are in network byte order, ports and everything else in the host's.

#![no_std]

mod codes;
mod field;
mod records;

pub use codes::*;
pub use records::*;

/// Bytes that a `TASK_COMM_LEN` name takes (linux/sched.h; part of the user ABI).
pub const COMM_BYTES: usize = 16;

/// Bytes of an execve path that are kept, with its final NUL.
pub const PATH_BYTES: usize = 256;

/// Payload bytes behind a [`SegmentRecord`] at most: one chunk of a super-packet.
pub const SEGMENT_BYTES: usize = 4096;

/// Payload bytes of one packet to a listening socket that are shipped: ten packets of an initial
/// window (RFC 6928) fit, and a stranger who floods a listener cannot make it ship more.
pub const LISTENER_BYTES: u32 = 16 * 1024;

/// Payload bytes of each direction that the kernel ships before user space has decided.
pub const START_BUDGET: u32 = 32 * 1024;

/// Sockets with a decision that no packet has picked up yet: more than the connections a host is
/// expected to hold open (50,000) on both ends of loopback.
pub const DECISIONS_MAX: usize = 131_072;

/// Multipath joins whose handshake is under way, by address pair: each lasts a round trip, and few programs use more than
/// two subflows.
pub const JOINS_MAX: usize = 1024;

/// Default bytes of the ring buffer: about a thousand handshakes that user space has not read yet.
pub const RING_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of certificates behind a [`LibraryBytesRecord`] at most: a usual chain fits.
pub const LIBRARY_CHUNK_BYTES: usize = 4096;

/// Chunks that one call ships at most: 64 KiB. Longer chains, of which OpenSSL would take 100 KiB, stay truncated.
pub const LIBRARY_CHUNKS_MAX: u32 = 16;

/// Sockets that are known at a glance to be beyond [`RECEIVES_MAX`]: a busy server's open connections. An entry has 8 bytes.
pub const BEYOND_SLOTS: usize = 16_384;

/// Goroutines whose handshake is remembered, the least recently used go first. Thousands can be in one at a time.
pub const GOROUTINES_MAX: usize = 16_384;

/// Receives of one socket that are remembered: a handshake takes a few, and what comes later shall cost little.
pub const RECEIVES_MAX: u32 = 64;
