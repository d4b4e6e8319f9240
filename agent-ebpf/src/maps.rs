//! Every map, with the reason for its size.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    cty::c_void,
    macros::btf_map,
};
use countersign_common::{
    CALLS_MAX, DECISIONS_MAX, DecisionRecord, GOROUTINES_MAX, JOINS_MAX, PairRecord, RING_BYTES, THREADS_MAX,
    counter,
};

use crate::{
    go::{Goroutine, GoroutineKey},
    openssl::{Verifying, Writing},
    receive::Received,
    state::Socket,
};

/// All events, in the order in which they happened on each CPU. User space sets the size.
#[btf_map]
pub static EVENTS: RingBuf<u8, RING_BYTES> = RingBuf::new();

/// What is remembered of each socket; lives and dies with it, so it needs no bound of its own.
#[btf_map]
pub static SOCKETS: SkStorage<Socket> = SkStorage::new();

/// What user space decided, by socket cookie; a packet moves it into `SOCKETS`. Not preallocated:
/// in the steady state it is nearly empty.
#[btf_map]
pub static DECISIONS: HashMap<u64, DecisionRecord, DECISIONS_MAX, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Address pairs (as the accepted socket will have them) whose SYN carried MP_JOIN. Least recently
/// used entries go first: a join that never completes must not stay.
#[btf_map]
pub static JOINS: LruHashMap<PairRecord, u32, JOINS_MAX> = LruHashMap::new();

/// The last receive of each thread, by [`crate::task::current_thread`].
#[btf_map]
pub static RECEIVED: LruHashMap<u64, Received, THREADS_MAX> = LruHashMap::new();

/// Threads in which OpenSSL writes own certificates. Least recently used entries go first: a call need not return.
#[btf_map]
pub static WRITING: LruHashMap<u64, Writing, CALLS_MAX> = LruHashMap::new();

/// Threads in which OpenSSL verifies a peer.
#[btf_map]
pub static VERIFYING: LruHashMap<u64, Verifying, CALLS_MAX> = LruHashMap::new();

/// Where GnuTLS will write the outcome of a verification, by thread.
#[btf_map]
pub static STATUSES: LruHashMap<u64, u64, CALLS_MAX> = LruHashMap::new();

/// Goroutines in handshakes of Go's crypto/tls.
#[btf_map]
pub static GOROUTINES: LruHashMap<GoroutineKey, Goroutine, GOROUTINES_MAX> = LruHashMap::new();

/// Threads in which rustls has parsed certificates, and the end of the leaf.
#[btf_map]
pub static PARSED: LruHashMap<u64, u64, CALLS_MAX> = LruHashMap::new();

/// Losses and volume, one slot per `counter`.
#[btf_map]
pub static COUNTERS: PerCpuArray<u64, { counter::SLOTS }> = PerCpuArray::new();

/// A map as helpers want it.
#[inline(always)]
pub fn raw<M>(map: &'static M) -> *mut c_void {
    (&raw const *map).cast_mut().cast()
}

/// Counts a call of a library that could not be remembered.
#[inline(always)]
pub fn noted<T>(result: Result<(), T>) {
    if result.is_err() {
        count(counter::CALLS_FORGOTTEN, 1);
    }
}

/// Adds to one of the counters.
#[inline(always)]
pub fn count(slot: u32, amount: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(slot) {
        unsafe { *value += amount };
    }
}
