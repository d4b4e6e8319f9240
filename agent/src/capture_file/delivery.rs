//! What of a flow's payload is handed out: up to a budget in each direction, and what was left out is said.

use super::flow::{Flow, Half};
use crate::event::{Event, Segment, SegmentOwner, SocketCookie, Timestamp, Travel, Withheld};

/// Where events go.
pub type Each<'a> = &'a mut dyn FnMut(Event<&[u8]>);

/// A run of payload and where it belongs.
pub struct Run<'a> {
    pub payload: &'a [u8],
    /// Bytes behind it that the capture does not hold.
    pub missing: u32,
    pub at: Timestamp,
    pub socket: SocketCookie,
    pub half: Half,
    pub sequence: u32,
    pub acknowledged: u32,
}

/// Hands out what is wanted of a packet's payload, and says what was left out.
pub fn deliver(flow: &mut Flow, run: Run<'_>, each: Each<'_>) {
    let client = flow.client();
    let sent = flow.sent_mut(run.half);
    let Some(offset) = sent.offset(run.sequence) else { return };
    // What lies before the first byte is a keep-alive probe, or was missed.
    let before = usize::try_from(-offset.min(0)).unwrap_or(usize::MAX);
    let Some(payload) = run.payload.get(before..) else { return };
    let offset = u64::try_from(offset).unwrap_or(0);
    let length = (payload.len() as u64)
        .min(u64::from(sent.budget).saturating_sub(offset))
        // Repetitions are handed out too, but not without end.
        .min((2 * u64::from(sent.budget)).saturating_sub(sent.shipped)) as usize;
    let withheld = (payload.len() - length) as u64 + u64::from(run.missing);
    if length == 0 && (withheld == 0 || sent.told) {
        return;
    }
    // Where only repetitions were too many, the next new byte is said to be withheld as well.
    sent.told |= offset + payload.len() as u64 > u64::from(sent.budget);
    sent.shipped += length as u64;
    each(Event::Segment(Segment {
        at: run.at,
        owner: SegmentOwner::Socket(run.socket),
        travel: if run.half == client { Travel::Sent } else { Travel::Received },
        sequence: run.sequence.wrapping_add(before as u32),
        acknowledged: run.acknowledged,
        withheld: u32::try_from(withheld).unwrap_or(u32::MAX),
        withheld_for: if length < payload.len() { Withheld::Budget } else { Withheld::Cut },
        interface: 0,
        bytes: payload.get(..length).unwrap_or_default(),
    }));
}
