//! What the bytes of a connection amount to, with what is remembered of other connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::fingerprints::Fingerprints;
use super::library::{LibraryCounts, fuse};
use super::reading::Reading;
use super::sessions::{Origin, Sessions};
use super::settled::{Settled, Shared};
use super::watched::Watched;
use super::{Conclusion, Connection, Fingerprint, Protocol, Sink};
use crate::cleartext::Name;
use crate::event::Role;
use crate::record::Authentication;
use crate::tls::{self, TlsFacts, UnknownReason};

/// What is remembered of other connections.
pub(super) type Memory<'a> = (&'a mut Sessions, &'a mut Shared, &'a mut Fingerprints, &'a mut LibraryCounts);

/// The last conclusion of a connection's bytes. Returns what could still take it back.
pub(super) fn conclude(
    connection: &mut Connection,
    reading: Reading,
    memory: Memory<'_>,
    sink: &mut dyn Sink,
) -> Option<Watched> {
    if conclude_plain(connection, &reading) {
        return None;
    }
    let (facts, watched) = reading.into_facts();
    conclude_tls(connection, facts?, memory, sink);
    watched
}

/// Concludes if it is not TLS.
pub(super) fn conclude_plain(connection: &mut Connection, reading: &Reading) -> bool {
    // Bytes from the middle may be anything: nothing is concluded from what they do not look like.
    let missed = connection.missed && !reading.conversation.begins_with_client_hello();
    connection.incomplete = if missed { Some(tls::IncompleteReason::MidStream) } else { reading.incomplete };
    connection.upgraded_from = reading.before.switched;
    connection.credential = reading.credential();
    connection.examined = reading.examined();
    let read = reading.read();
    let cut = connection.incomplete == Some(tls::IncompleteReason::Budget);
    if reading.is_conflicting() {
        connection.incomplete = Some(tls::IncompleteReason::Conflicting);
        let protocol = match reading.conversation.reading() {
            tls::Reading::Tls(_) => Protocol::Tls,
            tls::Reading::Undetermined | tls::Reading::NotTls => Protocol::Unknown,
        };
        connection.conclusion = Conclusion::unknown(protocol, UnknownReason::Conflicting);
        return true;
    }
    match reading.conversation.reading() {
        // What was cut short before its first byte was read was no silence: something came behind a hole.
        tls::Reading::Undetermined if read == (0, 0) && !missed && !cut => {
            connection.conclusion = Conclusion::silent();
        }
        // It made room for something that did not come.
        tls::Reading::Undetermined if reading.is_silent_since_switch() => {
            connection.upgraded_from = None;
            let protocol = match reading.before.name {
                Some(Name::Found(protocol)) => Protocol::Named(protocol),
                _ => Protocol::Unknown,
            };
            connection.conclusion = Conclusion::unknown(protocol, UnknownReason::Incomplete);
        }
        tls::Reading::Undetermined => {
            let reason = connection.incomplete.map_or(UnknownReason::Incomplete, UnknownReason::from);
            connection.conclusion = Conclusion::unknown(Protocol::Unknown, reason);
        }
        tls::Reading::NotTls => {
            connection.upgraded_from = None;
            // Bytes from the middle of a protocol that can switch may stand behind the switch.
            let middle = (missed && reading.may_switch()).then_some(UnknownReason::MidStream);
            let doubt = match reading.doubt() {
                None | Some(UnknownReason::Incomplete) if middle.is_some() => middle,
                doubt => doubt,
            };
            connection.conclusion = match (reading.name(), reading.before.name) {
                (Name::Unknown | Name::Incomplete, Some(Name::Found(outer))) => {
                    Conclusion::unknown(Protocol::Named(outer), UnknownReason::ProtocolNotRecognised)
                }
                (Name::Unknown | Name::Incomplete, _) if missed => {
                    Conclusion::unknown(Protocol::Unknown, UnknownReason::MidStream)
                }
                // What is missing may have told.
                (Name::Incomplete, _) if let Some(reason) = connection.incomplete => {
                    Conclusion::unknown(Protocol::Unknown, reason.into())
                }
                (Name::Found(protocol) | Name::SoFar(protocol), _) if let Some(reason) = doubt => {
                    Conclusion::unknown(Protocol::Named(protocol), reason)
                }
                (name, _) => Conclusion::of_cleartext(name),
            };
        }
        tls::Reading::Tls(_) => {
            let (client, server) = reading.conversation.handshake_bytes();
            let end = |before: usize, bytes: u64| u32::try_from(before as u64 + bytes).unwrap_or(u32::MAX);
            let before = reading.before;
            connection.handshake_ends = Some((end(before.client, client), end(before.server, server)));
            if !connection.captured {
                connection.flights = reading.conversation.flights();
            }
            // Each byte was delivered as often as sockets saw it.
            let unique = (read.0 + read.1).max(1);
            let copies = ((connection.shipped + unique / 2) / unique).max(1);
            connection.handshake_shipped = ((client + server) * copies).min(connection.shipped);
            return false;
        }
    }
    true
}

pub(super) fn conclude_tls(
    connection: &mut Connection,
    mut facts: TlsFacts,
    memory: Memory<'_>,
    sink: &mut dyn Sink,
) {
    let (sessions, shared, fingerprints, counts) = memory;
    let server = connection.server_address();
    let origin = origin(&facts, server, sessions).cloned();
    connection.conclusion = Conclusion::of_tls(&facts, origin.as_ref());
    if connection.missed && !facts.history.starts_with('C') && facts.incomplete.is_some() {
        // What looks like the middle of a handshake can be an encrypted record of a connection that has long been established.
        connection.conclusion = Conclusion::unknown(Protocol::Tls, UnknownReason::MidStream);
    }
    connection.incomplete = connection.incomplete.or(facts.incomplete);
    connection.session_id = facts.session_id;
    connection.inherited_from = origin.as_ref().map(|origin| Box::new(origin.connection));
    let (client_chain, server_chain) = match &origin {
        Some(origin) => (Arc::clone(&origin.client_chain), Arc::clone(&origin.server_chain)),
        None => (
            met(&facts.client_chain, Role::Client, fingerprints, sink),
            met(&facts.server_chain, Role::Server, fingerprints, sink),
        ),
    };
    let issued = std::mem::take(&mut facts.session_issued);
    connection.settled = Some(shared.share(Settled::new(facts, client_chain, server_chain)));
    if let Some(witness) = &mut connection.library {
        witness.hear_wire_anew();
    }
    fuse(connection, shared, counts);
    let lasting = !matches!(
        connection.conclusion.authentication,
        Authentication::Unknown | Authentication::NotEstablished
    );
    if lasting && let Some(settled) = &connection.settled {
        for handle in issued {
            let began = Origin {
                connection: connection.inherited_from.as_deref().copied().unwrap_or(connection.key),
                server,
                authentication: connection.conclusion.authentication,
                client_chain: Arc::clone(&settled.client_chain),
                server_chain: Arc::clone(&settled.server_chain),
            };
            sessions.remember(handle, began);
        }
    }
}

/// The handshake whose session this one resumes. A client offers what it likes: a ticket of another server is none, and a
/// session ID and a ticket of different origins leave open which one the server took.
fn origin<'a>(facts: &TlsFacts, server: Option<SocketAddr>, sessions: &'a Sessions) -> Option<&'a Origin> {
    let origin = sessions.origin(&facts.session_resumed?)?;
    let echoed = facts.session_echoed.and_then(|handle| sessions.origin(&handle));
    let agree = echoed.is_none_or(|echoed| echoed.connection == origin.connection);
    (agree && is_same_server(origin.server?, server?)).then_some(origin)
}

/// Every address of 127.0.0.0/8 is this host, and a server that listens on all of them has one set of keys.
fn is_same_server(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = |address: SocketAddr| matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
    one == other || (one.port() == other.port() && everywhere(one) && everywhere(other))
}

fn met(
    chain: &[bytes::Bytes],
    role: Role,
    fingerprints: &mut Fingerprints,
    sink: &mut dyn Sink,
) -> Arc<[Fingerprint]> {
    if chain.is_empty() {
        return Arc::default();
    }
    let meet = |der| {
        let fingerprint = fingerprints.of(der);
        sink.certificate(der, fingerprint, role);
        fingerprint
    };
    chain.iter().map(meet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::ConnectionKey;
    use crate::event::Timestamp;
    use crate::tls::{ClientOutcome, HandshakeState, ServerAuthentication, SessionHandle, UnknownReason};

    const TICKET: SessionHandle = SessionHandle([1; 32]);
    const ID: SessionHandle = SessionHandle([2; 32]);

    fn began(serial: u64, server: &str) -> Origin {
        Origin {
            connection: ConnectionKey { opened: Timestamp(0), serial },
            server: Some(server.parse().unwrap()),
            authentication: Authentication::Mutual,
            client_chain: Arc::default(),
            server_chain: Arc::default(),
        }
    }

    fn resuming() -> TlsFacts {
        TlsFacts {
            session_resumed: Some(TICKET),
            session_echoed: Some(ID),
            server_authentication: ServerAuthentication::Resumed,
            handshake: HandshakeState::Complete,
            ..TlsFacts::default()
        }
    }

    #[test]
    fn a_session_counts_only_at_its_own_server() {
        let resumes = |origin_server: &str, server: &str| {
            let mut sessions = Sessions::new(8);
            sessions.remember(TICKET, began(1, origin_server));
            origin(&resuming(), Some(server.parse().unwrap()), &sessions).is_some()
        };
        assert!(resumes("10.0.0.2:443", "10.0.0.2:443"));
        assert!(!resumes("10.0.0.2:443", "10.0.0.3:443"));
        assert!(resumes("127.0.1.1:443", "127.0.2.2:443"));
        assert!(!resumes("127.0.1.1:443", "127.0.2.2:444"));
        assert!(!resumes("127.0.1.1:443", "10.0.0.2:443"));
    }

    #[test]
    fn a_ticket_and_a_session_id_of_different_origins_leave_open_which_was_taken() {
        let server = Some("10.0.0.2:443".parse().unwrap());
        for (serial, agrees) in [(1, true), (2, false)] {
            let mut sessions = Sessions::new(8);
            sessions.remember(TICKET, began(1, "10.0.0.2:443"));
            sessions.remember(ID, began(serial, "10.0.0.2:443"));
            assert_eq!(origin(&resuming(), server, &sessions).is_some(), agrees);
        }
    }

    #[test]
    fn a_replayed_ticket_is_no_mutual_authentication() {
        let origin = began(1, "10.0.0.2:443");
        let replayed = Conclusion::of_tls(&resuming(), Some(&origin));
        assert_eq!(replayed.authentication, Authentication::Unknown);
        assert_eq!(replayed.reason, Some(UnknownReason::OutcomeNotVisible));
        let taken = TlsFacts { client_outcome: ClientOutcome::Accepted, ..resuming() };
        assert_eq!(Conclusion::of_tls(&taken, Some(&origin)).authentication, Authentication::Mutual);
    }
}
