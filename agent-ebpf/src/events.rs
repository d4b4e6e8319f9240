//! Room in the ring buffer.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE},
    helpers::{bpf_ktime_get_boot_ns, bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit},
};
use countersign_common::{Header, counter};

use crate::maps::{EVENTS, count, raw};

/// Room for a `T`, or `None`, counted as lost, if there is none. The room holds old events: every
/// field must be written before [`submit`], which must follow on every path.
#[inline(always)]
pub fn reserve<T>() -> Option<*mut T> {
    let room = unsafe { bpf_ringbuf_reserve(raw(&EVENTS), size_of::<T>() as u64, 0) };
    if room.is_null() {
        count(counter::RING_FULL, 1);
        return None;
    }
    Some(room.cast())
}

/// Whether an event of a library may take room: half of the ring is the wire's alone. Any program can export the functions
/// that are probed, and call them as often as it likes.
#[inline(always)]
pub fn spares_room() -> bool {
    let (waiting, size) = unsafe {
        (
            bpf_ringbuf_query(raw(&EVENTS), u64::from(BPF_RB_AVAIL_DATA)),
            bpf_ringbuf_query(raw(&EVENTS), u64::from(BPF_RB_RING_SIZE)),
        )
    };
    let spares = waiting < size / 2;
    if !spares {
        count(counter::LIBRARY_REFUSED, 1);
    }
    spares
}

/// Hands a written event to user space.
#[inline(always)]
pub fn submit<T>(record: *mut T) {
    unsafe { bpf_ringbuf_submit(record.cast(), 0) };
}

/// The header of an event that happens now.
#[inline(always)]
pub fn header(kind: u32, detail: u32, socket: u64, netns: u64) -> Header {
    Header { at: unsafe { bpf_ktime_get_boot_ns() }, socket, netns, kind, detail }
}
