//! `cgroup/connect4,6`: a process is about to connect. Runs inside connect(2).

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use countersign_common::{HolderRecord, family, kind};

use crate::{
    events::{header, reserve, submit},
    state::{self, Socket, field},
    task::{current_process, write_current},
};

/// SOCK_STREAM.
pub const STREAM: u32 = 1;
/// IPPROTO_TCP.
pub const TCP: u32 = 6;
/// IPPROTO_MPTCP.
pub const MULTIPATH: u32 = 262;

#[cgroup_sock_addr(connect4)]
fn connect4(context: SockAddrContext) -> i32 {
    connect::<{ family::INET }>(context.sock_addr);
    1
}

#[cgroup_sock_addr(connect6)]
fn connect6(context: SockAddrContext) -> i32 {
    connect::<{ family::INET6 }>(context.sock_addr);
    1
}

#[inline(always)]
fn connect<const FAMILY: u32>(context: *mut bpf_sock_addr) {
    let protocol = field!(context, protocol);
    if field!(context, type_) != STREAM || (protocol != TCP && protocol != MULTIPATH) {
        return;
    }
    let netns = unsafe { bpf_get_netns_cookie(context.cast()) };
    let cookie = unsafe { bpf_get_socket_cookie(context.cast()) };
    let socket = field!(context, __bindgen_anon_1.sk);
    if !socket.is_null() {
        let mut initial = Socket::new();
        initial.netns = netns;
        initial.reported = current_process();
        if let Some(state) = state::get_or_create(socket, &mut initial) {
            // A socket can be connected again after a failure: it starts afresh.
            *state = initial;
        }
    }
    let Some(record) = reserve::<HolderRecord>() else { return };
    unsafe {
        (*record).header = header(kind::CONNECT, 0, cookie, netns);
        write_current(&raw mut (*record).task);
        let pair = &raw mut (*record).pair;
        (*pair).family = FAMILY;
        (*pair).local = [0; 4];
        (*pair).local_port = 0;
        (*pair).remote_port = u16::from_be(field!(context, user_port) as u16);
        (*pair).remote = if FAMILY == family::INET {
            [field!(context, user_ip4), 0, 0, 0]
        } else {
            [
                field!(context, user_ip6[0]),
                field!(context, user_ip6[1]),
                field!(context, user_ip6[2]),
                field!(context, user_ip6[3]),
            ]
        };
    }
    submit(record);
}
