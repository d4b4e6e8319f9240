//! `cgroup_skb/ingress,egress`: the start of each direction, as TCP puts it on the wire.
//!
//! Once a socket is decided a packet costs one storage look-up. Packets are super-packets of up to
//! 64 KiB, unordered on ingress and with retransmissions on egress: what is shipped carries its
//! sequence number, and user space orders it.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::{
        bpf_get_socket_cookie, bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit, bpf_sk_fullsock,
        bpf_skb_load_bytes,
    },
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use core::hint::black_box;
use countersign_common::{
    ExistingRecord, Header, LISTENER_BYTES, PairRecord, SEGMENT_BYTES, SegmentRecord, counter, family, kind,
    segment, tcp_state,
};

use crate::{
    connect::{STREAM, TCP},
    events::{header, reserve, submit},
    maps::{DECISIONS, EVENTS, JOINS, count, raw},
    packet::{Packet, Parsed, joins, parse},
    state::{self, LISTENER, SUBFLOW, Socket, field, pair_of},
};

/// The loopback interface has this index in every network namespace (`LOOPBACK_IFINDEX`, include/net/net_namespace.h).
const LOOPBACK: u32 = 1;

/// Not 0: every socket of the host is watched, so that what arrives on loopback was seen when it was sent.
#[unsafe(no_mangle)]
static LOOPBACK_ONCE: u32 = 0;

fn loopback_once() -> bool {
    unsafe { core::ptr::read_volatile(&raw const LOOPBACK_ONCE) != 0 }
}

/// Chunks of one packet: a super-packet has 64 KiB.
const CHUNKS_MAX: u32 = 16;

#[cgroup_skb(ingress)]
fn ingress(context: SkBuffContext) -> i32 {
    observe::<false>(context.skb.skb);
    1
}

#[cgroup_skb(egress)]
fn egress(context: SkBuffContext) -> i32 {
    observe::<true>(context.skb.skb);
    1
}

#[inline(always)]
fn observe<const SENT: bool>(skb: *mut __sk_buff) {
    // The socket that sent it is on this host, and its egress has shipped it already.
    if !SENT && field!(skb, ifindex) == LOOPBACK && loopback_once() {
        return;
    }
    let socket = field!(skb, __bindgen_anon_2.sk);
    if socket.is_null() {
        return;
    }
    match state::get(socket) {
        Some(state) if state.decided != 0 => {}
        Some(state) if state.role == LISTENER => {
            if SENT {
                from_listener(skb);
            } else {
                to_listener(skb, state.netns);
            }
        }
        Some(state) => undecided::<SENT>(skb, state),
        None => stranger::<SENT>(skb, socket),
    }
}

/// A packet of a socket that is still looked at.
#[inline(always)]
fn undecided<const SENT: bool>(skb: *mut __sk_buff, state: &mut Socket) {
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    // Before the headers are read: a socket that only acknowledges sends no payload that would take it up.
    take_decision(cookie, state);
    if state.decided != 0 {
        return;
    }
    let packet = match parse(skb) {
        Parsed::Tcp(packet) => packet,
        Parsed::Other => return,
        Parsed::Unreadable => return count(counter::UNREADABLE, 1),
    };
    if packet.syn {
        // Egress of a client, or the SYN-ACK to it: a Fast Open client sends data with it.
        let direction = if SENT { &mut state.sent } else { &mut state.received };
        direction.starts_at(packet.sequence);
        if SENT && state.role == 0 && joins(skb, packet.header + 20, packet.payload) {
            state.role = SUBFLOW;
            state.decided = 1;
            let Some(record) = reserve::<Header>() else { return };
            unsafe {
                *record = header(kind::SUBFLOW, 0, cookie, state.netns);
            }
            submit(record);
            return;
        }
    }
    if packet.length == 0 {
        return;
    }
    let direction = if SENT { &mut state.sent } else { &mut state.received };
    if direction.known == 0 {
        // A packet that overtook its own handshake on another CPU; before the handshake, a stranger's.
        if state.role != 0 {
            count(counter::UNREADABLE, 1);
        }
        return;
    }
    if direction.told != 0 {
        return;
    }
    let offset = packet.sequence.wrapping_sub(direction.first);
    if offset > i32::MAX as u32 {
        // Before the first byte: a keep-alive probe.
        return;
    }
    let wanted = direction.budget.saturating_sub(offset);
    // Retransmissions of bytes within the budget are shipped again, but not without end.
    let room = (2 * u64::from(direction.budget)).saturating_sub(u64::from(direction.shipped)) as u32;
    let length = packet.length.min(wanted).min(room);
    if length == 0 {
        direction.told = 1;
    } else {
        direction.shipped = direction.shipped.saturating_add(length);
    }
    if state.sent.told != 0 && state.received.told != 0 {
        state.decided = 1;
    }
    let mut record = new_record(&packet, if SENT { 0 } else { segment::RECEIVED }, cookie, state.netns);
    record.interface = field!(skb, ifindex);
    ship(skb, &mut record, packet.payload, length, packet.length);
}

/// Moves what user space decided from the map into the socket's storage.
#[inline(always)]
fn take_decision(cookie: u64, state: &mut Socket) {
    let Some(decision) = (unsafe { DECISIONS.get(&cookie) }) else { return };
    if decision.stop != 0 {
        state.decided = 1;
    } else {
        state.sent.budget = decision.sent;
        state.received.budget = decision.received;
    }
    _ = DECISIONS.remove(&cookie);
}

/// Data on a listening socket: the last packet of a passive open, whose socket is still to come.
#[inline(always)]
fn to_listener(skb: *mut __sk_buff, netns: u64) {
    let packet = match parse(skb) {
        Parsed::Tcp(packet) => packet,
        Parsed::Other => return,
        Parsed::Unreadable => return count(counter::UNREADABLE, 1),
    };
    if packet.length == 0 {
        return;
    }
    let mut record = new_record(&packet, segment::RECEIVED | segment::LISTENER, 0, netns);
    // On ingress the packet's addresses are the socket's.
    record.pair = PairRecord {
        local: packet.destination,
        remote: packet.source,
        local_port: packet.destination_port,
        remote_port: packet.source_port,
        family: if packet.version == 4 { family::INET } else { family::INET6 },
    };
    record.interface = field!(skb, ifindex);
    ship(skb, &mut record, packet.payload, packet.length.min(LISTENER_BYTES), packet.length);
}

/// A SYN-ACK. That it grants a multipath join is this host's own word; the peer's SYN proves nothing, since an ordinary
/// listener ignores the option.
#[inline(always)]
fn from_listener(skb: *mut __sk_buff) {
    let Parsed::Tcp(packet) = parse(skb) else { return };
    if !packet.syn || !joins(skb, packet.header + 20, packet.payload) {
        return;
    }
    let pair = PairRecord {
        local: packet.source,
        remote: packet.destination,
        local_port: packet.source_port,
        remote_port: packet.destination_port,
        family: if packet.version == 4 { family::INET } else { family::INET6 },
    };
    if JOINS.insert(&pair, &1, 0).is_err() {
        count(counter::TABLE_FULL, 1);
    }
}

/// A packet of a socket without storage: of no interest, or older than the agent.
#[inline(always)]
fn stranger<const SENT: bool>(skb: *mut __sk_buff, socket: *mut bpf_sock) {
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() || field!(socket, type_) != STREAM || field!(socket, protocol) != TCP {
        return;
    }
    match field!(socket, state) {
        tcp_state::LISTEN => {
            let mut initial = Socket::new();
            initial.role = LISTENER;
            if !SENT && state::get_or_create(socket, &mut initial).is_some() {
                to_listener(skb, 0);
            }
        }
        tcp_state::ESTABLISHED | tcp_state::FIN_WAIT1 | tcp_state::FIN_WAIT2 | tcp_state::CLOSE_WAIT => {
            let mut initial = Socket::new();
            initial.decided = 1;
            pair_of(socket, &mut initial.pair);
            if state::get_or_create(socket, &mut initial).is_none() {
                return;
            }
            let Some(record) = reserve::<ExistingRecord>() else { return };
            unsafe {
                (*record).header = header(kind::EXISTING, 0, bpf_get_socket_cookie(skb.cast()), 0);
                (*record).pair = initial.pair;
            }
            submit(record);
        }
        _ => {}
    }
}

#[inline(always)]
fn new_record(packet: &Packet, flags: u32, cookie: u64, netns: u64) -> SegmentRecord {
    SegmentRecord {
        header: header(kind::SEGMENT, flags, cookie, netns),
        pair: PairRecord { local: [0; 4], remote: [0; 4], local_port: 0, remote_port: 0, family: 0 },
        sequence: packet.sequence,
        acknowledged: packet.acknowledged,
        withheld: 0,
        interface: 0,
        length: 0,
        reserved: 0,
    }
}

/// Ships `length` of the `available` payload bytes at `payload`, in chunks; with `length` 0 only
/// the fact that there are some.
#[inline(never)]
fn ship(skb: *mut __sk_buff, record: &mut SegmentRecord, payload: u32, length: u32, available: u32) -> u32 {
    if length == 0 {
        record.withheld = available;
        let Some(room) = reserve::<SegmentRecord>() else { return 0 };
        unsafe { *room = *record }
        submit(room);
        return 0;
    }
    // Whole chunks first, with one path only that goes on: the verifier follows each.
    let mut left = length;
    let mut offset = payload;
    for _ in 0..CHUNKS_MAX {
        if left <= SEGMENT_BYTES as u32 {
            break;
        }
        record.length = SEGMENT_BYTES as u32;
        if !ship_chunk::<SEGMENT_BYTES>(skb, record, offset) {
            return shipped(length - left);
        }
        record.sequence = record.sequence.wrapping_add(SEGMENT_BYTES as u32);
        offset = offset.wrapping_add(SEGMENT_BYTES as u32);
        left -= SEGMENT_BYTES as u32;
    }
    // More chunks than a super-packet has (BIG TCP): the rest stays behind.
    let last = left.min(SEGMENT_BYTES as u32);
    record.length = last;
    record.withheld = available.wrapping_sub(length).wrapping_add(left - last);
    let left = last;
    // Few sizes, since the room in the ring must be a constant: a short record, a hello, a packet
    // of usual size, a chunk of a super-packet.
    let whole = match left {
        0..=256 => ship_chunk::<256>(skb, record, offset),
        257..=1024 => ship_chunk::<1024>(skb, record, offset),
        1025..=2048 => ship_chunk::<2048>(skb, record, offset),
        _ => ship_chunk::<SEGMENT_BYTES>(skb, record, offset),
    };
    shipped(if whole { length } else { length - left })
}

/// Counts payload bytes.
#[inline(always)]
fn shipped(bytes: u32) -> u32 {
    count(counter::BYTES_SHIPPED, u64::from(bytes));
    0
}

/// One chunk of at most `ROOM` bytes, a power of two.
#[inline(always)]
fn ship_chunk<const ROOM: usize>(skb: *mut __sk_buff, record: &SegmentRecord, offset: u32) -> bool {
    unsafe {
        let size = (size_of::<SegmentRecord>() + ROOM) as u64;
        let room = bpf_ringbuf_reserve(raw(&EVENTS), size, 0);
        if room.is_null() {
            count(counter::RING_FULL, 1);
            return false;
        }
        *room.cast::<SegmentRecord>() = *record;
        // Linux 6.1 wants to see that the length is not 0; the black box keeps LLVM from removing
        // what it knows to be redundant.
        let length = (black_box(record.length).wrapping_sub(1) & (ROOM as u32 - 1)) + 1;
        let target = room.byte_add(size_of::<SegmentRecord>());
        if bpf_skb_load_bytes(skb.cast(), offset, target, length) != 0 {
            bpf_ringbuf_discard(room, 0);
            count(counter::UNREADABLE, 1);
            return false;
        }
        bpf_ringbuf_submit(room, 0);
    }
    true
}
