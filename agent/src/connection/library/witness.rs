//! What libraries said about one connection, and what is left of it beside the wire.

use std::sync::Arc;

use super::super::{Conclusion, Fingerprint, Settled};
use super::{LibraryCounts, LibraryOutcome};
use crate::event::{Library, LibraryVerdict, Role, SocketBy};
use crate::record::{ConfidenceName, DisagreementName, VerificationName};
use crate::tls::{ClientOutcome, HandshakeState, MessageSize, TlsFacts};

/// How a call was joined to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// The library's own structures name the socket.
    Descriptor,
    /// Its thread received from this socket last, and the sizes agree.
    LastReceive,
    /// It is the only connection of the process that fits.
    Fitting,
}

impl From<SocketBy> for Joined {
    fn from(by: SocketBy) -> Self {
        match by {
            SocketBy::Descriptor => Joined::Descriptor,
            SocketBy::LastReceive => Joined::LastReceive,
        }
    }
}

/// A chain that a library showed.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Whose chain it is.
    pub presented: Role,
    /// On whose end the library works.
    pub observer: Role,
    pub library: Library,
    pub joined: Joined,
    /// Leaf first; empty if not even the leaf is whole.
    pub chain: Vec<Fingerprint>,
    pub message: MessageSize,
    pub truncated: bool,
    /// Its outcome has been counted.
    pub counted: bool,
    /// The wire shows something else, and the library is sure of the socket.
    pub contradicts: bool,
    /// Another chain was shown for the same handshake that is as sure of its socket: one of the two is another connection's.
    pub disputed: bool,
}

impl Claim {
    fn outcome(&self) -> LibraryOutcome {
        match (self.contradicts || self.disputed, self.truncated) {
            (true, _) => LibraryOutcome::Disagrees,
            (_, true) => LibraryOutcome::Truncated,
            _ => LibraryOutcome::Attributed,
        }
    }
}

/// What a library said about the peer of the end it works on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub verdict: LibraryVerdict,
    pub library: Library,
    pub joined: Joined,
}

/// Whether an end talked on once the handshake was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoke {
    NotKnown,
    No,
    Yes,
}

/// Whether what a claim says can stand on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Yes,
    /// The wire shows the same chain.
    Same,
    No,
    /// What it would be held against is still to come.
    Later,
}

/// What all claims about one side amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture<'a> {
    Nothing,
    Shown(&'a [Fingerprint], ConfidenceName),
    Disagrees(DisagreementName),
}

/// All that libraries said about one connection: at most four chains (two sides, each seen at two ends).
#[derive(Debug, Default)]
pub struct Witness {
    claims: Vec<Claim>,
    /// Of the library at the client's end, and at the server's.
    verdicts: [Option<Verdict>; 2],
    /// What the wire said by itself.
    pub(super) wire: Option<(Arc<Settled>, Conclusion)>,
    pub(super) disagreement: Option<DisagreementName>,
    pub(super) verification: [Option<VerificationName>; 2],
    /// Events were lost while the connection lived: a word that was not heard may have been said.
    pub(super) words_lost: bool,
}

impl Witness {
    /// A library at one end has shown one side's chain.
    pub fn has(&self, presented: Role, observer: Role) -> bool {
        self.claim(presented, observer).is_some()
    }

    /// What the wire says by itself has changed.
    pub fn hear_wire_anew(&mut self) {
        self.wire = None;
    }

    fn claim(&self, presented: Role, observer: Role) -> Option<&Claim> {
        self.claims.iter().find(|claim| (claim.presented, claim.observer) == (presented, observer))
    }

    pub(super) fn claim_mut(&mut self, presented: Role, observer: Role) -> Option<&mut Claim> {
        self.claims.iter_mut().find(|claim| (claim.presented, claim.observer) == (presented, observer))
    }

    /// Takes a chain; `false` if another one was shown there before. One of a later handshake, inside the one that is on
    /// record (`same_handshake` is false), changes nothing. Of one and the same handshake the chain whose socket the library
    /// names outweighs one that was concluded; between equals nothing tells which is right.
    pub(super) fn put(&mut self, claim: Claim, same_handshake: bool) -> bool {
        let Some(known) = self.claim_mut(claim.presented, claim.observer) else {
            self.claims.push(claim);
            return true;
        };
        if agree(&known.chain, &claim.chain) {
            if claim.chain.len() > known.chain.len() {
                *known = Claim { counted: known.counted, disputed: known.disputed, ..claim };
            }
            return true;
        }
        let named = |claim: &Claim| claim.joined == Joined::Descriptor;
        match (named(&claim), named(known)) {
            _ if !same_handshake => false,
            (true, false) => {
                *known = Claim { counted: known.counted, ..claim };
                true
            }
            (false, true) => false,
            (true, true) | (false, false) => {
                known.disputed = true;
                false
            }
        }
    }

    /// Adds the certificate at `position` of a chain that comes one by one; `false` if another one stands there.
    pub(super) fn follow(
        &mut self,
        (presented, observer): (Role, Role),
        position: usize,
        fingerprint: Fingerprint,
        bytes: u32,
    ) -> bool {
        let Some(claim) = self.claim_mut(presented, observer) else { return false };
        if let Some(known) = claim.chain.get(position) {
            return *known == fingerprint;
        }
        let goes_on = claim.chain.len() == position && !claim.message.exact;
        if goes_on {
            claim.chain.push(fingerprint);
            claim.message.bytes = claim.message.bytes.saturating_add(bytes);
        }
        goes_on
    }

    pub(super) fn withdraw(&mut self, presented: Role, observer: Role) {
        self.claims.retain(|claim| (claim.presented, claim.observer) != (presented, observer));
    }

    /// What was said last stands, but that there was a verifier adds nothing to what it said.
    pub(super) fn verdict(&mut self, observer: Role, verdict: Verdict) {
        let known = &mut self.verdicts[observer as usize];
        if known.is_none() || verdict.verdict != LibraryVerdict::Attempted {
            *known = Some(verdict);
        }
    }

    /// Holds every chain against the wire. One that does not fit goes, unless its socket is certain.
    pub(super) fn check(&mut self, fit: impl Fn(&Claim) -> Fit, counts: &mut LibraryCounts) {
        self.claims.retain_mut(|claim| {
            let fits = fit(claim);
            if fits == Fit::Later {
                return true;
            }
            let keeps = fits != Fit::No || claim.joined == Joined::Descriptor;
            claim.contradicts = fits == Fit::No;
            claim.disputed &= fits != Fit::Same;
            if !std::mem::replace(&mut claim.counted, true) {
                let outcome = if keeps { claim.outcome() } else { LibraryOutcome::Disagrees };
                counts.add(claim.library, outcome);
            }
            keeps
        });
    }

    /// The connection is over: no handshake was seen that its chains could be held against.
    pub(super) fn close(&self, counts: &mut LibraryCounts) {
        for claim in self.claims.iter().filter(|claim| !claim.counted) {
            counts.add(claim.library, LibraryOutcome::NoConnection);
        }
    }

    /// What all chains shown of one side amount to.
    pub(super) fn picture(&self, presented: Role) -> Picture<'_> {
        let mut claims = self.claims.iter().filter(|claim| claim.presented == presented);
        let Some(first) = claims.next() else { return Picture::Nothing };
        let second = claims.next();
        if first.contradicts || second.is_some_and(|claim| claim.contradicts) {
            return Picture::Disagrees(DisagreementName::WireLibrary);
        }
        if first.disputed || second.is_some_and(|claim| claim.disputed) {
            return Picture::Disagrees(DisagreementName::Libraries);
        }
        let Some(second) = second else { return Picture::Shown(&first.chain, confidence(first)) };
        if !agree(&first.chain, &second.chain) {
            return Picture::Disagrees(DisagreementName::Libraries);
        }
        let longer = if second.chain.len() > first.chain.len() { second } else { first };
        Picture::Shown(&longer.chain, confidence(first).min(confidence(second)))
    }

    /// The library at this end found its peer's certificate in order.
    pub(super) fn has_verified(&self, observer: Role) -> bool {
        let (_, verdict) = self.about_peer(observer);
        verdict.is_some_and(|verdict| verdict.verdict == LibraryVerdict::Verified)
    }

    /// What the library at one end showed of its peer, and said about it. What was joined by anything but the library's own
    /// structures counts only with a chain that fits.
    fn about_peer(&self, observer: Role) -> (Option<&Claim>, Option<Verdict>) {
        let shown = self.claim(other(observer), observer);
        let sure = |verdict: &Verdict| shown.is_some() || verdict.joined == Joined::Descriptor;
        (shown, self.verdicts[observer as usize].filter(sure))
    }

    /// What this end did about its peer's certificate; `None` if no library showed that, or if it made an end of the connection.
    pub(super) fn judge(&self, observer: Role, facts: &TlsFacts, spoke: Spoke) -> Option<VerificationName> {
        let (shown, verdict) = self.about_peer(observer);
        let library = verdict.map(|verdict| verdict.library).or(shown.map(|claim| claim.library))?;
        let went_on = observer == Role::Client || facts.client_outcome == ClientOutcome::Accepted;
        match facts.handshake {
            HandshakeState::Failed => return None,
            HandshakeState::Complete if went_on => {}
            _ => return Some(VerificationName::Unknown),
        }
        if shown.is_some_and(|claim| claim.contradicts || claim.disputed) {
            return Some(VerificationName::Unknown);
        }
        match (verdict.map(|verdict| verdict.verdict), library, spoke) {
            (Some(LibraryVerdict::Verified), _, _) => Some(VerificationName::Verified),
            // Many programs ask for the result once the handshake is over, and leave.
            (Some(LibraryVerdict::Failed { .. }), _, Spoke::No) => None,
            (Some(LibraryVerdict::Failed { .. }), _, Spoke::Yes) => Some(VerificationName::FailedOverridden),
            // Their verifiers end the handshake when they fail.
            (Some(LibraryVerdict::Attempted), Library::Go | Library::Rustls, _) => {
                Some(VerificationName::Verified)
            }
            // All that follows is concluded from what was not said.
            _ if self.words_lost => Some(VerificationName::Unknown),
            // Their verifiers run within the handshake.
            (None, Library::Go | Library::Nss, _) => Some(VerificationName::NotAttempted),
            // Its verifier is for the program to call, before it talks on.
            (None, Library::GnuTls, Spoke::Yes) => Some(VerificationName::NotAttempted),
            (None, Library::GnuTls, Spoke::No) => None,
            // The default verifiers are probed: this is another one.
            (Some(LibraryVerdict::Attempted), Library::OpenSsl, _) | (None, Library::Rustls, _) => {
                Some(VerificationName::Custom)
            }
            _ => Some(VerificationName::Unknown),
        }
    }
}

/// The other end.
pub(super) fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// One chain is the other, or its beginning: some libraries show the leaf alone.
pub(super) fn agree(one: &[Fingerprint], other: &[Fingerprint]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// The socket was told, or concluded.
fn confidence(claim: &Claim) -> ConfidenceName {
    match claim.joined {
        Joined::Descriptor | Joined::LastReceive => ConfidenceName::High,
        Joined::Fitting => ConfidenceName::Medium,
    }
}
