//! Fragments of IP packets → whole packets, within bounds.
//!
//! Fragments that overlap with other bytes than they have are dropped with their packet: hosts differ in which copy they
//! take, which hides payload from an observer (RFC 5722 forbids overlaps for IPv6, Linux drops them for IPv4 too).

use std::collections::{HashMap, VecDeque};

use etherparse::defrag::IpDefragBuf;
use etherparse::{IpFragOffset, IpNumber, Ipv6ExtensionSlice, LaxIpSlice};

use super::packet::VirtualNetwork;

/// Most packets that are put together at a time: more than a link loses or reorders.
const PACKETS_MAX: usize = 256;
/// Most bytes held for them: sixteen packets of full size, hundreds of usual size.
const BYTES_MAX: usize = 1024 * 1024;
/// How long the first fragment waits for the last one, in nanoseconds: what Linux grants (net.ipv4.ipfrag_time, 30 s).
const AGE_MAX: u64 = 30_000_000_000;
/// Most fragments per packet: a full packet in pieces of 576 bytes, the smallest that every host takes.
const PIECES_MAX: usize = 128;

/// Which packet a fragment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    network: VirtualNetwork,
    source: u128,
    destination: u128,
    identification: u32,
    protocol: u8,
}

/// One fragment.
pub struct Fragment<'a> {
    identity: Identity,
    protocol: IpNumber,
    offset: IpFragOffset,
    more: bool,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The fragment that a packet is.
    pub fn of(
        ip: &LaxIpSlice<'a>,
        (source, destination): (u128, u128),
        network: VirtualNetwork,
    ) -> Option<Self> {
        let payload = ip.payload();
        let (identification, offset, more) = match ip {
            LaxIpSlice::Ipv4(ip) => {
                let header = ip.header();
                (u32::from(header.identification()), header.fragments_offset(), header.more_fragments())
            }
            LaxIpSlice::Ipv6(ip) => {
                let mut extensions = ip.extensions().clone().into_iter();
                let header = extensions.find_map(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(header) => Some(header),
                    _ => None,
                })?;
                (header.identification(), header.fragment_offset(), header.more_fragments())
            }
        };
        let protocol = payload.ip_number;
        let identity = Identity { network, source, destination, identification, protocol: protocol.0 };
        Some(Fragment { identity, protocol, offset, more, bytes: payload.payload })
    }
}

/// A packet's payload, put together.
pub struct Whole {
    pub protocol: IpNumber,
    pub bytes: Vec<u8>,
}

struct Partial {
    buffer: IpDefragBuf,
    pieces: usize,
    /// One of its fragments contradicted another or was cut: it will not be whole.
    spoilt: bool,
}

/// Packets in the making.
#[derive(Default)]
pub struct Fragments {
    packets: HashMap<Identity, Partial>,
    /// When each began, oldest first; some are done already.
    began: VecDeque<(u64, Identity)>,
    held: usize,
    dropped: u64,
    /// The last finished packet's memory, to be used again.
    spare: Vec<u8>,
}

impl Fragments {
    /// Takes a fragment; gives the whole packet if that was the last one. `cut`: the capture does not hold all of it.
    pub fn take(&mut self, fragment: Fragment<'_>, cut: bool, at: u64) -> Option<Whole> {
        self.expire(at);
        let Fragment { identity, protocol, offset, more, bytes } = fragment;
        if !self.packets.contains_key(&identity) {
            self.began.push_back((at, identity));
        }
        let spare = &mut self.spare;
        let partial = self.packets.entry(identity).or_insert_with(|| Partial {
            buffer: IpDefragBuf::new(protocol, std::mem::take(spare), Vec::new()),
            pieces: 0,
            spoilt: false,
        });
        partial.pieces += 1;
        let before = partial.buffer.data().len();
        partial.spoilt |= cut
            || partial.pieces > PIECES_MAX
            || contradicts(&partial.buffer, offset.byte_offset(), bytes)
            || partial.buffer.add(offset, more, bytes).is_err();
        self.held = (self.held + partial.buffer.data().len()).saturating_sub(before);
        if partial.spoilt || !is_whole(&partial.buffer) {
            self.make_room();
            return None;
        }
        let (bytes, _sections) = self.remove(&identity)?.buffer.take_bufs();
        Some(Whole { protocol, bytes })
    }

    /// Returns the memory of a whole packet.
    pub fn give_back(&mut self, bytes: Vec<u8>) {
        self.spare = bytes;
    }

    /// Fragments that led to no packet.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops what is not whole.
    pub fn clear(&mut self) {
        while let Some((_, identity)) = self.began.pop_front() {
            self.drop_packet(&identity);
        }
    }

    fn expire(&mut self, at: u64) {
        while let Some(&(began, identity)) = self.began.front()
            && (at.abs_diff(began) > AGE_MAX || !self.packets.contains_key(&identity))
        {
            self.began.pop_front();
            self.drop_packet(&identity);
        }
    }

    fn make_room(&mut self) {
        while self.packets.len() > PACKETS_MAX || self.held > BYTES_MAX || self.began.len() > 2 * PACKETS_MAX
        {
            let Some((_, identity)) = self.began.pop_front() else { return };
            self.drop_packet(&identity);
        }
    }

    fn drop_packet(&mut self, identity: &Identity) {
        if let Some(partial) = self.remove(identity) {
            self.dropped += partial.pieces as u64;
        }
    }

    fn remove(&mut self, identity: &Identity) -> Option<Partial> {
        let partial = self.packets.remove(identity)?;
        self.held = self.held.saturating_sub(partial.buffer.data().len());
        Some(partial)
    }
}

/// Whether bytes differ from those that came before for the same place.
fn contradicts(buffer: &IpDefragBuf, offset: u16, bytes: &[u8]) -> bool {
    let (begin, end) = (usize::from(offset), usize::from(offset) + bytes.len());
    buffer.sections().iter().any(|section| {
        let from = begin.max(usize::from(section.start));
        let to = end.min(usize::from(section.end));
        from < to && buffer.data().get(from..to) != bytes.get(from - begin..to - begin)
    })
}

/// All from the first byte to the end that the last fragment told, and nothing beyond.
fn is_whole(buffer: &IpDefragBuf) -> bool {
    buffer.is_complete()
        && matches!((buffer.sections().as_slice(), buffer.end()), ([only], Some(end)) if only.end == end)
}
