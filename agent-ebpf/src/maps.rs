//! Every map, with the reason for its size.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE},
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    cty::c_void,
    macros::btf_map,
};
use core::ptr::null;
use countersign_common::{
    BEYOND_SLOTS, CALLS_MAX, DECISIONS_MAX, DecisionRecord, GOROUTINES_MAX, JOINS_MAX, PairRecord,
    RING_BYTES, counter,
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

/// The last receive of each thread that has received in a handshake; lives and dies with it, so it needs no bound of its own.
#[btf_map]
pub static RECEIVED: TaskStorage<Received> = TaskStorage::new();

/// Cookies of sockets beyond their first receives, each in the slot that it is the number of: two that share one take turns,
/// at the price of looking into their storage.
#[btf_map]
pub static BEYOND: Array<u64, BEYOND_SLOTS> = Array::new();

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

/// What is remembered of each thread, as the loader wants it described: types whose sizes are the numbers.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers lead nowhere and are never followed.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        TaskStorage { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }
}

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
