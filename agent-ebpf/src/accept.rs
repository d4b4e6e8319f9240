//! `cgroup/getpeername4,6`: a process asks a socket for its peer. Runs inside accept(2) and
//! accept4(2) when the caller wants the address, and inside getpeername(2).

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use countersign_common::{HolderRecord, kind};

use crate::{
    connect::{MULTIPATH, STREAM, TCP},
    events::{header, reserve, submit},
    state::{self, Socket, field, pair_of},
    task::{current_process, write_current},
};

#[cgroup_sock_addr(getpeername4)]
fn getpeername4(context: SockAddrContext) -> i32 {
    peer_asked(context.sock_addr);
    1
}

#[cgroup_sock_addr(getpeername6)]
fn getpeername6(context: SockAddrContext) -> i32 {
    peer_asked(context.sock_addr);
    1
}

#[inline(always)]
fn peer_asked(context: *mut bpf_sock_addr) {
    let protocol = field!(context, protocol);
    if field!(context, type_) != STREAM || (protocol != TCP && protocol != MULTIPATH) {
        return;
    }
    let socket = field!(context, __bindgen_anon_1.sk);
    if socket.is_null() {
        return;
    }
    let process = current_process();
    let multipath = u32::from(protocol == MULTIPATH);
    let netns;
    match state::get(socket) {
        Some(state) if state.reported == process => return,
        Some(state) => {
            state.reported = process;
            netns = state.netns;
        }
        None => {
            // A multipath socket, which no packet shows, or one older than the agent: its packets
            // are of no use.
            let mut initial = Socket::new();
            netns = unsafe { bpf_get_netns_cookie(context.cast()) };
            initial.netns = netns;
            initial.decided = 1;
            initial.reported = process;
            initial.multipath = multipath;
            pair_of(socket, &mut initial.pair);
            state::get_or_create(socket, &mut initial);
        }
    }
    let Some(record) = reserve::<HolderRecord>() else { return };
    unsafe {
        let cookie = bpf_get_socket_cookie(context.cast());
        (*record).header = header(kind::PEER_ASKED, multipath, cookie, netns);
        write_current(&raw mut (*record).task);
        pair_of(socket, &mut (*record).pair);
    }
    submit(record);
}
