//! `sockops`: the handshake is done, the socket is closed, a socket listens.
//!
//! The kernel calls this about nine times per connection, mostly to ask for parameters that are
//! none of our business: those calls end at the first comparison.

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RTO_CB,
        BPF_SOCK_OPS_RTO_CB_FLAG, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
        BPF_SOCK_OPS_TCP_LISTEN_CB, bpf_sock, bpf_sock_ops,
    },
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_sock_ops_cb_flags_set},
    macros::sock_ops,
    programs::SockOpsContext,
};
use countersign_common::{ClosedRecord, EstablishedRecord, Header, close, kind, role, tcp_state};

use crate::{
    events::{header, reserve, submit},
    maps::JOINS,
    state::{self, LISTENER, SUBFLOW, Socket, field, pair_of},
};

#[sock_ops]
fn socket_operations(context: SockOpsContext) -> u32 {
    let ops = context.ops;
    match field!(ops, op) {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ops, role::CLIENT),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(ops, role::SERVER),
        BPF_SOCK_OPS_STATE_CB => {
            if field!(ops, __bindgen_anon_1.args[1]) == tcp_state::CLOSE {
                closed(ops, field!(ops, __bindgen_anon_1.args[0]));
            }
        }
        // tcp_write_timeout() (net/ipv4/tcp_timer.c) says in its third argument whether it gives up.
        BPF_SOCK_OPS_RTO_CB => {
            if field!(ops, __bindgen_anon_1.args[2]) != 0 {
                times_out(ops);
            }
        }
        BPF_SOCK_OPS_TCP_LISTEN_CB => listens(ops),
        _ => {}
    }
    1
}

#[inline(always)]
fn socket_of(ops: *mut bpf_sock_ops) -> *mut bpf_sock {
    field!(ops, __bindgen_anon_2.sk)
}

#[inline(always)]
fn established(ops: *mut bpf_sock_ops, role: u32) {
    let socket = socket_of(ops);
    if socket.is_null() {
        return;
    }
    let cookie = unsafe { bpf_get_socket_cookie(ops.cast()) };
    let netns = unsafe { bpf_get_netns_cookie(ops.cast()) };
    let mut initial = Socket::new();
    let Some(state) = state::get_or_create(socket, &mut initial) else { return };
    pair_of(socket, &mut state.pair);
    state.netns = netns;
    state.sent.starts_at(field!(ops, snd_nxt));
    // Whatever a packet claimed before: this is what TCP itself expects.
    state.received.first = field!(ops, rcv_nxt);
    state.received.known = 1;
    if role == role::SERVER && unsafe { JOINS.get(&state.pair) }.is_some() {
        _ = JOINS.remove(&state.pair);
        state.role = SUBFLOW;
        state.decided = 1;
        let Some(record) = reserve::<Header>() else { return };
        unsafe { *record = header(kind::SUBFLOW, 0, cookie, netns) }
        submit(record);
        return;
    }
    if state.role == SUBFLOW {
        return;
    }
    state.role = role;
    unsafe { bpf_sock_ops_cb_flags_set(ops, (BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTO_CB_FLAG) as i32) };
    let Some(record) = reserve::<EstablishedRecord>() else { return };
    unsafe {
        (*record).header = header(kind::ESTABLISHED, role, cookie, netns);
        (*record).pair = state.pair;
        (*record).first_sent = state.sent.first;
        (*record).first_received = state.received.first;
    }
    submit(record);
}

#[inline(always)]
fn closed(ops: *mut bpf_sock_ops, before: u32) {
    let socket = socket_of(ops);
    if socket.is_null() {
        return;
    }
    let Some(state) = state::get(socket) else { return };
    let own_fin_acknowledged = matches!(
        before,
        tcp_state::FIN_WAIT2 | tcp_state::TIME_WAIT | tcp_state::CLOSING | tcp_state::LAST_ACK
    );
    // SYN and FIN take a sequence number each and are counted by the kernel. What closes a socket in FIN_WAIT2 is the
    // peer's FIN, except when the peer never sent one and the kernel gave up: there, one byte is missing.
    let syn = u64::from(state.role == role::CLIENT);
    let peer_fin = u64::from(matches!(
        before,
        tcp_state::CLOSE_WAIT | tcp_state::CLOSING | tcp_state::LAST_ACK | tcp_state::FIN_WAIT2
    ));
    let Some(record) = reserve::<ClosedRecord>() else { return };
    unsafe {
        let reason = match (state.timed_out, own_fin_acknowledged) {
            (0, true) => close::FIN,
            (0, false) => close::RESET,
            _ => close::TIMEOUT,
        };
        let cookie = bpf_get_socket_cookie(ops.cast());
        (*record).header = header(kind::CLOSED, reason, cookie, state.netns);
        let sent = field!(ops, bytes_acked);
        (*record).sent = sent.saturating_sub(syn + u64::from(own_fin_acknowledged));
        (*record).received = field!(ops, bytes_received).saturating_sub(peer_fin);
    }
    submit(record);
}

/// Notes that the kernel gives a connection up.
#[inline(always)]
fn times_out(ops: *mut bpf_sock_ops) {
    let socket = socket_of(ops);
    if socket.is_null() {
        return;
    }
    if let Some(state) = state::get(socket) {
        state.timed_out = 1;
    }
}

/// Notes where a listening socket is: packets that reach it cannot say.
#[inline(always)]
fn listens(ops: *mut bpf_sock_ops) {
    let socket = socket_of(ops);
    if socket.is_null() {
        return;
    }
    let mut initial = Socket::new();
    if let Some(state) = state::get_or_create(socket, &mut initial) {
        state.netns = unsafe { bpf_get_netns_cookie(ops.cast()) };
        state.role = LISTENER;
        state.decided = 0;
    }
}
