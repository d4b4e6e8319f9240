//! Raw public keys in place of certificates (RFC 7250).

use sha2::{Digest, Sha256};

use super::made::*;
use super::*;

/// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 section 10.1).
const KEY: [u8; 44] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0x19, 0xbf, 0x44, 0x09, 0x69,
    0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8, 0x50, 0x86, 0xaa, 0x30, 0xb6,
    0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1,
];
const OFFER: &[u8] = &[0, 19, 0, 3, 2, 2, 0, 0, 20, 0, 3, 2, 2, 0];
const CHOICE: &[u8] = &[0, 19, 0, 1, 2, 0, 20, 0, 1, 2];

fn certificate(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    handshake(11, &[&length[1..], body].concat())
}

fn digest() -> Option<[u8; 32]> {
    Some(Sha256::digest(KEY).into())
}

/// Both sides show a certificate message with that body.
fn script(offer: &[u8], choice: &[u8], server: &[u8], client: &[u8]) -> Script {
    Script::default()
        .client(handshake(1, &hello(0x0303, &[0, 2, 0xc0, 0x2b], &[1, 0], offer)))
        .server(
            [
                handshake(2, &hello(0x0303, &[0xc0, 0x2b], &[0], choice)),
                certificate(server),
                handshake(12, &[3, 0, 29, 1, 0]),
                handshake(13, &[1, 64, 0, 0]),
                handshake(14, &[]),
            ]
            .concat(),
        )
        .client(
            [certificate(client), handshake(16, &[1, 0]), handshake(15, &[4, 3, 0, 0]), finish()].concat(),
        )
        .server(finish())
}

#[test]
fn a_raw_key_authenticates_without_being_taken_for_a_certificate() {
    let script = script(OFFER, CHOICE, &KEY, &KEY);
    let facts = script.facts();
    assert_eq!(facts.server_authentication, ServerAuthentication::RawPublicKey);
    assert_eq!(facts.client_authentication, ClientAuthentication::Presented(Sight::Clear));
    assert_eq!((facts.client_outcome, facts.handshake), (ClientOutcome::Accepted, HandshakeState::Complete));
    assert_eq!((facts.server_public_key, facts.client_public_key), (digest(), digest()));
    assert!(facts.server_chain.is_empty() && facts.client_chain.is_empty() && facts.incomplete.is_none());
    assert_eq!(facts.client_certificate_type, Some(CertificateType::RawPublicKey));
    assert_eq!(facts.server_certificate_type.unwrap().name(), "raw_public_key");
    assert!(facts.raw_public_key_offered);
    // Whichever direction is observed first.
    let (client, server): (Vec<_>, Vec<_>) =
        script.chunks.iter().cloned().partition(|chunk| chunk.direction == Direction::Client);
    assert_eq!(super::facts(&[client.clone(), server.clone()].concat()), facts);
    assert_eq!(super::facts(&[server, client].concat()), facts);
}

#[test]
fn a_client_without_a_key_showed_none() {
    let facts = script(OFFER, CHOICE, &KEY, &[]).facts();
    assert_eq!(facts.client_authentication, ClientAuthentication::RequestedNoneSent(Sight::Clear));
    assert_eq!(facts.client_public_key, None);
}

#[test]
fn an_offer_that_was_not_taken_leaves_certificates() {
    let chain = [0, 0, 4, 0x30, 2, 5, 0];
    let facts = script(OFFER, &[], &chain, &chain).facts();
    assert_eq!(facts.server_authentication, ServerAuthentication::Certificate);
    assert_eq!((facts.server_chain.len(), facts.client_chain.len()), (1, 1));
    assert_eq!((facts.server_certificate_type, facts.client_certificate_type), (None, None));
}

#[test]
fn a_key_that_nobody_agreed_on_is_malformed() {
    let facts = script(&[], &[], &KEY, &KEY).facts();
    assert_eq!(facts.incomplete, Some(IncompleteReason::Malformed));
    assert_eq!((facts.server_public_key, facts.client_public_key), (None, None));
}

#[test]
fn what_is_not_read_is_unknown_and_not_anonymous() {
    // OpenPGP by cert_type (RFC 6091): a key descriptor, not a chain.
    let facts = script(&[0, 9, 0, 2, 1, 1], &[0, 9, 0, 1, 1], &[3, 1, 2, 3], &[3, 1, 2, 3]).facts();
    assert_eq!(facts.server_authentication, ServerAuthentication::Unknown(UnknownReason::CertificateType));
    assert_eq!(facts.client_authentication, ClientAuthentication::Unknown(UnknownReason::CertificateType));
    assert_eq!(facts.incomplete, None);
    assert_eq!(facts.server_certificate_type, Some(CertificateType::OpenPgp));
}
