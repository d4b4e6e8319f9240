//! SSLv3 to TLS 1.2: what the messages in clear say (RFC 5246 section 7.3, RFC 5077, RFC 6101).

use super::handshake::Handshake;
use super::message::kind;
use super::outline::{Outline, What};
use super::stream::{APPLICATION_DATA, HANDSHAKE};
use super::suite::{Proof, suite_has_static_keys};
use super::{
    ClientAuthentication, ClientOutcome, HandshakeState, Resumption, ServerAuthentication, Sight,
    UnknownReason,
};

/// The SSLv3 alert in place of an empty Certificate (RFC 6101 section 5.4.2).
const NO_CERTIFICATE: u8 = 41;
/// Bytes of a handshake message without its body (RFC 5246 section 7.4).
const MESSAGE_HEADER: u64 = 4;

/// Sets the facts that follow from both outlines. Returns whether they are final, but for renegotiation.
pub(super) fn conclude(handshake: &mut Handshake) -> bool {
    let resumed = resumed(&handshake.server.outline);
    let unseen = handshake.unseen();
    let failed = handshake.has_fatal_alert();
    let (client, server) = (&handshake.client.outline, &handshake.server.outline);
    let facts = &mut handshake.facts;
    let complete = client.finished() > 0 && server.finished() > 0;
    let rejection = server.fatal_alert().is_some();
    let suite = facts.cipher_suite.unwrap_or_default();

    match resumed {
        None => {}
        Some(true) => {
            let offer = handshake.offer.as_ref();
            let chosen = handshake.choice.as_ref().and_then(|choice| choice.session_id);
            let offered = offer.and_then(|offer| offer.session_id).map(|id| id.handle());
            facts.session_echoed = chosen.filter(|chosen| offered == Some(*chosen));
            (facts.resumption, facts.session_resumed) =
                match (offer.and_then(|offer| offer.ticket), facts.session_echoed) {
                    (Some(ticket), _) => (Resumption::Ticket, Some(ticket)),
                    (None, Some(echoed)) => (Resumption::SessionId, Some(echoed)),
                    (None, None) => (Resumption::Unknown, None),
                };
            facts.server_authentication = ServerAuthentication::Resumed;
            // The server finishes first here: only what it sends after the client's Finished says that it took it.
            let end = client.encrypted(HANDSHAKE).next().map(|entry| entry.end);
            let took = |end| server.encrypted(APPLICATION_DATA).any(|entry| entry.acknowledged >= end);
            facts.client_outcome =
                if end.is_some_and(took) { ClientOutcome::Accepted } else { ClientOutcome::Unknown };
            facts.client_authentication =
                ClientAuthentication::Unknown(UnknownReason::ResumptionOriginNotSeen);
            facts.session_issued.clone_from(&handshake.tickets_issued);
        }
        Some(false) => {
            facts.resumption = Resumption::No;
            let issued = handshake.choice.as_ref().and_then(|choice| choice.session_id);
            facts.session_issued =
                issued.into_iter().chain(handshake.tickets_issued.iter().copied()).collect();
            let proof = handshake.choice.as_ref().map(|choice| choice.proof).unwrap_or_default();
            facts.server_authentication = if proof == Proof::None {
                ServerAuthentication::Anonymous
            } else if proof == Proof::ExternalKey {
                ServerAuthentication::ExternalPsk
            } else if !facts.server_chain.is_empty() {
                ServerAuthentication::Certificate
            } else if facts.server_public_key.is_some() {
                ServerAuthentication::RawPublicKey
            } else if handshake.unread.server {
                ServerAuthentication::Unknown(UnknownReason::CertificateType)
            } else if server.contains(kind::SERVER_HELLO_DONE) {
                ServerAuthentication::Anonymous
            } else {
                ServerAuthentication::Unknown(unseen)
            };
            let has_shown = !facts.client_chain.is_empty() || facts.client_public_key.is_some();
            facts.client_authentication = if handshake.unread.client {
                ClientAuthentication::Unknown(UnknownReason::CertificateType)
            } else {
                client_authentication(suite, client, server, has_shown, unseen)
            };
            facts.client_outcome = match facts.client_authentication {
                ClientAuthentication::Presented(_) | ClientAuthentication::RequestedNoneSent(_) => {
                    if server.change_cipher_spec().is_some() {
                        ClientOutcome::Accepted
                    } else if rejection {
                        ClientOutcome::Rejected
                    } else {
                        ClientOutcome::Unknown
                    }
                }
                _ => ClientOutcome::Unknown,
            };
        }
    }

    if server.contains(kind::SERVER_HELLO_DONE) {
        facts.ocsp_staple.get_or_insert(false);
    }
    if complete {
        facts.handshake = HandshakeState::Complete;
        // Finished is the only encrypted handshake record of a handshake; another one begins the next.
        if client.finished() > 1 || server.finished() > 1 {
            facts.note_renegotiation();
        }
    } else if failed {
        facts.handshake = HandshakeState::Failed;
    }
    let awaited = resumed == Some(true)
        && facts.client_outcome == ClientOutcome::Unknown
        && handshake.closed.is_none()
        && handshake.server.broken().is_none();
    (complete && !awaited) || facts.handshake == HandshakeState::Failed
}

/// Whether the handshake is abbreviated: after ServerHello the server changes its keys at once, or after a new ticket.
fn resumed(server: &Outline) -> Option<bool> {
    let mut after = server
        .entries()
        .iter()
        .skip_while(|entry| entry.what != What::Message(kind::SERVER_HELLO))
        .skip(1)
        .filter(|entry| !matches!(entry.what, What::Alert { .. }));
    let mut next = after.next()?;
    if next.what == What::Message(kind::NEW_SESSION_TICKET) {
        next = after.next()?;
    }
    Some(next.what == What::ChangeCipherSpec)
}

/// Whether the client's key exchange is its certificate's: only a static Diffie-Hellman key proves itself by Finished, and
/// the message that would carry another one is empty (RFC 5246 section 7.4.7.2, RFC 8422 section 5.7).
fn exchanges_certified_key(suite: u16, client: &Outline) -> bool {
    let exchange = client.find(kind::CLIENT_KEY_EXCHANGE);
    suite_has_static_keys(suite) && exchange.is_some_and(|entry| entry.end - entry.start == MESSAGE_HEADER)
}

fn client_authentication(
    suite: u16,
    client: &Outline,
    server: &Outline,
    has_shown: bool,
    unseen: UnknownReason,
) -> ClientAuthentication {
    let no_certificate = client
        .entries()
        .iter()
        .any(|entry| matches!(entry.what, What::Alert { description: NO_CERTIFICATE, .. }));
    let asked = server.contains(kind::CERTIFICATE_REQUEST);
    if (client.contains(kind::CERTIFICATE) || no_certificate)
        && !asked
        && server.contains(kind::SERVER_HELLO_DONE)
    {
        // RFC 5246 section 7.4.6: only if the server asked. A server that did not would have refused it.
        return ClientAuthentication::Unknown(UnknownReason::Contradiction);
    }
    if client.contains(kind::CERTIFICATE) {
        if !has_shown {
            return ClientAuthentication::RequestedNoneSent(Sight::Clear);
        }
        // A certificate alone proves nothing. One that can sign comes with CertificateVerify, before ChangeCipherSpec
        // (RFC 5246 section 7.4.8): a server that goes on without it has not authenticated anyone.
        let unsigned = !client.contains(kind::CERTIFICATE_VERIFY) && client.change_cipher_spec().is_some();
        let proven = client.contains(kind::CERTIFICATE_VERIFY)
            || server.fatal_alert().is_some()
            || exchanges_certified_key(suite, client);
        return if unsigned && !exchanges_certified_key(suite, client) {
            ClientAuthentication::Unknown(UnknownReason::Contradiction)
        } else if proven {
            ClientAuthentication::Presented(Sight::Clear)
        } else {
            ClientAuthentication::Unknown(unseen)
        };
    }
    if no_certificate {
        return ClientAuthentication::RequestedNoneSent(Sight::Clear);
    }
    if !asked && server.contains(kind::SERVER_HELLO_DONE) {
        return ClientAuthentication::NotRequested(Sight::Clear);
    }
    ClientAuthentication::Unknown(unseen)
}
