//! Wire and libraries together: a conclusion on a connection.

use std::sync::Arc;

use super::super::conclusion::Evidence;
use super::super::settled::{Settled, Shared};
use super::super::{Conclusion, Connection, Fingerprint};
use super::LibraryCounts;
use super::witness::{Claim, Fit, Picture, Spoke, Witness, agree};
use crate::event::Role;
use crate::record::{Authentication, DisagreementName, EvidenceName};
use crate::tls::{
    ClientAuthentication, ClientOutcome, Direction, HandshakeState, Resumption, ServerAuthentication, Sight,
    TlsFacts, UnknownReason, Version, alert_record_bytes,
};

/// The longest record with an alert, for suites that are not known: header, IV, and an alert with its MAC, padded (AES-CBC
/// with SHA-384).
const MAX_ALERT_RECORD: u64 = 5 + 16 + 64;

/// Concludes anew from what the wire said and what libraries said. Does nothing as long as the wire has no conclusion.
pub fn fuse(connection: &mut Connection, shared: &mut Shared, counts: &mut LibraryCounts) {
    let Some(settled) = connection.settled.clone() else { return };
    let Some(mut witness) = connection.library.take() else { return };
    let (wire, alone) = witness.wire.get_or_insert((settled, connection.conclusion)).clone();
    witness.check(|claim| fit(connection, claim, &wire), counts);
    let (conclusion, fused, disagreement) = fused(&wire, alone, &witness);
    connection.conclusion = conclusion;
    witness.disagreement = disagreement;
    for role in [Role::Client, Role::Server] {
        witness.verification[role as usize] =
            witness.judge(role, &fused.tls, spoke(connection, role, &wire.tls));
    }
    connection.settled = Some(if fused == *wire { wire } else { shared.share(fused) });
    connection.library = Some(witness);
}

/// Whether a chain can have been shown on a connection, by what the wire says of it.
pub(super) fn fit(connection: &Connection, claim: &Claim, wire: &Settled) -> Fit {
    match wire.tls.version {
        Some(version) if version.is_modern() => fit_modern(connection, claim, &wire.tls),
        Some(_) => {
            let chain = match claim.presented {
                Role::Client => &wire.client_chain,
                Role::Server => &wire.server_chain,
            };
            let shown = !chain.is_empty() && agree(chain, &claim.chain);
            if shown { Fit::Same } else { Fit::No }
        }
        None => Fit::Later,
    }
}

/// The same for TLS 1.3, of which the wire shows sizes.
pub(super) fn fit_modern(connection: &Connection, claim: &Claim, facts: &TlsFacts) -> Fit {
    // With a pre-shared key there are no certificates (RFC 8446 section 2.2).
    if facts.resumption == Resumption::Psk {
        return Fit::No;
    }
    let sender = match claim.presented {
        Role::Client => Direction::Client,
        Role::Server => Direction::Server,
    };
    let none = matches!(
        facts.client_authentication,
        ClientAuthentication::NotRequested(_) | ClientAuthentication::RequestedNoneSent(_)
    );
    if sender == Direction::Client && none {
        return Fit::No;
    }
    let admitted = connection.flights().is_none_or(|flights| flights.admit(sender, claim.message));
    if admitted { Fit::Yes } else { Fit::No }
}

fn fused(
    wire: &Settled,
    alone: Conclusion,
    witness: &Witness,
) -> (Conclusion, Settled, Option<DisagreementName>) {
    let mut facts = wire.tls.clone();
    let mut chains = [Arc::clone(&wire.client_chain), Arc::clone(&wire.server_chain)];
    let mut conclusion = alone;
    let pictures = [witness.picture(Role::Client), witness.picture(Role::Server)];
    if facts.version.is_some_and(Version::is_modern) {
        adopt(&mut facts, &mut chains, pictures, witness.has_verified(Role::Server));
        conclusion = Conclusion::of_tls(&facts, None);
        let [client, server] = pictures.map(evidence);
        conclusion.client = client.unwrap_or(conclusion.client);
        conclusion.server = server.unwrap_or(conclusion.server);
    }
    let mut disagreement = None;
    for (role, picture) in [Role::Client, Role::Server].into_iter().zip(pictures) {
        let Picture::Disagrees(sources) = picture else { continue };
        disagreement = disagreement.or(Some(sources));
        conclusion = conclusion.disputed(role);
        let reason = UnknownReason::EvidenceDisagrees;
        match role {
            Role::Client => facts.client_authentication = ClientAuthentication::Unknown(reason),
            Role::Server => facts.server_authentication = ServerAuthentication::Unknown(reason),
        }
    }
    let [client_chain, server_chain] = chains;
    (conclusion, Settled::new(facts, client_chain, server_chain), disagreement)
}

/// What libraries showed becomes a fact of a handshake that hides it.
fn adopt(
    facts: &mut TlsFacts,
    chains: &mut [Arc<[Fingerprint]>; 2],
    [client, server]: [Picture<'_>; 2],
    verified: bool,
) {
    if let Picture::Shown(chain, _) = client {
        chains[0] = chain.into();
        // Where sizes follow no rule, an alert cannot be told from going on: the server's library has to have agreed.
        let unread = matches!(facts.client_authentication, ClientAuthentication::Unknown(_));
        if unread && verified && facts.handshake == HandshakeState::Complete {
            facts.client_outcome = ClientOutcome::Accepted;
        }
        facts.client_authentication = ClientAuthentication::Presented(Sight::InferredHigh);
    }
    if let Picture::Shown(chain, _) = server {
        chains[1] = chain.into();
        facts.server_authentication = ServerAuthentication::Inferred;
    }
}

fn evidence(picture: Picture<'_>) -> Option<Evidence> {
    match picture {
        Picture::Shown(_, confidence) => {
            Some(Evidence { kind: EvidenceName::Library, confidence: Some(confidence) })
        }
        Picture::Nothing | Picture::Disagrees(_) => None,
    }
}

impl Conclusion {
    /// What is left of it when sources disagree about one side.
    fn disputed(self, role: Role) -> Self {
        let unknown = Evidence { kind: EvidenceName::Unknown, confidence: None };
        let failed = self.authentication == Authentication::NotEstablished;
        Conclusion {
            authentication: if failed { self.authentication } else { Authentication::Unknown },
            client: if role == Role::Client { unknown } else { self.client },
            server: if role == Role::Server { unknown } else { self.server },
            reason: Some(UnknownReason::EvidenceDisagrees),
            ..self
        }
    }
}

/// Whether an end talked on after the handshake, by the bytes in all: known once the connection is over. A server's tickets
/// count as talk; that its client goes on too says that it may. Whoever leaves says so in an alert (RFC 8446 section 6).
fn spoke(connection: &Connection, observer: Role, wire: &TlsFacts) -> Spoke {
    let (Some((client, server)), Some((client_end, server_end))) =
        (connection.bytes, connection.handshake_ends)
    else {
        return Spoke::NotKnown;
    };
    // Where the client's flight ends is then not known either.
    let unread = matches!(wire.client_authentication, ClientAuthentication::Unknown(_));
    if unread && wire.version.is_some_and(Version::is_modern) {
        return Spoke::NotKnown;
    }
    let modern = wire.version.is_some_and(Version::is_modern);
    let alert =
        wire.cipher_suite.zip(wire.version).and_then(|(suite, version)| alert_record_bytes(suite, version));
    let [client, server] = [(client, client_end), (server, server_end)].map(|(bytes, end)| {
        talked(bytes.saturating_sub(u64::from(end)), alert.unwrap_or(MAX_ALERT_RECORD), modern)
    });
    match (observer, client, server) {
        (Role::Client, ..) => client,
        (Role::Server, Spoke::No, _) | (Role::Server, _, Spoke::No) => Spoke::No,
        (Role::Server, Spoke::Yes, Spoke::Yes) => Spoke::Yes,
        (Role::Server, ..) => Spoke::NotKnown,
    }
}

/// Whether so many bytes behind a handshake are more than a farewell, of which `alert` is the longest record. Some take leave
/// twice, with a fatal alert and close_notify: what two records can be is not told apart. In TLS 1.3 each has just that length.
pub(super) fn talked(bytes: u64, alert: u64, modern: bool) -> Spoke {
    let twice = alert.saturating_mul(2);
    if bytes <= alert {
        Spoke::No
    } else if bytes == twice || (bytes < twice && !modern) {
        Spoke::NotKnown
    } else {
        Spoke::Yes
    }
}
