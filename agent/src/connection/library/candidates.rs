//! Where a chain belongs that names no socket: the only connection of its process that it fits, if there is only one.

use super::super::{Connection, ConnectionKey, Connections};
use super::assembly::Whole;
use super::list::{self, Shown};
use super::witness::{Claim, Fit, Joined};
use super::{LibraryOutcome, presented_by};
use crate::event::{Presenter, ProcessKey, Role};
use crate::tls::{self, TlsFacts};

/// Whether a process holds a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    /// No holder of it is known: it may.
    Perhaps,
}

impl Connections {
    /// The connection, and the end of it at which the library works.
    pub(super) fn only_candidate(&mut self, whole: &Whole) -> Result<(ConnectionKey, Role), LibraryOutcome> {
        self.forget_read();
        let shown = [false, true].map(|modern| list::read(whole, modern).ok());
        if shown.iter().all(Option::is_none) {
            return Err(LibraryOutcome::Malformed);
        }
        let process = whole.call.task.process;
        let mut candidate = None;
        for &key in &self.library.read {
            let Some(connection) = self.connections.get(&key) else { continue };
            for observer in [Role::Client, Role::Server] {
                let holds = self.holds(process, connection, observer);
                if holds == Holds::No || !awaits(connection, whole, observer, &shown) {
                    continue;
                }
                // A second one, or one that another process may hold.
                if candidate.is_some() || holds == Holds::Perhaps {
                    return Err(LibraryOutcome::Ambiguous);
                }
                candidate = Some((key, observer));
            }
        }
        candidate.ok_or(LibraryOutcome::NoConnection)
    }

    /// A socket without a known holder may have any, unless it was accepted where this process alone listens, which cannot be
    /// known: a listening socket is shared by fork(2).
    fn holds(&self, process: ProcessKey, connection: &Connection, role: Role) -> Holds {
        let Some(side) = connection.side(role) else { return Holds::No };
        if side.holders.is_empty() {
            return Holds::Perhaps;
        }
        let holds = side.holders.iter().any(|holder| holder.task.process == process);
        if holds { Holds::Yes } else { Holds::No }
    }

    /// Forgets connections that are not read any more.
    pub(super) fn forget_read(&mut self) {
        let connections = &self.connections;
        self.library
            .read
            .retain(|key| connections.get(key).is_some_and(|connection| connection.reading.is_some()));
    }
}

/// Whether a connection is in a handshake to which the chain can belong. `shown`: the chain as older versions write it, and as
/// TLS 1.3 does.
fn awaits(connection: &Connection, whole: &Whole, observer: Role, shown: &[Option<Shown>; 2]) -> bool {
    let presented = presented_by(whole.presenter, observer);
    if connection.subflow || connection.library.as_ref().is_some_and(|known| known.has(presented, observer)) {
        return false;
    }
    let Some(reading) = &connection.reading else { return false };
    let tls::Reading::Tls(facts) = reading.conversation.reading() else { return false };
    let modern = match (facts.version, whole.presenter) {
        (Some(version), _) => version.is_modern(),
        // The ServerHello and what follows it are written together.
        (None, Presenter::Own) => true,
        (None, Presenter::Peer) => return false,
    };
    let Some(shown) = &shown[usize::from(modern)] else { return false };
    if whole.presenter == Presenter::Own {
        return true;
    }
    if !modern {
        return is_on_the_wire(facts, presented, shown);
    }
    let claim = Claim {
        presented,
        observer,
        library: whole.call.library,
        joined: Joined::Fitting,
        chain: Vec::new(),
        message: shown.message,
        truncated: whole.is_truncated(),
        counted: false,
        contradicts: false,
        disputed: false,
    };
    connection.fits_now(&claim) == Fit::Yes
}

/// TLS ≤ 1.2 shows the same certificates in clear.
fn is_on_the_wire(facts: &TlsFacts, presented: Role, shown: &Shown) -> bool {
    let chain = match presented {
        Role::Client => &facts.client_chain,
        Role::Server => &facts.server_chain,
    };
    !chain.is_empty() && chain.iter().zip(&shown.certificates).all(|(one, other)| one == other)
}
