//! What time changes: connections that have waited long enough, and room that is needed.

use super::{ConnectionKey, Connections, Sink};
use crate::event::Timestamp;
use crate::tls::IncompleteReason;

/// A connection without a verdict is reported as it stands after this time, and its holes are given up.
const DECIDE_AFTER: u64 = 10_000_000_000;
/// The other end of a local connection is established within microseconds; its first data may wait for a lost packet.
const MEET_WITHIN: u64 = 10_000_000_000;
/// A program may let go of a socket after the connection has ended (shutdown(2) first): for a socket that nobody is known
/// to hold, this is the last chance to learn who did.
const RELEASE_GRACE: u64 = 2_000_000_000;
/// After one end is closed the other one has this long to follow before the connection counts as over.
const LINGER: u64 = 60_000_000_000;

impl Connections {
    /// Looks after everything that time changes. To be called about once a second.
    pub fn tick(&mut self, now: Timestamp, sink: &mut dyn Sink) {
        self.early.sweep(now);
        self.sweep_library(now);
        while let Some(&(since, key)) = self.young.front()
            && is_due(now, since, DECIDE_AFTER.max(MEET_WITHIN))
        {
            self.young.pop_front();
            self.grown(key, now, sink);
        }
        while let Some(&(since, key)) = self.unowned.front()
            && is_due(now, since, RELEASE_GRACE)
        {
            self.unowned.pop_front();
            self.finish(key, sink);
        }
        self.shrink();
        while let Some(&(since, key)) = self.lingering.front()
            && is_due(now, since, LINGER)
        {
            self.lingering.pop_front();
            self.finish(key, sink);
        }
    }

    /// Concludes from those that were begun longest ago as they stand, until all together hold no more than they may.
    pub(super) fn make_room(&mut self, now: Timestamp, sink: &mut dyn Sink) {
        while self.held.is_exceeded()
            && let Some(oldest) = self.held.take_oldest()
        {
            self.cut_short(oldest, now, sink);
        }
        if self.held.is_stale() {
            let connections = &self.connections;
            self.held.clean(|key| connections.get(&key).is_some_and(|connection| connection.held > 0));
        }
    }

    /// Gives back the room that a burst of new connections took in the tables of those that may still meet.
    fn shrink(&mut self) {
        const SPARE: usize = 4096;
        // Time stands still in a capture without times: what has ended must not wait for it.
        if self.young.len() > 2 * self.connections.len() + SPARE {
            let connections = &self.connections;
            self.young.retain(|(_, key)| connections.contains_key(key));
        }
        let (unmet, accepting, young) = (self.unmet.len(), self.accepting.len(), self.young.len());
        if self.unmet.capacity() > 4 * unmet + SPARE {
            self.unmet.shrink_to(2 * unmet);
            self.unmet_clients.shrink_to(2 * unmet);
        }
        if self.accepting.capacity() > 4 * accepting + SPARE {
            self.accepting.shrink_to(2 * accepting);
        }
        if self.young.capacity() > 4 * young + SPARE {
            self.young.shrink_to(2 * young);
        }
    }

    /// A connection is no longer young: it has met its other end or never will, and its holes stay.
    fn grown(&mut self, key: ConnectionKey, now: Timestamp, sink: &mut dyn Sink) {
        self.forget_meeting(key);
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(reading) = connection.reading.as_mut() else {
            if let Some(watched) = connection.watched.as_mut() {
                watched.give_up_holes();
                self.end_watch_if_over(key, sink);
            } else if connection.decided.is_none() {
                self.report_undecided(key, sink);
            }
            return;
        };
        reading.give_up_holes(IncompleteReason::Lost);
        self.held.change(&mut connection.held, reading.held());
        // What has a name and can be nothing else is not looked at for ever: credentials come first.
        if reading.is_named() && (!reading.may_switch() || reading.has_heard_much()) {
            return self.settle(key, now, sink);
        }
        self.consider(key, now, sink);
        self.report_undecided(key, sink);
    }
}

/// Whether a time is over. A file that holds several captures can go back in time: what then lies in the future is over too,
/// else it would stand before all that is to come.
fn is_due(now: Timestamp, since: Timestamp, after: u64) -> bool {
    now.since(since) >= after || since.since(now) >= LINGER
}
