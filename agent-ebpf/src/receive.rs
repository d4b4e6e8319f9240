//! `tp_btf/sock_recv_length` (Linux 6.3): a thread has received from a socket. A TLS library parses certificates in the
//! thread that has just received them, also where it reads from memory.
//!
//! It runs for every receive on the host, so what it does for a socket whose handshake is long over touches little memory:
//! the socket's cookie, one entry of `BEYOND` and one of the thread.

use aya_ebpf::{
    cty::c_void, helpers::bpf_ktime_get_boot_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use countersign_common::{BEYOND_SLOTS, RECEIVES_MAX};

use crate::{
    kernel::{load, offset},
    maps::{BEYOND, RECEIVED},
    state,
};

/// Value of `RECEIVED`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Received {
    /// Cookie of the socket, 0 for one whose handshake is over, or that is not TCP.
    pub socket: u64,
    /// When, nanoseconds since boot.
    pub at: u64,
}

/// The last receive of the current thread, if it can be of a handshake.
#[inline(always)]
pub fn last_receive() -> Option<Received> {
    RECEIVED.get().copied().filter(|received| received.socket != 0)
}

/// `TP_PROTO(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(context: BtfTracePointContext) -> i32 {
    let received: i32 = context.arg(1);
    if received <= 0 {
        return 0;
    }
    let socket: *mut c_void = context.arg(0);
    // Whatever the hooks have met has a cookie.
    let cookie = load(socket, offset!(sock_cookie));
    if cookie == 0 || is_beyond(cookie) || !is_early(socket, cookie) {
        // What the thread parses now is not the older socket's.
        if let Some(received) = RECEIVED.get()
            && received.socket != cookie
        {
            received.socket = 0;
        }
        return 0;
    }
    if let Some(received) = RECEIVED.get_or_create() {
        *received = Received { socket: cookie, at: unsafe { bpf_ktime_get_boot_ns() } };
    }
    0
}

/// Whether a socket is known to be beyond its first receives.
#[inline(always)]
fn is_beyond(cookie: u64) -> bool {
    BEYOND.get(slot(cookie)).is_some_and(|beyond| *beyond == cookie)
}

/// Counts a receive, and says whether it is one of the first of a socket that the hooks have met.
#[inline(always)]
fn is_early(socket: *mut c_void, cookie: u64) -> bool {
    let Some(state) = state::get(socket) else { return false };
    if state.receives < RECEIVES_MAX {
        state.receives += 1;
        return true;
    }
    if let Some(beyond) = BEYOND.get_ptr_mut(slot(cookie)) {
        unsafe { *beyond = cookie };
    }
    false
}

#[inline(always)]
fn slot(cookie: u64) -> u32 {
    cookie as u32 & (BEYOND_SLOTS as u32 - 1)
}
