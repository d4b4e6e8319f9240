//! What is remembered per socket, and the socket's own addresses.

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    cty::c_void,
    helpers::bpf_sk_storage_get,
};
use core::ptr::read_volatile;
use countersign_common::{PairRecord, START_BUDGET, counter, family};

use crate::maps::{SOCKETS, count, raw};

/// Payload bytes of what a new socket sends that are shipped before user space decides.
#[unsafe(no_mangle)]
pub static START_BUDGET_SENT: u32 = START_BUDGET;

/// The same of what it receives.
#[unsafe(no_mangle)]
pub static START_BUDGET_RECEIVED: u32 = START_BUDGET;

/// One direction of a socket. The two directions can run on two CPUs at once; they share no field.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Direction {
    /// Sequence number of its first byte, if `known`.
    pub first: u32,
    /// Whether `first` holds.
    pub known: u32,
    /// Bytes from `first` that may be shipped.
    pub budget: u32,
    /// Bytes shipped in all, retransmissions included: at most twice the budget.
    pub shipped: u32,
    /// User space has been told that the budget is spent.
    pub told: u32,
}

/// Value of `SOCKETS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Socket {
    /// Network namespace cookie, 0 if not known.
    pub netns: u64,
    /// Addresses: the release hook cannot read them.
    pub pair: PairRecord,
    /// Not 0: no packet of this socket is looked at any more.
    pub decided: u32,
    /// One of `role`, or [`LISTENER`], or [`SUBFLOW`]; 0 before the handshake is done.
    pub role: u32,
    /// The process last reported as a holder.
    pub reported: u32,
    /// IPPROTO_MPTCP.
    pub multipath: u32,
    /// Retransmissions have given up: the socket is about to be closed.
    pub timed_out: u32,
    /// How often a thread was seen to receive from it, up to `RECEIVES_MAX`.
    pub receives: u32,
    /// What it sends.
    pub sent: Direction,
    /// What it receives.
    pub received: Direction,
}

/// Role of a listening socket.
pub const LISTENER: u32 = 3;

/// Role of a further subflow of a multipath connection.
pub const SUBFLOW: u32 = 4;

const NO_ADDRESSES: PairRecord =
    PairRecord { local: [0; 4], remote: [0; 4], local_port: 0, remote_port: 0, family: 0 };

impl Direction {
    const fn new(budget: u32) -> Direction {
        Direction { first: 0, known: 0, budget, shipped: 0, told: 0 }
    }

    /// Notes the sequence number of the first byte; the first one to say so is right, since a
    /// Fast Open client has sent data before its handshake is done.
    #[inline(always)]
    pub fn starts_at(&mut self, first: u32) {
        if self.known == 0 {
            self.first = first;
            self.known = 1;
        }
    }
}

impl Socket {
    /// A socket whose handshake is to come.
    #[inline(always)]
    pub fn new() -> Socket {
        Socket {
            netns: 0,
            pair: NO_ADDRESSES,
            decided: 0,
            role: 0,
            reported: 0,
            multipath: 0,
            timed_out: 0,
            receives: 0,
            sent: Direction::new(unsafe { read_volatile(&raw const START_BUDGET_SENT) }),
            received: Direction::new(unsafe { read_volatile(&raw const START_BUDGET_RECEIVED) }),
        }
    }
}

/// The storage of a socket, if it has one. `socket` may be of any kind that the helper takes; the
/// helper itself refuses what is not a full socket.
#[inline(always)]
pub fn get<S>(socket: *mut S) -> Option<&'static mut Socket> {
    unsafe {
        bpf_sk_storage_get(raw(&SOCKETS), socket.cast(), core::ptr::null_mut(), 0).cast::<Socket>().as_mut()
    }
}

/// The storage of a socket, made from `initial` if it has none.
#[inline(always)]
pub fn get_or_create<S>(socket: *mut S, initial: &mut Socket) -> Option<&'static mut Socket> {
    let initial: *mut c_void = (&raw mut *initial).cast();
    let flags = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    let state =
        unsafe { bpf_sk_storage_get(raw(&SOCKETS), socket.cast(), initial, flags).cast::<Socket>().as_mut() };
    if state.is_none() {
        count(counter::TABLE_FULL, 1);
    }
    state
}

/// Reads a field of a socket as a load of its own: the verifier refuses merged ones.
macro_rules! field {
    ($pointer:expr, $($field:tt)+) => {
        unsafe { core::ptr::read_volatile(&raw const (*$pointer).$($field)+) }
    };
}
pub(crate) use field;

/// The addresses of a full socket.
#[inline(always)]
pub fn pair_of(socket: *const bpf_sock, pair: &mut PairRecord) {
    pair.family = field!(socket, family);
    pair.local_port = field!(socket, src_port) as u16;
    pair.remote_port = u16::from_be(field!(socket, dst_port));
    if pair.family == family::INET {
        pair.local = [field!(socket, src_ip4), 0, 0, 0];
        pair.remote = [field!(socket, dst_ip4), 0, 0, 0];
    } else {
        pair.local = [
            field!(socket, src_ip6[0]),
            field!(socket, src_ip6[1]),
            field!(socket, src_ip6[2]),
            field!(socket, src_ip6[3]),
        ];
        pair.remote = [
            field!(socket, dst_ip6[0]),
            field!(socket, dst_ip6[1]),
            field!(socket, dst_ip6[2]),
            field!(socket, dst_ip6[3]),
        ];
    }
}
