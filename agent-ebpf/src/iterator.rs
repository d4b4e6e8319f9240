//! `iter/task_file`: every open file of every process, of which the TCP sockets are written to the
//! reader. Runs in the reader's context; the tasks are others'.

use aya_ebpf::{
    bindings::{file, seq_file, socket},
    cty::c_void,
    helpers::{bpf_get_socket_cookie, bpf_seq_write, bpf_sock_from_file},
};
use core::ptr::read_volatile;
use countersign_common::{PairRecord, SocketRecord, TaskRecord, family, tcp_state};

use crate::{
    connect::{MULTIPATH, TCP},
    kernel::{offset, read},
    state::{self, LISTENER, Socket},
    task::{flags_of, start_of},
};

/// `struct bpf_iter__task_file` (kernel/bpf/task_iter.c): every field is padded to 8 bytes, so the
/// layout is that of every kernel that has it.
#[repr(C)]
struct TaskFile {
    meta: *const Meta,
    task: *const c_void,
    descriptor: u64,
    file: *mut file,
}

/// `struct bpf_iter_meta` (include/linux/bpf.h), as far as it is used.
#[repr(C)]
struct Meta {
    sequence: *mut seq_file,
}

#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
fn task_file(context: *const TaskFile) -> i32 {
    unsafe { visit(context) };
    0
}

#[inline(always)]
unsafe fn visit(context: *const TaskFile) {
    let (task, file) =
        unsafe { (read_volatile(&raw const (*context).task), read_volatile(&raw const (*context).file)) };
    if task.is_null() || file.is_null() {
        return;
    }
    let holder: *mut socket = unsafe { bpf_sock_from_file(file) };
    if holder.is_null() {
        return;
    }
    // A typed load: the verifier follows `socket.sk` by the kernel's BTF.
    let sock = unsafe { read_volatile(holder.byte_add(offset!(socket_sk) as usize).cast::<*mut c_void>()) };
    if sock.is_null() {
        return;
    }
    let address = sock as u64;
    let family: u16 = read(address, offset!(sock_family));
    let protocol: u16 = read(address, offset!(sock_protocol));
    let (family, protocol) = (u32::from(family), u32::from(protocol));
    if (family != family::INET && family != family::INET6) || (protocol != TCP && protocol != MULTIPATH) {
        return;
    }
    let state: u8 = read(address, offset!(sock_state));
    let netns: u64 = read(read(address, offset!(sock_net)), offset!(net_cookie));
    let mut record = SocketRecord {
        socket: unsafe { bpf_get_socket_cookie(sock) },
        netns,
        task: describe(task as u64),
        pair: addresses(address, family),
        state: u32::from(state),
        protocol,
    };
    remember(sock, &record);
    let meta = unsafe { read_volatile(&raw const (*context).meta) };
    let sequence = unsafe { read_volatile(&raw const (*meta).sequence) };
    let bytes = (&raw mut record).cast();
    unsafe { bpf_seq_write(sequence, bytes, size_of::<SocketRecord>() as u32) };
}

/// Gives a socket that is older than the agent its storage, so that its packets cost no more than
/// a look-up and its release is reported.
#[inline(always)]
fn remember(sock: *mut c_void, record: &SocketRecord) {
    let listens = record.state == tcp_state::LISTEN;
    let connected = record.state == tcp_state::ESTABLISHED || record.state == tcp_state::CLOSE_WAIT;
    if !listens && !connected {
        return;
    }
    let mut initial = Socket::new();
    initial.netns = record.netns;
    initial.pair = record.pair;
    initial.multipath = u32::from(record.protocol == MULTIPATH);
    if listens {
        initial.role = LISTENER;
    } else {
        initial.decided = 1;
    }
    if let Some(state) = state::get_or_create(sock, &mut initial)
        && state.netns == 0
    {
        state.netns = record.netns;
    }
}

#[inline(always)]
fn describe(task: u64) -> TaskRecord {
    let node: u64 =
        read(read(read(task, offset!(task_cgroups)), offset!(css_set_cgroup)), offset!(cgroup_node));
    TaskRecord {
        start_time: start_of(task),
        cgroup: read(node, offset!(node_id)),
        pid: read(task, offset!(task_tgid)),
        thread: read(task, offset!(task_pid)),
        uid: read(read(task, offset!(task_cred)), offset!(cred_uid)),
        flags: flags_of(task),
        comm: read(task, offset!(task_comm)),
    }
}

#[inline(always)]
fn addresses(sock: u64, family: u32) -> PairRecord {
    let mut pair = PairRecord {
        local: [0; 4],
        remote: [0; 4],
        local_port: read(sock, offset!(sock_local_port)),
        remote_port: u16::from_be(read(sock, offset!(sock_remote_port))),
        family,
    };
    if family == family::INET {
        pair.local[0] = read(sock, offset!(sock_local4));
        pair.remote[0] = read(sock, offset!(sock_remote4));
    } else {
        pair.local = read(sock, offset!(sock_local6));
        pair.remote = read(sock, offset!(sock_remote6));
    }
    pair
}
