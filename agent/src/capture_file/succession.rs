//! Whether a packet belongs to the flow that has its addresses, or to another connection after it.
//!
//! Sequence numbers say more than clocks: a file can hold several captures in disorder and single packets with a wrong
//! time. So time alone ends no flow here; it only decides where the numbers leave it open.

use super::flow::{EARLY_DATA_MAX, Flow, Half, Stage};
use super::packet::{TcpPacket, VirtualNetwork};
use crate::event::Timestamp;

const SECOND: u64 = 1_000_000_000;
/// How long a SYN waits for its answer: Linux gives up after 127 s (net.ipv4.tcp_syn_retries = 6).
pub const OPENING_AGE: u64 = 130 * SECOND;
/// How long before a flow's beginning and after its end its packets are expected: TIME_WAIT on Linux.
pub const CLOSED_AGE: u64 = 60 * SECOND;

/// How well a packet fits to a flow that has its addresses, best first: by its numbers, then by its network; `None` if by
/// neither. Tags and tunnels can differ by direction, and a packet can be captured before and behind a router; so a network
/// alone sets no packets apart. Nor do numbers in the same network: there the addresses are used anew, see
/// [`is_superseded`].
pub fn fit(flow: &Flow, packet: &TcpPacket<'_>, sender: Half) -> Option<Fit> {
    let fit = Fit {
        numbers: fits_by_numbers(flow, packet, sender),
        network: is_in_network(flow, packet.network, sender),
    };
    (fit.numbers || fit.network).then_some(fit)
}

/// See [`fit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    numbers: bool,
    network: bool,
}

/// Whether an end was seen in this network; before it was seen at all, whether the other one was.
#[inline]
pub fn is_in_network(flow: &Flow, network: VirtualNetwork, sender: Half) -> bool {
    let seen = flow.sent(sender).network.or(flow.sent(sender.other()).network);
    seen == Some(network)
}

fn fits_by_numbers(flow: &Flow, packet: &TcpPacket<'_>, sender: Half) -> bool {
    if packet.flags.syn && !packet.flags.ack {
        return flow.sent(sender).first == Some(packet.sequence.wrapping_add(1));
    }
    let sequence = flow.sent(sender).is_near(packet.sequence);
    let acknowledged = match packet.flags.ack {
        true => flow.sent(sender.other()).is_near(packet.acknowledged),
        false => None,
    };
    // A refusal's sequence number is 0 (RFC 9293 section 3.10.7.1).
    match (sequence, acknowledged) {
        (_, Some(true)) if packet.flags.reset => true,
        (Some(false), _) | (_, Some(false)) | (None, None) => false,
        _ => true,
    }
}

/// Whether a packet shows that another connection uses the addresses of this flow now.
#[inline]
pub fn is_superseded(flow: &Flow, stage: Stage, packet: &TcpPacket<'_>, sender: Half, at: Timestamp) -> bool {
    let opens = packet.flags.syn && !packet.flags.reset;
    let known = flow.sent(sender).first;
    let same = known == Some(packet.sequence.wrapping_add(1));
    match stage {
        Stage::Opening => {
            // One server can answer twice: the last answer counts.
            let asks_anew = opens && !packet.flags.ack && known.is_some() && !same;
            asks_anew || (at.0.abs_diff(flow.heard.0) > OPENING_AGE && !continues(flow, packet, sender))
        }
        // A stray answer says nothing while a connection is open.
        Stage::Open | Stage::Finishing => opens && !packet.flags.ack && !same,
        Stage::Closed => {
            let early = at.0.saturating_add(CLOSED_AGE) < flow.begun.0;
            let late = at.0 > flow.heard.0.saturating_add(CLOSED_AGE);
            early || late || (opens && !same)
        }
    }
}

/// Whether a packet's numbers follow those of a flow that is not reported yet, as far as it has any: by chance
/// one in a million packets does.
fn continues(flow: &Flow, packet: &TcpPacket<'_>, sender: Half) -> bool {
    let follows = |first: Option<u32>, number: u32| {
        first.is_none_or(|first| number.wrapping_sub(first) <= EARLY_DATA_MAX as u32)
    };
    let sequence = packet.sequence.wrapping_add(u32::from(packet.flags.syn));
    let answer_follows = !packet.flags.ack || follows(flow.sent(sender.other()).first, packet.acknowledged);
    // A refusal's sequence number is 0 (RFC 9293 section 3.10.7.1), and an answer's number is its own.
    let own_follows = packet.flags.reset || follows(flow.sent(sender).first, sequence);
    own_follows && answer_follows
}
