//! `tp_btf/sock_recv_length` (Linux 6.3): a thread has received from a socket. A TLS library parses certificates in the
//! thread that has just received them, also where it reads from memory.

use aya_ebpf::{
    cty::c_void,
    helpers::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use countersign_common::RECEIVES_MAX;

use crate::{maps::{RECEIVED, noted}, state, task::current_thread};

/// Value of `RECEIVED`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Received {
    /// Cookie of the socket.
    pub socket: u64,
    /// When, nanoseconds since boot.
    pub at: u64,
}

/// `TP_PROTO(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(context: BtfTracePointContext) -> i32 {
    let socket: *mut c_void = context.arg(0);
    let received: i32 = context.arg(1);
    if received <= 0 {
        return 0;
    }
    let thread = current_thread();
    match state::get(socket) {
        Some(state) if state.receives < RECEIVES_MAX => state.receives += 1,
        // What the thread parses now is not the older socket's.
        _ => {
            let cookie = unsafe { bpf_get_socket_cookie(socket) };
            if unsafe { RECEIVED.get(thread) }.is_some_and(|received| received.socket != cookie) {
                _ = RECEIVED.remove(thread);
            }
            return 0;
        }
    }
    let received = unsafe { Received { socket: bpf_get_socket_cookie(socket), at: bpf_ktime_get_boot_ns() } };
    noted(RECEIVED.insert(thread, received, 0));
    0
}
