//! Library evidence: certificates and verifications that TLS libraries of this host showed → the connection they belong to.
//!
//! Enters: runs of certificate bytes and words on their verification, each with a thread, and mostly a socket. Leaves: a
//! [`Witness`] on the connection, which is fused with what the wire said. A chain is attributed to one connection or to
//! none: every way of joining is checked against the wire, and what could belong to two is counted and dropped.
//!
//! ```text
//! runs ─► assembly ─► list ─► which socket? ─┬─ told ──► do sizes agree? ─► witness ─► fuse ◄─ wire
//!                                            └─ not ───► the only one that fits?
//! ```

mod assembly;
mod candidates;
mod counts;
mod fuse;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod groups;
mod list;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod witness;

pub use assembly::MAX_WHOLE;
pub use counts::{LibraryCounts, LibraryOutcome};
pub(super) use fuse::fuse;
pub use witness::Witness;

use super::{Connection, ConnectionKey, Connections, HolderRole, OwnerSource, Sink};
use crate::event::{LibraryBytes, LibraryForm, LibraryVerification, Presenter, Role, SocketBy, Timestamp};
use crate::record::{DisagreementName, VerificationName};
use crate::tls::{self, Flights, Version};
use assembly::{Assembly, Whole};
use groups::{Group, Groups};
use list::Shown;
use witness::{Claim, Fit, Joined, Verdict, other};

/// A chain is read before the verdict on its handshake; what comes so much later is of a handshake inside the connection.
const MAX_DELAY: u64 = 1_000_000_000;

/// What is kept between events.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    assembly: Assembly,
    groups: Groups,
    pub counts: LibraryCounts,
    /// Connections whose bytes are read, and some that were: where a chain can belong that names no socket.
    read: Vec<ConnectionKey>,
}

/// What libraries changed in a connection, to tell its revisions apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LibrarySummary {
    /// Of the client and of the server.
    pub verification: [Option<VerificationName>; 2],
    /// Which sources disagree.
    pub disagreement: Option<DisagreementName>,
    /// Certificates shown by the client and by the server.
    pub certificates: [usize; 2],
}

impl Libraries {
    /// A connection's bytes are read from now on.
    pub fn reads(&mut self, key: ConnectionKey) {
        self.read.push(key);
    }
}

impl Connection {
    /// What an endpoint did about its peer's certificate, where a library showed that.
    pub fn verification(&self, role: Role) -> Option<VerificationName> {
        self.library.as_ref().and_then(|witness| witness.verification[role as usize])
    }

    /// Which sources say different things about it.
    pub fn disagreement(&self) -> Option<DisagreementName> {
        self.library.as_ref().and_then(|witness| witness.disagreement)
    }

    /// What libraries contributed so far.
    pub fn library_summary(&self) -> LibrarySummary {
        let certificates = [Role::Client, Role::Server].map(|role| self.chain(role).len());
        self.library.as_ref().map_or_else(LibrarySummary::default, |witness| LibrarySummary {
            verification: witness.verification,
            disagreement: witness.disagreement,
            certificates,
        })
    }

    /// Sizes of the encrypted flights, now or as they were when the bytes were concluded from.
    fn flights(&self) -> Option<Flights> {
        self.reading.as_ref().map_or(self.flights, |reading| reading.conversation.flights())
    }

    /// The version that was chosen, if the ServerHello was seen.
    fn version(&self) -> Option<Version> {
        match &self.reading {
            Some(reading) => match reading.conversation.reading() {
                tls::Reading::Tls(facts) => facts.version,
                _ => None,
            },
            None => self.tls().and_then(|facts| facts.version),
        }
    }

    /// Whether a chain can stand on it, as far as its bytes were seen.
    fn fits_now(&self, claim: &Claim) -> Fit {
        let Some(reading) = &self.reading else {
            let wire = self.library.as_ref().and_then(|witness| witness.wire.as_ref()).map(|(wire, _)| wire);
            return wire.or(self.settled.as_ref()).map_or(Fit::No, |wire| fuse::fit(self, claim, wire));
        };
        match reading.conversation.reading() {
            tls::Reading::Tls(facts)
                if facts.version.is_some_and(Version::is_modern) && claim.presented != claim.observer =>
            {
                fuse::fit_modern(self, claim, facts)
            }
            // The own chain may not have been sent; the wire's chain of older versions is compared at the end.
            _ => Fit::Later,
        }
    }
}

impl Connections {
    /// What became of what libraries showed, since the start.
    pub fn library_counts(&self) -> &LibraryCounts {
        &self.library.counts
    }

    pub(super) fn library_bytes(&mut self, run: &LibraryBytes, sink: &mut dyn Sink) {
        let Some(whole) = self.library.assembly.take(run, &mut self.library.counts) else { return };
        let done = match whole.form {
            LibraryForm::List | LibraryForm::Leaf => self.begin(&whole, sink),
            LibraryForm::Following => self.go_on(&whole, sink),
        };
        if let Err(outcome) = done {
            self.library.counts.add(whole.call.library, outcome);
        }
    }

    /// A new chain.
    fn begin(&mut self, whole: &Whole, sink: &mut dyn Sink) -> Result<(), LibraryOutcome> {
        let located = match whole.call.socket {
            Some(socket) => match self.sockets.get(&socket.socket) {
                Some(&(key, observer)) => Ok((key, observer, Joined::from(socket.by))),
                // It was told where it belongs: it is not looked for elsewhere.
                None => Err(LibraryOutcome::NoConnection),
            },
            None => self.only_candidate(whole).map(|(key, observer)| (key, observer, Joined::Fitting)),
        };
        let claimed = located.and_then(|(key, observer, joined)| {
            self.claim(whole, key, observer, joined, sink).map(|()| (key, observer))
        });
        let whole_leaf = whole.form == LibraryForm::Leaf && !whole.is_truncated();
        let group = Group::of(whole, claimed.ok(), whole_leaf);
        self.library.groups.insert(whole, group);
        let (key, _) = claimed?;
        self.library_news(key, sink);
        Ok(())
    }

    /// Puts a chain on a connection, if it can stand there.
    fn claim(
        &mut self,
        whole: &Whole,
        key: ConnectionKey,
        observer: Role,
        joined: Joined,
        sink: &mut dyn Sink,
    ) -> Result<(), LibraryOutcome> {
        let fingerprints = &mut self.fingerprints;
        let connection = self.connections.get_mut(&key).ok_or(LibraryOutcome::NoConnection)?;
        let version = connection.version();
        // A peer's chain never comes before the ServerHello; an own one may be read by then.
        let hidden =
            version.is_none() && (whole.presenter == Presenter::Peer || connection.reading.is_none());
        if connection.subflow || hidden {
            return Err(LibraryOutcome::NoConnection);
        }
        // Own lists are shown of TLS 1.3 only.
        let modern = version.is_none_or(Version::is_modern);
        let Shown { certificates, message, truncated } =
            list::read(whole, modern).map_err(|_| LibraryOutcome::Malformed)?;
        let claim = Claim {
            presented: presented_by(whole.presenter, observer),
            observer,
            library: whole.call.library,
            joined,
            chain: certificates.iter().map(|der| fingerprints.of(der)).collect(),
            message,
            truncated,
            counted: false,
            contradicts: false,
            disputed: false,
        };
        let decided = connection.decided.filter(|_| connection.reading.is_none());
        let late = decided.is_some_and(|decided| whole.call.at.since(decided) > MAX_DELAY);
        if late || (joined != Joined::Descriptor && connection.fits_now(&claim) == Fit::No) {
            return Err(LibraryOutcome::Disagrees);
        }
        let (presented, chain) = (claim.presented, claim.chain.clone());
        // What a client receives once its own flight was seen is not the server's.
        let received_at = whole.call.socket.map_or(Timestamp(0), |socket| socket.received_at);
        let receives_later = (observer, whole.presenter) == (Role::Client, Presenter::Peer);
        let same_handshake = decided
            .is_none_or(|decided| joined != Joined::Descriptor && !(receives_later && received_at > decided));
        if !connection.library.get_or_insert_default().put(claim, same_handshake) {
            self.library_news(key, sink);
            return Err(LibraryOutcome::Disagrees);
        }
        if let Some(side) = connection.side_mut(observer)
            && joined != Joined::Fitting
        {
            side.hold(whole.call.task, HolderRole::Use, OwnerSource::Library);
        }
        for (der, fingerprint) in certificates.iter().zip(chain) {
            sink.certificate(der, fingerprint, presented);
        }
        Ok(())
    }

    /// A certificate that follows another one of its chain.
    fn go_on(&mut self, whole: &Whole, sink: &mut dyn Sink) -> Result<(), LibraryOutcome> {
        let Some(group) = self.library.groups.get_mut(whole) else {
            return Err(LibraryOutcome::NoConnection);
        };
        // What became of the chain was counted with its leaf.
        let Some((key, observer)) = group.joined else { return Ok(()) };
        let position = group.next;
        group.next += 1;
        if whole.is_truncated() || position >= list::MAX_CHAIN {
            group.joined = None;
            return Err(LibraryOutcome::Truncated);
        }
        let presented = presented_by(whole.presenter, observer);
        let shown = list::read(whole, true).map_err(|_| LibraryOutcome::Malformed)?;
        let [der] = &shown.certificates[..] else { return Err(LibraryOutcome::Malformed) };
        let fingerprint = self.fingerprints.of(der);
        let connection = self.connections.get_mut(&key).ok_or(LibraryOutcome::NoConnection)?;
        let witness = connection.library.get_or_insert_default();
        let bytes = list::AROUND_CERTIFICATE.saturating_add(whole.total);
        if !witness.follow((presented, observer), position, fingerprint, bytes) {
            // What follows it is on no chain.
            group.joined = None;
            return Err(LibraryOutcome::Disagrees);
        }
        let claim = witness.claim_mut(presented, observer).map(|claim| claim.clone());
        if let Some(claim) = claim
            && claim.joined != Joined::Descriptor
            && connection.fits_now(&claim) == Fit::No
        {
            group.joined = None;
            connection.library.get_or_insert_default().withdraw(presented, observer);
            self.library_news(key, sink);
            return Err(LibraryOutcome::Disagrees);
        }
        sink.certificate(der, fingerprint, presented);
        self.library_news(key, sink);
        Ok(())
    }

    pub(super) fn library_verification(&mut self, event: &LibraryVerification, sink: &mut dyn Sink) {
        let call = &event.call;
        // The thread that read the chain verifies it, and where its chain was refused its word is refused, too.
        let of_chain = self.library.groups.of_call(call).and_then(|group| group.joined);
        let found = match call.socket {
            Some(socket) => {
                let found = self.sockets.get(&socket.socket).copied();
                let believed = socket.by == SocketBy::Descriptor || found == of_chain;
                found.filter(|_| believed).map(|(key, observer)| (key, observer, Joined::from(socket.by)))
            }
            None => of_chain.map(|(key, observer)| (key, observer, Joined::Fitting)),
        };
        let connection = found.and_then(|(key, ..)| self.connections.get_mut(&key));
        let (Some((key, observer, joined)), Some(connection)) = (found, connection) else {
            self.library.counts.add(call.library, LibraryOutcome::NoConnection);
            return;
        };
        let verdict = Verdict { verdict: event.verdict, library: call.library, joined };
        connection.library.get_or_insert_default().verdict(observer, verdict);
        self.library.counts.add(call.library, LibraryOutcome::Attributed);
        self.library_news(key, sink);
    }

    /// A connection whose bytes were concluded from is concluded anew; else it will be.
    fn library_news(&mut self, key: ConnectionKey, sink: &mut dyn Sink) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.reading.is_none() {
            fuse(connection, &mut self.shared, &mut self.library.counts);
            self.republish(key, sink);
        }
    }

    /// The last word of libraries on a connection that is over: now it is known who talked on.
    pub(super) fn close_library(&mut self, connection: &mut Connection) {
        if let Some(witness) = &mut connection.library {
            witness.words_lost = self.lost_since(connection.key.opened);
        }
        fuse(connection, &mut self.shared, &mut self.library.counts);
        if let Some(witness) = &connection.library {
            witness.close(&mut self.library.counts);
        }
    }

    pub(super) fn sweep_library(&mut self, now: Timestamp) {
        let Libraries { assembly, groups, counts, .. } = &mut self.library;
        assembly.sweep(now, counts);
        groups.sweep(now);
        self.forget_read();
    }
}

/// Whose chain it is, seen from the end on which the library works.
fn presented_by(presenter: Presenter, observer: Role) -> Role {
    match presenter {
        Presenter::Own => observer,
        Presenter::Peer => other(observer),
    }
}
