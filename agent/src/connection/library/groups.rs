//! Which chains a thread is at, the peer's and the own: certificates that come one by one, and words on a chain that name no socket.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::super::ConnectionKey;
use super::assembly::{Thread, Whole};
use crate::event::{Library, LibraryCall, LibrarySocket, Presenter, Role, Timestamp};

/// Chains that threads are at: those of a host that make handshakes at the same time.
const MAX_GROUPS: usize = 4096;
/// A chain is read and verified within milliseconds; a verifier that asks the network may take seconds.
const MAX_AGE: u64 = 10_000_000_000;

/// A chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    at: Timestamp,
    library: Library,
    socket: Option<LibrarySocket>,
    /// The connection, and the end at which the library works; `None` if the chain is on no connection.
    pub joined: Option<(ConnectionKey, Role)>,
    /// Others can follow its leaf.
    grows: bool,
    /// Position of the next certificate.
    pub next: usize,
}

impl Group {
    pub fn of(whole: &Whole, joined: Option<(ConnectionKey, Role)>, grows: bool) -> Self {
        let call = whole.call;
        Group { at: call.at, library: call.library, socket: call.socket, joined, grows, next: 1 }
    }
}

/// A thread, and whose chain.
type Key = (Thread, Presenter);

/// Bounded; the oldest goes first.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: FxHashMap<Key, Group>,
    order: VecDeque<(Timestamp, Key)>,
}

impl Groups {
    /// A thread is at another chain from now on.
    pub fn insert(&mut self, whole: &Whole, group: Group) {
        let key = (whole.thread(), whole.presenter);
        self.order.push_back((group.at, key));
        self.groups.insert(key, group);
        while self.groups.len() > MAX_GROUPS || self.order.len() > 4 * MAX_GROUPS {
            self.drop_oldest();
        }
    }

    /// The chain that a certificate follows.
    pub fn get_mut(&mut self, whole: &Whole) -> Option<&mut Group> {
        let call = &whole.call;
        let group = self.groups.get_mut(&(whole.thread(), whole.presenter))?;
        let same = (group.library, group.socket) == (call.library, call.socket);
        (same && group.grows && call.at.since(group.at) < MAX_AGE).then_some(group)
    }

    /// The peer's chain that a thread read last.
    pub fn of_call(&self, call: &LibraryCall) -> Option<&Group> {
        let group = self.groups.get(&((call.task.process, call.task.thread), Presenter::Peer))?;
        // BoringSSL verifies with functions that it shares with OpenSSL.
        let family = |library| if library == Library::BoringSsl { Library::OpenSsl } else { library };
        let same = family(group.library) == family(call.library);
        (same && call.at.since(group.at) < MAX_AGE).then_some(group)
    }

    pub fn sweep(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.order.front()
            && now.since(*at) >= MAX_AGE
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((at, key)) = self.order.pop_front() else { return };
        if self.groups.get(&key).is_some_and(|group| group.at == at) {
            self.groups.remove(&key);
        }
    }
}
