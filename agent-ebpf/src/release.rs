//! `cgroup/sock_release`: the last holder lets go of a socket. Runs in its context, or in a kernel
//! thread's when the socket was dropped in flight.

use aya_ebpf::{helpers::bpf_get_socket_cookie, macros::cgroup_sock, programs::SockContext};
use countersign_common::{HolderRecord, kind};

use crate::{
    connect::STREAM,
    events::{header, reserve, submit},
    state::{self, LISTENER, field},
    task::{current_process, write_current},
};

#[cgroup_sock(sock_release)]
fn sock_release(context: SockContext) -> i32 {
    if field!(context.sock, type_) == STREAM {
        released(context);
    }
    1
}

#[inline(always)]
fn released(context: SockContext) {
    let Some(state) = state::get(context.sock) else { return };
    // Whoever was reported last is known as the holder; only a change is news. Without addresses
    // it was never connected.
    if state.role == LISTENER || state.pair.family == 0 || state.reported == current_process() {
        return;
    }
    let Some(record) = reserve::<HolderRecord>() else { return };
    unsafe {
        let cookie = bpf_get_socket_cookie(context.sock.cast());
        (*record).header = header(kind::RELEASED, state.multipath, cookie, state.netns);
        write_current(&raw mut (*record).task);
        (*record).pair = state.pair;
    }
    submit(record);
}
