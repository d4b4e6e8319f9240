//! When a connection is decided, and who is told.

use super::conclude::{conclude, conclude_plain, conclude_tls};
use super::reading::Reading;
use super::{Conclusion, Connection, ConnectionKey, Connections, Protocol, Sink, Stage};
use crate::cleartext::LOOK;
use crate::event::{Decision, Role, Segment, Timestamp, Travel};
use crate::record::Authentication;
use crate::tls::{self, Outlook, UnknownReason};

/// Asked for beyond what is known to be needed, so that the next record's header comes along.
const BUDGET_STEP: u32 = 16 * 1024;

impl Connections {
    /// Concludes if the bytes allow it; else asks for more of them if the budget ends too early.
    pub(super) fn consider(&mut self, key: ConnectionKey, now: Timestamp, sink: &mut dyn Sink) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(reading) = connection.reading.as_mut() else { return };
        if reading.is_settled() {
            return self.settle(key, now, sink);
        }
        if let Some(granted) = further_budget(reading, self.limits.max_budget) {
            reading.granted = granted;
            for side in connection.client.iter().chain(&connection.server) {
                sink.decide(side.socket, Decision::Budget { sent: granted, received: granted });
            }
        }
        if connection.decided.is_some() || !reading.is_plainly_named() {
            return;
        }
        // Its verdict is known; what it says at its beginning is still looked at.
        connection.decided = Some(now);
        if let Some(reading) = connection.reading.take() {
            conclude_plain(connection, &reading);
            connection.reading = Some(reading);
        }
        let look = LOOK as u32;
        for side in connection.client.iter().chain(&connection.server) {
            sink.decide(side.socket, Decision::Budget { sent: look, received: look });
        }
        self.name_listener(key, sink);
        self.publish(key, Stage::Open, sink);
    }

    /// Nothing further is wanted of a connection's bytes: the last conclusion of them.
    pub(super) fn settle(&mut self, key: ConnectionKey, now: Timestamp, sink: &mut dyn Sink) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(mut reading) = connection.reading.take() else { return };
        self.spare.take_back(&mut reading);
        let memory = (&mut self.sessions, &mut self.shared, &mut self.fingerprints, &mut self.library.counts);
        let watched = conclude(connection, *reading, memory, sink);
        connection.decided.get_or_insert(now);
        let revisable = !matches!(
            connection.conclusion.authentication,
            Authentication::Unknown | Authentication::NotEstablished | Authentication::Mutual
        );
        connection.watched =
            watched.filter(|watched| self.of_capture && revisable && !watched.is_over()).map(Box::new);
        let held = connection.watched.as_ref().map_or(0, |watched| watched.held());
        self.held.change(&mut connection.held, held);
        if connection.watched.is_none() {
            stop(connection, sink);
        }
        self.name_listener(key, sink);
        self.publish(key, Stage::Open, sink);
    }

    /// What comes after the verdict on a connection of a capture.
    pub(super) fn watch(
        &mut self,
        key: ConnectionKey,
        role: Role,
        segment: Segment<&[u8]>,
        sink: &mut dyn Sink,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(watched) = connection.watched.as_mut() else { return };
        watched.take(role, segment);
        self.held.change(&mut connection.held, watched.held());
        if !watched.is_renegotiated() {
            return self.end_watch_if_over(key, sink);
        }
        connection.watched = None;
        self.held.change(&mut connection.held, 0);
        connection.conclusion = connection.conclusion.renegotiated();
        if let Some(settled) = &connection.settled {
            connection.settled = Some(self.shared.share(settled.renegotiated()));
        }
        stop(connection, sink);
        self.publish(key, Stage::Open, sink);
    }

    /// Lets go of a connection in which nothing more can be seen.
    pub(super) fn end_watch_if_over(&mut self, key: ConnectionKey, sink: &mut dyn Sink) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.watched.as_ref().is_some_and(|watched| watched.is_over()) {
            connection.watched = None;
            self.held.change(&mut connection.held, 0);
            stop(connection, sink);
        }
    }

    /// There is no room to look at a connection any longer: what is known of it stands.
    pub(super) fn cut_short(&mut self, key: ConnectionKey, now: Timestamp, sink: &mut dyn Sink) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.reading.is_some() || connection.watched.is_some() {
            self.held.note_cut();
        }
        if let Some(reading) = connection.reading.as_mut() {
            reading.cut_short();
            self.settle(key, now, sink);
        }
        // Its verdict may leave something to watch, which holds what waited behind holes.
        if let Some(connection) = self.connections.get_mut(&key)
            && connection.watched.take().is_some()
        {
            self.held.change(&mut connection.held, 0);
            stop(connection, sink);
        }
    }

    /// Reports a connection that has no verdict yet as it stands.
    pub(super) fn report_undecided(&mut self, key: ConnectionKey, sink: &mut dyn Sink) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.decided.is_some() {
            return;
        }
        if let Some(reading) = connection.reading.take() {
            if !conclude_plain(connection, &reading)
                && let Some(facts) = reading.conversation.facts()
            {
                conclude_tls(
                    connection,
                    facts,
                    (&mut self.sessions, &mut self.shared, &mut self.fingerprints, &mut self.library.counts),
                    sink,
                );
            }
            connection.reading = Some(reading);
        }
        if connection.conclusion == Conclusion::silent() {
            // So far: what comes may be anything.
            connection.conclusion = Conclusion::unknown(Protocol::Silent, UnknownReason::Incomplete);
        }
        self.name_listener(key, sink);
        self.publish(key, Stage::Open, sink);
    }

    /// Tells of a change in a connection that was reported before.
    pub(super) fn republish(&mut self, key: ConnectionKey, sink: &mut dyn Sink) {
        if self.connections.get(&key).is_some_and(|connection| connection.decided.is_some()) {
            self.publish(key, Stage::Open, sink);
        }
    }

    pub(super) fn publish(&mut self, key: ConnectionKey, stage: Stage, sink: &mut dyn Sink) {
        if let Some(connection) = self.connections.get(&key)
            && !connection.subflow
        {
            sink.connection(connection, stage);
        }
    }

    /// The connection is over: the last word on it, then it is forgotten.
    pub(super) fn finish(&mut self, key: ConnectionKey, sink: &mut dyn Sink) {
        self.forget_meeting(key);
        let Some(mut connection) = self.connections.remove(&key) else { return };
        self.forget_sockets(&connection, sink);
        connection.bytes = byte_counts(&connection);
        self.held.change(&mut connection.held, 0);
        if let Some(mut reading) = connection.reading.take() {
            reading.closed(connection.close_reason);
            // On a host losses are reported; the counts of its sockets are other hooks'.
            if let Some(bytes) = connection.bytes.filter(|_| self.of_capture) {
                reading.sent_in_all(bytes);
            }
            reading.give_up_holes(tls::IncompleteReason::Lost);
            self.spare.take_back(&mut reading);
            conclude(
                &mut connection,
                *reading,
                (&mut self.sessions, &mut self.shared, &mut self.fingerprints, &mut self.library.counts),
                sink,
            );
        }
        self.close_library(&mut connection);
        if connection.conclusion.protocol == Protocol::Silent {
            connection.conclusion = Conclusion::silent();
        }
        if connection.conclusion.protocol == Protocol::Silent && connection.bytes != Some((0, 0)) {
            // Bytes went by that no hook saw, or may have.
            let reason =
                if connection.bytes.is_none() || self.of_capture || self.lost_since(connection.key.opened) {
                    UnknownReason::Lost
                } else {
                    UnknownReason::Bypassed
                };
            connection.conclusion = Conclusion::unknown(Protocol::Unknown, reason);
        }
        if connection.decided.is_none() {
            connection.decided = connection.closed;
        }
        if !connection.subflow {
            sink.connection(&connection, Stage::Final);
        }
    }
}

/// The budget to ask for, if what is needed exceeds what was granted and may be granted at all.
fn further_budget(reading: &Reading, max_budget: u32) -> Option<u32> {
    let Outlook::Undecided { wanted_client, wanted_server } = reading.conversation.outlook() else {
        return None;
    };
    // Counted from the last switch.
    let before = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let wanted_client = wanted_client.saturating_add(before(reading.before.client));
    let wanted_server = wanted_server.saturating_add(before(reading.before.server));
    let wanted = wanted_client.max(wanted_server);
    let granted = wanted.saturating_add(BUDGET_STEP).min(max_budget);
    (wanted > reading.granted && granted > reading.granted).then_some(granted)
}

/// No further byte of it is wanted.
fn stop(connection: &Connection, sink: &mut dyn Sink) {
    for side in connection.client.iter().chain(&connection.server) {
        if side.closed.is_none() {
            sink.decide(side.socket, Decision::Stop);
        }
    }
}

/// Payload bytes of client and server, from whichever socket counted more: one may have been closed before it had read all.
fn byte_counts(connection: &Connection) -> Option<(u64, u64)> {
    let count = |role: Role, travel: Travel| {
        let (sent, received) = connection.side(role)?.closed?.bytes?;
        Some(if travel == Travel::Sent { sent } else { received })
    };
    let client = count(Role::Client, Travel::Sent).max(count(Role::Server, Travel::Received))?;
    let server = count(Role::Server, Travel::Sent).max(count(Role::Client, Travel::Received))?;
    Some((client, server))
}
