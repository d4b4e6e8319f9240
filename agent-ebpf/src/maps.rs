//! Every map, with the reason for its size.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    cty::c_void,
    macros::btf_map,
};
use countersign_common::{
    BEYOND_SLOTS, DECISIONS_MAX, DecisionRecord, GOROUTINES_MAX, JOINS_MAX, PairRecord, RING_BYTES, counter,
};

use crate::{
    gnutls::Transcript,
    go::{Goroutine, GoroutineKey},
    nss::Hashed,
    openssl::{Verifying, Writing},
    receive::Received,
    state::Socket,
    thread::TaskStorage,
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

/// The last receive of each thread that has received in a handshake. As all of its kind it lives and dies with the thread, so it
/// needs no bound of its own.
#[btf_map]
pub static RECEIVED: TaskStorage<Received> = TaskStorage::new();

/// Cookies of sockets beyond their first receives, each in the slot that it is the number of: two that share one take turns,
/// at the price of looking into their storage.
#[btf_map]
pub static BEYOND: Array<u64, BEYOND_SLOTS> = Array::new();

/// Own certificates that OpenSSL writes in a thread.
#[btf_map]
pub static WRITING: TaskStorage<Writing> = TaskStorage::new();

/// A peer that OpenSSL verifies in a thread.
#[btf_map]
pub static VERIFYING: TaskStorage<Verifying> = TaskStorage::new();

/// Where the outcome of GnuTLS' verification of a peer in a thread will be; 0 for none.
#[btf_map]
pub static VERIFICATIONS: TaskStorage<u64> = TaskStorage::new();

/// The handshake messages that GnuTLS has hashed in a thread.
#[btf_map]
pub static TRANSCRIPT: TaskStorage<Transcript> = TaskStorage::new();

/// What of a message NSS has fed to a hash in a thread.
#[btf_map]
pub static HASHED: TaskStorage<Hashed> = TaskStorage::new();

/// Goroutines in handshakes of Go's crypto/tls. Least recently used entries go first, uncounted: a handshake need not end, and the
/// kernel does not tell.
#[btf_map]
pub static GOROUTINES: LruHashMap<GoroutineKey, Goroutine, GOROUTINES_MAX> = LruHashMap::new();

/// The end of the leaf that rustls has parsed in a thread; 0 for none.
#[btf_map]
pub static PARSED: TaskStorage<u64> = TaskStorage::new();

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
