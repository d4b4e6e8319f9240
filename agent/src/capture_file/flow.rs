//! One TCP connection as an observer between its ends sees it.

use std::hash::{Hash, Hasher};
use std::mem::offset_of;

use countersign_common::START_BUDGET;

use super::packet::{Endpoint, TcpPacket, VirtualNetwork};
use crate::event::{AddressPair, Timestamp};

/// Largest step that a sequence number is believed to make: the largest window there is (RFC 7323 section 2.3).
const WINDOW_MAX: i64 = 1 << 30;
/// How far a reset's sequence number may lie from where its sender is: a receiver takes what lies within its window
/// (RFC 9293 section 3.10.7.4), of which this is a usual size.
const RESET_WINDOW: u64 = 1 << 20;

/// How far the numbers of one connection lie apart at most where they alone tell it from another one: what tuned hosts
/// keep in flight. By chance one connection in 16,000 is as near in both directions.
const NEAR: u32 = 1 << 24;

/// Both ends of a connection in one order, whoever sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    /// Addresses in words, which leave no gaps behind them.
    low: [u64; 2],
    high: [u64; 2],
    low_port: u16,
    high_port: u16,
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in [self.low, self.high].as_flattened() {
            state.write_u64(*word);
        }
        state.write_u32(u32::from(self.low_port) << 16 | u32::from(self.high_port));
    }
}

/// One of the two ends of a [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    Low,
    High,
}

impl Half {
    pub fn other(self) -> Half {
        match self {
            Half::Low => Half::High,
            Half::High => Half::Low,
        }
    }
}

impl Key {
    /// The key of a packet's connection, and which end sent it; `None` if it was sent to itself.
    #[inline]
    pub fn of(packet: &TcpPacket<'_>) -> Option<(Key, Half)> {
        let (source, destination) = (packet.source, packet.destination);
        match source.cmp(&destination) {
            std::cmp::Ordering::Less => Some((Key::between(source, destination), Half::Low)),
            std::cmp::Ordering::Greater => Some((Key::between(destination, source), Half::High)),
            std::cmp::Ordering::Equal => None,
        }
    }

    #[inline]
    fn between(low: Endpoint, high: Endpoint) -> Key {
        let words = |address: u128| [(address >> 64) as u64, address as u64];
        Key { low: words(low.address), high: words(high.address), low_port: low.port, high_port: high.port }
    }

    fn end(&self, half: Half) -> Endpoint {
        let ([upper, lower], port) = match half {
            Half::Low => (self.low, self.low_port),
            Half::High => (self.high, self.high_port),
        };
        Endpoint { address: u128::from(upper) << 64 | u128::from(lower), port }
    }

    /// The end with the higher port, the likely client; of two equal ones `sender`.
    pub fn higher_port(&self, sender: Half) -> Half {
        match self.low_port.cmp(&self.high_port) {
            std::cmp::Ordering::Less => Half::High,
            std::cmp::Ordering::Greater => Half::Low,
            std::cmp::Ordering::Equal => sender,
        }
    }
}

/// What one end has sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The network in which it was first seen: a capture can show each direction in another one.
    pub network: Option<VirtualNetwork>,
    /// About where it was when it was first met, if that was told.
    pub met: Option<u32>,
    /// Sequence number of its first payload byte, once known.
    pub first: Option<u32>,
    /// Payload bytes up to the last one that was seen or acknowledged.
    pub reached: u64,
    /// Payload bytes in all, once its FIN was seen.
    pub total: Option<u64>,
    /// The other end acknowledged its FIN.
    pub finished: bool,
    /// Payload bytes from the start that are wanted.
    pub budget: u32,
    /// Payload bytes handed out, repetitions included.
    pub shipped: u64,
    /// It was said that the budget is spent.
    pub told: bool,
}

impl Sent {
    fn new() -> Self {
        Sent {
            network: None,
            met: None,
            first: None,
            reached: 0,
            total: None,
            finished: false,
            budget: START_BUDGET,
            shipped: 0,
            told: false,
        }
    }

    /// Offset of a sequence number from the first payload byte, taken to be within 2^31 of where the end is.
    #[inline]
    pub fn offset(&self, sequence: u32) -> Option<i64> {
        let expected = self.first?.wrapping_add(self.reached as u32);
        let distance = sequence.wrapping_sub(expected).cast_signed();
        Some(i64::try_from(self.reached).ok()? + i64::from(distance))
    }

    /// Whether a sequence number is near where the end is; `None` if that is not known.
    pub fn is_near(&self, sequence: u32) -> Option<bool> {
        let reached = self.first.map(|first| first.wrapping_add(self.reached as u32)).or(self.met)?;
        Some(sequence.wrapping_sub(reached).cast_signed().unsigned_abs() <= NEAR)
    }

    /// Whether a byte at this offset is one that TCP could be about to send.
    #[inline]
    pub fn is_plausible(&self, offset: i64) -> bool {
        offset - self.reached.cast_signed() <= WINDOW_MAX
    }

    /// Notes that everything before this offset was sent.
    #[inline]
    pub fn reach(&mut self, offset: i64) {
        let limit = self.total.unwrap_or(u64::MAX);
        if let Ok(offset) = u64::try_from(offset)
            && offset > self.reached
            && self.is_plausible(offset.cast_signed())
        {
            self.reached = offset.min(limit);
        }
    }

    /// Whether a reset of this sequence number counts.
    pub fn takes_reset(&self, sequence: u32) -> bool {
        let Some(offset) = self.offset(sequence) else { return true };
        offset.abs_diff(self.reached.cast_signed()) <= RESET_WINDOW
    }

    /// Payload bytes in all, as far as they are known.
    pub fn count(&self) -> u64 {
        self.total.unwrap_or(self.reached)
    }
}

/// Most bytes with a SYN that are kept: one full packet.
pub const EARLY_DATA_MAX: usize = 1500;

/// Payload that came with a SYN (RFC 7413) and waits for the answer.
#[derive(Debug)]
pub struct EarlyData {
    pub bytes: Vec<u8>,
    pub missing: u32,
}

/// Where a flow is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not reported: no answer, or no payload of a connection whose beginning is missing.
    Opening,
    /// Reported.
    Open,
    /// Both FINs were seen.
    Finishing,
    /// Over; kept so that late packets are known for what they are.
    Closed,
}

/// A connection. Its fields stand in the order in which packets need them: most need what fills a line of a processor's
/// cache, and of each end another one.
#[derive(Debug)]
#[repr(C)]
pub struct Flow {
    pub key: Key,
    /// The table's: the next flow with the same addresses, in another network.
    pub same: u32,
    /// The table's, see [`super::table::Table::enter`].
    pub stage: Stage,
    /// Which end opened it, once known.
    pub client: Option<Half>,
    /// The client's SYN was seen.
    pub asked: bool,
    /// It is counted as an attempt without answer.
    pub attempt: bool,
    /// The server's SYN was seen.
    pub answered: bool,
    /// Nothing more of it is wanted.
    pub stopped: bool,
    /// When it was last heard of, with a resolution of a second.
    pub heard: Timestamp,
    low: Sent,
    high: Sent,
    /// Its number.
    pub serial: u64,
    /// When its first packet was captured.
    pub begun: Timestamp,
    /// Index of the input in which it was first met.
    pub input: usize,
    pub early: Option<Box<EarlyData>>,
}

const LINE: usize = 64;
const _: () = assert!(offset_of!(Flow, low) == LINE && size_of::<Sent>() == LINE);

impl Flow {
    pub fn new(key: Key, input: usize, at: Timestamp) -> Self {
        Flow {
            key,
            same: u32::MAX,
            serial: 0,
            heard: at,
            stage: Stage::Opening,
            client: None,
            asked: false,
            attempt: false,
            answered: false,
            stopped: false,
            low: Sent::new(),
            high: Sent::new(),
            begun: at,
            input,
            early: None,
        }
    }

    #[inline]
    pub fn sent(&self, half: Half) -> &Sent {
        match half {
            Half::Low => &self.low,
            Half::High => &self.high,
        }
    }

    #[inline]
    pub fn sent_mut(&mut self, half: Half) -> &mut Sent {
        match half {
            Half::Low => &mut self.low,
            Half::High => &mut self.high,
        }
    }

    /// The client's end; before it is known, the one that would be it.
    pub fn client(&self) -> Half {
        self.client.unwrap_or_else(|| self.key.higher_port(Half::Low))
    }

    /// The addresses as the client's socket has them.
    pub fn pair(&self) -> AddressPair {
        let client = self.client();
        AddressPair {
            local: self.key.end(client).socket_address(),
            remote: self.key.end(client.other()).socket_address(),
        }
    }

    /// Both ends have sent their FIN.
    pub fn is_finishing(&self) -> bool {
        self.low.total.is_some() && self.high.total.is_some()
    }

    /// And both know of it.
    pub fn is_finished(&self) -> bool {
        self.low.finished && self.high.finished
    }
}
