//! Passes over open files: connections that no event told of.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use rustc_hash::FxHashSet;

use super::{BATCH, Engine};
use crate::connection::Pass;
use crate::event::{Event, Existing, SocketCookie};
use crate::kernel::{self, ExistingSockets, KernelError, Missed};

/// Sockets that may end while a pass is under way: a hundred thousand a second for the ten seconds that the longest one takes.
const MAX_ENDED: usize = 1_000_000;

/// A pass that is not over yet.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// It is to end what was not seen to end.
    reconciles: bool,
    /// Sockets that have ended since it began: it may have met them while they were open.
    ended: FxHashSet<SocketCookie>,
    answer: Option<Receiver<Result<ExistingSockets, KernelError>>>,
}

impl UnderWay {
    /// An event came meanwhile.
    pub(super) fn note(&mut self, event: &Event) {
        let ended = match event {
            Event::Closed(closed) => closed.socket,
            // The kernel reports the end only of what was established under the agent.
            Event::Released(released) => released.socket,
            _ => return,
        };
        if self.ended.len() < MAX_ENDED {
            self.ended.insert(ended);
        }
    }

    /// It is known of every socket that it met whether it has ended since.
    fn is_certain(&self) -> bool {
        self.ended.len() < MAX_ENDED
    }
}

impl Engine {
    /// Begins to look for connections that no event told of: older than the agent, or of which the event was lost; and for
    /// those of which the end was lost. By the kernel's iterator that is over at once.
    pub(super) fn begin_pass(&mut self) {
        self.last_pass = Some(Instant::now());
        let reconciles = std::mem::take(&mut self.lost_since_pass);
        let mut pass = UnderWay { reconciles, ended: FxHashSet::default(), answer: None };
        if self.source.without_iterator().is_none() {
            self.pass = Some(pass);
            let found = self.source.existing();
            return self.end_pass(found);
        }
        match self.source.existing_aside() {
            Ok(answer) => {
                pass.answer = Some(answer);
                self.pass = Some(pass);
            }
            Err(error) => {
                self.lost_since_pass |= reconciles;
                tracing::warn!(%error, "no thread to look for open sockets: it is tried again");
            }
        }
    }

    /// Takes what a pass has found, if it is over.
    pub(super) fn hear_of_pass(&mut self) {
        let answer = self.pass.as_ref().and_then(|pass| pass.answer.as_ref());
        match answer.map(Receiver::try_recv) {
            Some(Ok(found)) => self.end_pass(found),
            Some(Err(TryRecvError::Disconnected)) => {
                self.pass = None;
                self.lost_since_pass = true;
                tracing::error!("the thread that looks for open sockets panicked: it is tried again");
            }
            Some(Err(TryRecvError::Empty)) | None => {}
        }
    }

    fn end_pass(&mut self, found: Result<ExistingSockets, KernelError>) {
        // The ring may still hold what happened to the sockets that the pass met: their events come first, and what
        // has ended meanwhile is not found.
        let mut events = Vec::new();
        while self.source.drain(BATCH, &mut |event| events.push(event)) == BATCH {}
        for event in events {
            self.take(event);
        }
        let Some(pass) = self.pass.take() else { return };
        match found {
            Ok(existing) if pass.is_certain() => self.take_existing(existing, &pass),
            Ok(_) => {
                self.lost_since_pass = true;
                tracing::warn!("too many sockets ended during a pass over open files: it is made again");
            }
            Err(error) => {
                self.lost_since_pass |= pass.reconciles;
                tracing::warn!(%error, "cannot list open sockets: connections older than the agent appear with their next packet");
            }
        }
    }

    fn take_existing(&mut self, existing: ExistingSockets, pass: &UnderWay) {
        let listeners = existing.listeners.iter();
        self.connections
            .set_listeners(listeners.map(|listener| (listener.netns, listener.local, listener.owner)));
        self.say_what_was_not_shown(existing.missed);
        let found: FxHashSet<SocketCookie> = existing.open.iter().copied().collect();
        let open: Vec<Existing> =
            existing.events.into_iter().filter(|event| !pass.ended.contains(&event.socket)).collect();
        self.publisher.now = kernel::clock().boot;
        for event in &open {
            self.publisher.parts.metrics.event(&Event::Existing(*event));
        }
        self.connections.handle_pass(&open, &mut self.publisher);
        self.repeating.note_met(open.len());
        if pass.reconciles {
            // A namespace that was not listed hides sockets that are open.
            let pass = Pass {
                before: &self.found,
                found: &found,
                doubtful: &self.doubtful,
                covered: existing.covered.as_ref(),
            };
            self.doubtful = self.connections.reconcile(&pass, kernel::clock().boot, &mut self.publisher);
            self.lost_since_pass |= !self.doubtful.is_empty();
        }
        self.found = found;
    }

    fn say_what_was_not_shown(&mut self, missed: Missed) {
        let processes = missed.processes + missed.crowded;
        self.publisher.parts.metrics.open_files_unseen(processes, missed.namespaces, missed.sockets);
        if missed.is_empty() || std::mem::replace(&mut self.unseen_said, true) {
            return;
        }
        tracing::warn!(
            reason = missed.reasons().join("; "),
            "not every open socket is shown: connections older than the agent may stay without an owner"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CloseReason, Closed, Timestamp};

    #[test]
    fn a_pass_during_which_too_much_ended_is_not_believed() {
        let mut pass = UnderWay { reconciles: false, ended: FxHashSet::default(), answer: None };
        for socket in 0..=MAX_ENDED as u64 {
            assert_eq!(pass.is_certain(), socket < MAX_ENDED as u64);
            let (at, socket, reason) = (Timestamp(1), SocketCookie(socket), CloseReason::Fin);
            pass.note(&Event::Closed(Closed { at, socket, sent: 0, received: 0, reason }));
        }
        assert_eq!(pass.ended.len(), MAX_ENDED);
    }
}
