//! Ring-buffer records → events. Pure: any bytes give an event or `None`, never a panic.

mod library;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use countersign_common::{
    ClosedRecord, EstablishedRecord, ExecRecord, ExistingRecord, ForkRecord, Header, HolderRecord,
    PairRecord, ProcessRecord, Record, SegmentRecord, TaskRecord, close, family, kind, role, segment, task,
};

use crate::event::{
    AddressPair, Beginning, CloseReason, Closed, Connect, Established, Event, Existing, NetworkNamespace,
    PeerAsked, ProcessKey, Released, Role, Segment, SegmentOwner, SocketCookie, Task, Timestamp, Travel,
    Withheld,
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
            let beginning = Beginning::Seen;
            Event::Established(Established {
                at,
                socket,
                role,
                pair,
                netns,
                first_sent,
                first_received,
                beginning,
            })
        }
        kind::SEGMENT => Event::Segment(segment_of(bytes)?),
        kind::CLOSED => {
            let ClosedRecord { sent, received, .. } = ClosedRecord::read(bytes)?;
            let reason = match header.detail {
                close::FIN => CloseReason::Fin,
                close::RESET => CloseReason::Reset,
                close::TIMEOUT => CloseReason::Timeout,
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
        kind::EXIT => Event::ProcessExited { at, process: process_of(&ProcessRecord::read(bytes)?) },
        kind::LIBRARY_BYTES => Event::LibraryBytes(Box::new(library::bytes_of(bytes)?)),
        kind::LIBRARY_VERIFICATION => Event::LibraryVerification(Box::new(library::verification_of(bytes)?)),
        kind::LIBRARIES_CHANGED => {
            Event::LibrariesChanged { at, process: process_of(&ProcessRecord::read(bytes)?) }
        }
        _ => return None,
    })
}

fn process_of(record: &ProcessRecord) -> ProcessKey {
    ProcessKey { pid: record.pid, start_time: record.start_time }
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
        withheld_for: Withheld::Budget,
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

#[cfg(test)]
mod tests {
    use countersign_common::{LibraryBytesRecord, LibraryVerificationRecord};

    use super::*;

    /// Room for the largest record, with a header of the given kind and detail.
    fn record(kind: u32, detail: u32) -> Vec<u8> {
        let mut bytes = vec![0u8; 600];
        bytes[24..28].copy_from_slice(&kind.to_ne_bytes());
        bytes[28..32].copy_from_slice(&detail.to_ne_bytes());
        // The families of the pairs, wherever a kind has its pair.
        for end in [72, 120] {
            bytes[end - 4..end].copy_from_slice(&family::INET.to_ne_bytes());
        }
        match kind {
            // Library, presenter and form; library and verdict.
            kind::LIBRARY_BYTES => bytes[88..112].fill(0),
            kind::LIBRARY_VERIFICATION => bytes[88..104].fill(0),
            _ => return bytes,
        }
        for code in [88, 92, 96] {
            bytes[code] = 1;
        }
        bytes
    }

    fn length_of(kind: u32) -> usize {
        match kind {
            kind::CONNECT | kind::PEER_ASKED | kind::RELEASED => size_of::<HolderRecord>(),
            kind::ESTABLISHED => size_of::<EstablishedRecord>(),
            kind::SEGMENT => size_of::<SegmentRecord>(),
            kind::CLOSED => size_of::<ClosedRecord>(),
            kind::EXISTING => size_of::<ExistingRecord>(),
            kind::SUBFLOW => size_of::<Header>(),
            kind::FORK => size_of::<ForkRecord>(),
            kind::EXEC => size_of::<ExecRecord>(),
            kind::LIBRARY_BYTES => size_of::<LibraryBytesRecord>(),
            kind::LIBRARY_VERIFICATION => size_of::<LibraryVerificationRecord>(),
            _ => size_of::<ProcessRecord>(),
        }
    }

    #[test]
    fn each_kind_decodes_from_its_length_on_and_no_sooner() {
        for kind in kind::CONNECT..=kind::LIBRARIES_CHANGED {
            let bytes = record(kind, u32::from(kind == kind::ESTABLISHED || kind == kind::CLOSED));
            for length in 0..bytes.len() {
                assert_eq!(event(&bytes[..length]).is_some(), length >= length_of(kind), "{kind} {length}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (kind, detail) in [(0, 0), (15, 0), (u32::MAX, 0), (kind::ESTABLISHED, 3), (kind::CLOSED, 0)] {
            assert_eq!(event(&record(kind, detail)), None);
        }
        assert_eq!(event(&record(kind::SEGMENT, 4)), None);
        let mut unknown_family = record(kind::EXISTING, 0);
        unknown_family[68] = 77;
        assert_eq!(event(&unknown_family), None);
    }

    #[test]
    fn only_the_length_given_is_payload() {
        let mut bytes = record(kind::SEGMENT, 1);
        bytes[88..92].copy_from_slice(&3u32.to_ne_bytes());
        bytes[96..104].copy_from_slice(b"abcstale");
        let Some(Event::Segment(segment)) = event(&bytes) else { panic!("no segment") };
        assert_eq!(segment.bytes, b"abc".as_slice());
        bytes[88..92].copy_from_slice(&505u32.to_ne_bytes());
        assert_eq!(event(&bytes), None, "longer than the room");
    }

    #[test]
    fn mutations_never_panic() {
        for kind in 0..=kind::LIBRARIES_CHANGED + 1 {
            let bytes = record(kind, 1);
            for index in 0..bytes.len() {
                for value in [1, 0x7f, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[index] = value;
                    event(&changed);
                }
            }
        }
    }
}
