//! Ring-buffer records → events. Pure: any bytes give an event or `None`, never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use countersign_common::{
    ClosedRecord, EstablishedRecord, ExecRecord, ExistingRecord, ExitRecord, ForkRecord, Header,
    HolderRecord, PairRecord, Record, SegmentRecord, TaskRecord, close, family, kind, role, segment, task,
};

use crate::event::{
    AddressPair, CloseReason, Closed, Connect, Established, Event, Existing, NetworkNamespace, PeerAsked,
    ProcessKey, Released, Role, Segment, SegmentOwner, SocketCookie, Task, Timestamp, Travel,
};

/// Decodes one record; `None` if it is malformed.
pub(super) fn event(bytes: &[u8]) -> Option<Event> {
    let header = Header::read(bytes)?;
    let at = Timestamp(header.at);
    let socket = SocketCookie(header.socket);
    let netns = NetworkNamespace(header.netns);
    Some(match header.kind {
        kind::CONNECT => {
            let record = HolderRecord::read(bytes)?;
            let dialled = pair_of(&record.pair)?.remote;
            Event::Connect(Connect { at, socket, task: task_of(&record.task), dialled, netns })
        }
        kind::PEER_ASKED => {
            let record = HolderRecord::read(bytes)?;
            let (task, pair) = (task_of(&record.task), pair_of(&record.pair)?);
            Event::PeerAsked(PeerAsked { at, socket, task, pair, netns, multipath: flag(header.detail)? })
        }
        kind::RELEASED => {
            let record = HolderRecord::read(bytes)?;
            let (task, pair) = (task_of(&record.task), pair_of(&record.pair)?);
            Event::Released(Released { at, socket, task, pair, netns, multipath: flag(header.detail)? })
        }
        kind::ESTABLISHED => {
            let record = EstablishedRecord::read(bytes)?;
            let role = match header.detail {
                role::CLIENT => Role::Client,
                role::SERVER => Role::Server,
                _ => return None,
            };
            let pair = pair_of(&record.pair)?;
            let EstablishedRecord { first_sent, first_received, .. } = record;
            Event::Established(Established { at, socket, role, pair, netns, first_sent, first_received })
        }
        kind::SEGMENT => Event::Segment(segment_of(bytes)?),
        kind::CLOSED => {
            let ClosedRecord { sent, received, .. } = ClosedRecord::read(bytes)?;
            let reason = match header.detail {
                close::FIN => CloseReason::Fin,
                close::RESET => CloseReason::Reset,
                _ => return None,
            };
            Event::Closed(Closed { at, socket, sent, received, reason })
        }
        kind::EXISTING => {
            let pair = pair_of(&ExistingRecord::read(bytes)?.pair)?;
            Event::Existing(Existing { at, socket, pair, netns, owner: None, role: None })
        }
        kind::SUBFLOW => Event::Subflow { at, socket },
        kind::FORK => {
            let record = ForkRecord::read(bytes)?;
            let parent = ProcessKey { pid: record.parent, start_time: record.parent_start };
            let child = ProcessKey { pid: record.child, start_time: record.child_start };
            Event::ProcessForked { at, parent, child }
        }
        kind::EXEC => {
            let record = ExecRecord::read(bytes)?;
            let path = record.path.get(..record.path_length as usize)?;
            Event::ProcessExecuted { at, task: task_of(&record.task), path: Bytes::copy_from_slice(path) }
        }
        kind::EXIT => {
            let record = ExitRecord::read(bytes)?;
            let process = ProcessKey { pid: record.pid, start_time: record.start_time };
            Event::ProcessExited { at, process }
        }
        _ => return None,
    })
}

fn segment_of(bytes: &[u8]) -> Option<Segment> {
    let record = SegmentRecord::read(bytes)?;
    // Behind the payload stands what is left of the room, old events among it: not to be read.
    let payload = bytes.get(size_of::<SegmentRecord>()..)?.get(..record.length as usize)?;
    let flags = record.header.detail;
    if flags & !(segment::RECEIVED | segment::LISTENER) != 0 {
        return None;
    }
    let owner = if flags & segment::LISTENER != 0 {
        SegmentOwner::Listener { pair: pair_of(&record.pair)?, netns: NetworkNamespace(record.header.netns) }
    } else {
        SegmentOwner::Socket(SocketCookie(record.header.socket))
    };
    Some(Segment {
        at: Timestamp(record.header.at),
        owner,
        travel: if flags & segment::RECEIVED != 0 { Travel::Received } else { Travel::Sent },
        sequence: record.sequence,
        acknowledged: record.acknowledged,
        withheld: record.withheld,
        interface: record.interface,
        bytes: Bytes::copy_from_slice(payload),
    })
}

/// A task as events have it.
pub(super) fn task_of(record: &TaskRecord) -> Task {
    Task {
        process: ProcessKey { pid: record.pid, start_time: record.start_time },
        thread: record.thread,
        uid: record.uid,
        cgroup: record.cgroup,
        comm: record.comm,
        kernel_thread: record.flags & task::KERNEL_THREAD != 0,
    }
}

/// Addresses as events have them: IPv4-mapped ones as IPv4. `None` for an unknown family.
pub(super) fn pair_of(record: &PairRecord) -> Option<AddressPair> {
    let address = |words: [u32; 4]| -> Option<IpAddr> {
        let [first, ..] = words;
        match record.family {
            family::INET => Some(Ipv4Addr::from(first.to_ne_bytes()).into()),
            family::INET6 => {
                let mut octets = [0u8; 16];
                for (target, word) in octets.chunks_exact_mut(4).zip(words) {
                    target.copy_from_slice(&word.to_ne_bytes());
                }
                Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
            }
            _ => None,
        }
    };
    Some(AddressPair {
        local: SocketAddr::new(address(record.local)?, record.local_port),
        remote: SocketAddr::new(address(record.remote)?, record.remote_port),
    })
}

fn flag(value: u32) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
