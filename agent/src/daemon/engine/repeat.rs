//! The connections that are open, told once more to readers that begin with them.

use std::time::{Duration, Instant};

use super::Engine;
use crate::api::WATCH_QUEUE_RECORDS;
use crate::connection::ConnectionKey;

/// Connections told at a time: few enough that readers who have taken almost all of those before lose none, nor of what
/// happens meanwhile.
const SLICE: usize = WATCH_QUEUE_RECORDS / 8;
/// For so long a reader that takes nothing holds a slice up for the others.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Repeating {
    /// The oldest at the end. As many as there were when it began; those that have ended since were told by their last record.
    left: Vec<ConnectionKey>,
    /// The first pass has found more at once than a reader can take.
    again: bool,
    /// It is over.
    has_passed: bool,
    told: Option<Instant>,
}

impl Repeating {
    /// A pass met so many at once. Of the first, which meets all that are older than the agent, readers may have lost some.
    pub(super) fn note_met(&mut self, count: usize) {
        self.again |= !self.has_passed && count > SLICE;
        self.has_passed = true;
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.left.is_empty()
    }
}

impl Engine {
    /// Tells the next slice, if there is somebody who wants it and can take it. Who comes during a round gets one of his own
    /// behind it.
    pub(super) fn repeat_open(&mut self) {
        let hub = &self.publisher.parts.hub;
        if hub.subscribers() == 0 {
            self.repeating.left.clear();
            self.repeating.again = false;
            return;
        }
        if !self.repeating.is_under_way() {
            // Not `||`: both wishes are met by one round.
            if !(hub.take_repeat_wanted() | std::mem::take(&mut self.repeating.again)) {
                return;
            }
            self.publisher.repeat_missed();
            self.repeating.left = self.connections.iter().map(|connection| connection.key).collect();
            self.repeating.left.sort_unstable_by(|one, other| other.cmp(one));
        }
        let waited = self.repeating.told.is_none_or(|told| told.elapsed() >= PATIENCE);
        if self.publisher.parts.hub.waiting() >= SLICE && !waited {
            return;
        }
        let rest = self.repeating.left.len().saturating_sub(SLICE);
        for key in self.repeating.left.split_off(rest).into_iter().rev() {
            if let Some(connection) = self.connections.get(key) {
                self.publisher.repeat(connection);
            }
        }
        self.repeating.told = Some(Instant::now());
    }
}
