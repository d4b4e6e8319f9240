//! TCP packets → events: who opened, what was said, how it ended.
//!
//! There is one observer, and it takes the client's part: `Sent` is from client to server.

use super::delivery::{Each, Run, deliver};
use super::flow::{EARLY_DATA_MAX, EarlyData, Flow, Half, Key, Stage};
use super::packet::TcpPacket;
use super::succession::{OPENING_AGE, fit, is_in_network, is_superseded};
use super::summary::Summary;
use super::table::{FLOWS_MAX, Slot, Table};
use crate::event::{
    Beginning, CloseReason, Closed, Decision, Established, Event, NetworkNamespace, Role, SocketCookie,
    Timestamp,
};

/// After both FINs so much silence means that the last acknowledgement is not in the capture (nanoseconds).
const FINISHING_AGE: u64 = 5_000_000_000;

/// Most flows with the same addresses in as many networks: more at a time are no accident.
pub const SAME_ADDRESSES_MAX: usize = 16;

/// All TCP connections.
#[derive(Default)]
pub struct Flows {
    table: Table,
}

impl Flows {
    /// Takes a packet.
    pub fn take(
        &mut self,
        packet: &TcpPacket<'_>,
        (at, input): (Timestamp, usize),
        summary: &mut Summary,
        each: Each<'_>,
    ) {
        let Some((key, sender)) = Key::of(packet) else {
            summary.stray_packets += 1;
            return;
        };
        let slot = match self.find(&key, packet, sender) {
            Some(slot)
                if is_superseded(self.table.flow(slot), self.table.stage(slot), packet, sender, at) =>
            {
                self.end(slot, at, CloseReason::Unknown, summary, each);
                self.table.remove(slot);
                self.begin((key, sender), packet, (at, input), summary, each)
            }
            Some(slot) => Some(slot),
            None => self.begin((key, sender), packet, (at, input), summary, each),
        };
        let Some(slot) = slot else { return };
        self.table.flow_mut(slot).sent_mut(sender).network.get_or_insert(packet.network);
        self.table.heard(slot, at);
        match self.table.stage(slot) {
            Stage::Opening => self.open(slot, packet, sender, at, summary, each),
            Stage::Open | Stage::Finishing => self.follow(slot, packet, sender, at, summary, each),
            Stage::Closed => summary.late_packets += 1,
        }
    }

    /// The flow that a packet is of, as far as addresses, network and numbers tell.
    fn find(&mut self, key: &Key, packet: &TcpPacket<'_>, sender: Half) -> Option<Slot> {
        let newest = self.table.find(key)?;
        let older = self.table.same(newest);
        if older.is_none() && is_in_network(self.table.flow(newest), packet.network, sender) {
            return Some(newest);
        }
        let mut best = None;
        for slot in std::iter::successors(Some(newest), |slot| self.table.same(*slot)) {
            let fit = fit(self.table.flow(slot), packet, sender);
            // Of two that fit as well the newer one.
            if fit > best.map(|(fit, _)| fit) {
                best = fit.map(|fit| (fit, slot));
            }
        }
        best.map(|(_, slot)| slot)
    }

    /// Ends what silence ends. To be called with every packet, whatever it is.
    #[inline]
    pub fn sweep(&mut self, at: Timestamp, summary: &mut Summary, each: Each<'_>) {
        while let Some(slot) = self.table.oldest(Stage::Finishing)
            && at.0.abs_diff(self.table.flow(slot).heard.0) > FINISHING_AGE
        {
            self.end(slot, at, CloseReason::Fin, summary, each);
        }
    }

    /// Nothing more will come: ends the connections that said so.
    pub fn finish(&mut self, at: Timestamp, summary: &mut Summary, each: Each<'_>) {
        for stage in [Stage::Finishing, Stage::Opening] {
            while let Some(slot) = self.table.oldest(stage) {
                self.end(slot, at, CloseReason::Fin, summary, each);
            }
        }
    }

    /// Notes what is wanted of a flow.
    pub fn decide(&mut self, socket: SocketCookie, decision: Decision) {
        let Some(slot) = self.table.named(socket) else { return };
        let flow = self.table.flow_mut(slot);
        match decision {
            Decision::Stop => flow.stopped = true,
            Decision::Budget { sent, received } => {
                let client = flow.client();
                for (half, budget) in [(client, sent), (client.other(), received)] {
                    let direction = flow.sent_mut(half);
                    direction.told &= budget <= direction.budget;
                    direction.budget = budget;
                }
            }
        }
    }

    /// Index of the input in which a flow was first met.
    pub fn input_of(&self, socket: SocketCookie) -> Option<usize> {
        self.table.named(socket).map(|slot| self.table.flow(slot).input)
    }

    /// A packet of addresses that are not known.
    fn begin(
        &mut self,
        (key, sender): (Key, Half),
        packet: &TcpPacket<'_>,
        (at, input): (Timestamp, usize),
        summary: &mut Summary,
        each: Each<'_>,
    ) -> Option<Slot> {
        // Every packet but the first has an acknowledgement (RFC 9293 section 3.10.7.4).
        if packet.flags.reset || !(packet.flags.syn || packet.flags.ack) {
            summary.stray_packets += 1;
            return None;
        }
        let same = std::iter::successors(self.table.find(&key), |slot| self.table.same(*slot));
        if let Some(oldest) = same.skip(SAME_ADDRESSES_MAX - 1).last() {
            self.give_up(oldest, at, summary, each);
        }
        while self.table.is_full() {
            let slot = self.most_dispensable(at)?;
            self.give_up(slot, at, summary, each);
        }
        let mut flow = Flow::new(key, input, at);
        flow.sent_mut(sender).met = Some(packet.sequence);
        flow.sent_mut(sender.other()).met = packet.flags.ack.then_some(packet.acknowledged);
        Some(self.table.insert(flow))
    }

    /// Makes room.
    fn give_up(&mut self, slot: Slot, at: Timestamp, summary: &mut Summary, each: Each<'_>) {
        let stage = self.table.stage(slot);
        summary.flows_evicted += u64::from(stage == Stage::Open);
        let reason = if stage == Stage::Finishing { CloseReason::Fin } else { CloseReason::Unknown };
        self.end(slot, at, reason, summary, each);
        self.table.remove(slot);
    }

    /// The flow that is to go when there is no room: one that will not begin any more, else one that is over.
    fn most_dispensable(&self, at: Timestamp) -> Option<Slot> {
        let unanswered = self.table.oldest(Stage::Opening);
        let given_up = |slot: &Slot| at.0.abs_diff(self.table.flow(*slot).heard.0) > OPENING_AGE;
        unanswered.filter(given_up).or_else(|| {
            let stages = [Stage::Closed, Stage::Opening, Stage::Finishing, Stage::Open];
            stages.into_iter().find_map(|stage| self.table.oldest(stage))
        })
    }

    /// A packet of a flow that is not reported yet.
    fn open(
        &mut self,
        slot: Slot,
        packet: &TcpPacket<'_>,
        sender: Half,
        at: Timestamp,
        summary: &mut Summary,
        each: Each<'_>,
    ) {
        let flow = self.table.flow_mut(slot);
        let first = packet.sequence.wrapping_add(1);
        if packet.flags.reset {
            self.end(slot, at, CloseReason::Reset, summary, each);
        } else if packet.flags.syn
            && (flow.client == Some(sender) || (flow.client.is_none() && !packet.flags.ack))
        {
            if !packet.flags.ack && !flow.asked && !flow.answered {
                summary.attempts_without_answer += 1;
                flow.attempt = true;
            }
            flow.asked |= !packet.flags.ack;
            flow.client = Some(sender);
            flow.sent_mut(sender).first = Some(first);
            if !packet.payload.is_empty() && flow.early.is_none() {
                let bytes = packet.payload.get(..EARLY_DATA_MAX).unwrap_or(packet.payload).to_vec();
                let behind = (packet.payload.len() - bytes.len()) as u32;
                let missing = packet.missing.saturating_add(behind);
                flow.early = Some(Box::new(EarlyData { bytes, missing }));
            }
            if flow.asked && flow.answered {
                self.establish(slot, Beginning::Seen, at, summary, each);
            }
        } else if packet.flags.syn {
            let client = sender.other();
            let asked = flow.sent(client).first;
            let plausible = asked.is_none_or(|first| {
                packet.acknowledged.wrapping_sub(first) <= EARLY_DATA_MAX as u32 || !packet.flags.ack
            });
            if !plausible {
                return;
            }
            flow.client = Some(client);
            flow.answered = true;
            flow.sent_mut(sender).first = Some(first);
            flow.sent_mut(client).first.get_or_insert(packet.acknowledged);
            if flow.asked {
                self.establish(slot, Beginning::Seen, at, summary, each);
                self.follow(slot, packet, sender, at, summary, each);
            }
        } else if packet.flags.ack && (!packet.payload.is_empty() || packet.missing > 0) {
            let client = flow.client.unwrap_or_else(|| match opening(packet.payload) {
                Some(Role::Client) => sender,
                Some(Role::Server) => sender.other(),
                None => flow.key.higher_port(sender),
            });
            flow.client = Some(client);
            flow.sent_mut(sender).first.get_or_insert(packet.sequence);
            flow.sent_mut(sender.other()).first.get_or_insert(packet.acknowledged);
            self.establish(slot, Beginning::Missed, at, summary, each);
            self.follow(slot, packet, sender, at, summary, each);
        }
    }

    fn establish(
        &mut self,
        slot: Slot,
        beginning: Beginning,
        at: Timestamp,
        summary: &mut Summary,
        each: Each<'_>,
    ) {
        let socket = self.table.cookie(slot);
        let flow = self.table.flow_mut(slot);
        let client = flow.client();
        summary.flows += 1;
        summary.midstream_flows += u64::from(beginning == Beginning::Missed);
        if std::mem::take(&mut flow.attempt) {
            summary.attempts_without_answer -= 1;
        }
        let first_sent = flow.sent(client).first.unwrap_or_default();
        let first_received = flow.sent(client.other()).first.unwrap_or_default();
        each(Event::Established(Established {
            at,
            socket,
            role: Role::Client,
            pair: flow.pair(),
            netns: NetworkNamespace::default(),
            first_sent,
            first_received,
            beginning,
        }));
        if let Some(early) = flow.early.take() {
            let run = Run {
                payload: &early.bytes,
                missing: early.missing,
                at,
                socket,
                half: client,
                sequence: first_sent,
                acknowledged: first_received,
            };
            deliver(flow, run, each);
        }
        self.table.enter(slot, Stage::Open, at);
    }

    /// A packet of a flow that was reported.
    fn follow(
        &mut self,
        slot: Slot,
        packet: &TcpPacket<'_>,
        sender: Half,
        at: Timestamp,
        summary: &mut Summary,
        each: Each<'_>,
    ) {
        let flow = self.table.flow_mut(slot);
        if packet.flags.reset {
            if !flow.sent(sender).takes_reset(packet.sequence) {
                summary.resets_ignored += 1;
                return;
            }
            let reason = if flow.is_finishing() { CloseReason::Fin } else { CloseReason::Reset };
            return self.end(slot, at, reason, summary, each);
        }
        let sequence = packet.sequence.wrapping_add(u32::from(packet.flags.syn));
        let Some(offset) = flow.sent(sender).offset(sequence) else { return };
        if !flow.sent(sender).is_plausible(offset) {
            summary.late_packets += 1;
            return;
        }
        let other = flow.sent_mut(sender.other());
        if packet.flags.ack
            && let Some(acknowledged) = other.offset(packet.acknowledged)
        {
            other.finished |= other.total.is_some_and(|total| acknowledged > total.cast_signed());
            other.reach(acknowledged);
        }
        let length = packet.payload.len() as i64 + i64::from(packet.missing);
        if length > 0 {
            flow.sent_mut(sender).reach(offset + length);
            if !flow.stopped {
                let first = flow.sent(sender.other()).first.unwrap_or_default();
                let acknowledged = if packet.flags.ack { packet.acknowledged } else { first };
                let (payload, missing) = (packet.payload, packet.missing);
                let socket = self.table.cookie(slot);
                let run = Run { payload, missing, at, socket, half: sender, sequence, acknowledged };
                deliver(self.table.flow_mut(slot), run, each);
            }
        }
        let flow = self.table.flow_mut(slot);
        if packet.flags.fin && flow.sent(sender).total.is_none() {
            flow.sent_mut(sender).total = u64::try_from(offset + length).ok();
            if flow.is_finishing() {
                self.table.enter(slot, Stage::Finishing, at);
            }
        }
        if self.table.flow(slot).is_finished() {
            self.end(slot, at, CloseReason::Fin, summary, each);
        }
    }

    /// A flow is over; what is left of it only recognises late packets.
    fn end(&mut self, slot: Slot, at: Timestamp, reason: CloseReason, summary: &mut Summary, each: Each<'_>) {
        let flow = self.table.flow(slot);
        match self.table.stage(slot) {
            Stage::Closed => return,
            Stage::Opening => summary.empty_flows += u64::from(!flow.asked),
            Stage::Open | Stage::Finishing => {
                let client = flow.client();
                let reason = if flow.is_finishing() { CloseReason::Fin } else { reason };
                each(Event::Closed(Closed {
                    at,
                    socket: self.table.cookie(slot),
                    sent: flow.sent(client).count(),
                    received: flow.sent(client.other()).count(),
                    reason,
                }));
            }
        }
        let flow = self.table.flow_mut(slot);
        flow.early = None;
        // Whoever notices the end may be of another time, see `DISORDER_MAX`.
        let heard = flow.heard;
        self.table.enter(slot, Stage::Closed, heard);
    }
}

/// Who sends a first payload that begins with a TLS hello (RFC 8446 sections 4 and 5.1).
fn opening(payload: &[u8]) -> Option<Role> {
    match payload {
        [0x16, 3, 0..=4, _, _, 1, ..] => Some(Role::Client),
        [0x16, 3, 0..=4, _, _, 2, ..] => Some(Role::Server),
        _ => None,
    }
}

const _: () = assert!(FLOWS_MAX < u32::MAX as usize);
