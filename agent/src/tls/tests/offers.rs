//! What a client offers, and what of it was answered in clear.

use super::made::*;
use super::*;

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn offered(extensions: &[u8]) -> TlsFacts {
    Script::default().client(client_hello(extensions)).facts()
}

#[test]
fn every_recorded_client_has_a_fingerprint_of_what_it_sent() {
    for (name, _) in FIXTURES {
        let facts = facts(&load(name));
        let fingerprint = facts.ja4.unwrap();
        let text = fingerprint.text();
        assert_eq!((text.len(), &text[10..11], &text[23..24]), (36, "_", "_"), "{name}: {text}");
        let version = if facts.version_offered == Some(Version::Tls13) { "t13" } else { "t12" };
        let named = if facts.server_name.is_some() { 'd' } else { 'i' };
        assert!(text.starts_with(version) && text.chars().nth(3) == Some(named), "{name}: {text}");
    }
}

#[test]
fn the_fingerprint_is_that_of_the_first_hello() {
    let retried = load("13_retry");
    let first = facts(&retried[..1]).ja4;
    assert!(first.is_some());
    assert_eq!(facts(&retried).ja4, first);
}

#[test]
fn a_fingerprint_takes_the_protocol_as_it_was_sent() {
    let facts = offered(&extension(16, &[0, 5, 4, b'a', 0xff, 0xfe, b'z']));
    assert!(facts.ja4.as_ref().unwrap().text().starts_with("t13i0102az_"), "{:?}", facts.ja4);
    let facts = offered(&extension(16, &[0, 3, 2, 0xff, 0xfe]));
    assert!(facts.ja4.as_ref().unwrap().text().starts_with("t13i0102fe_"), "{:?}", facts.ja4);
}

#[test]
fn forms_of_an_encrypted_hello_are_told_apart_as_far_as_they_can_be() {
    for (kind, body, expected) in [
        (0xfe0d, &[0, 0, 1][..], EncryptedClientHello::OuterOrGrease),
        (0xfe0d, &[1], EncryptedClientHello::Inner),
        (0xfe0d, &[], EncryptedClientHello::Unrecognised),
        (0xfe0d, &[7], EncryptedClientHello::Unrecognised),
        (0xffce, &[0x13, 1], EncryptedClientHello::ServerName),
    ] {
        assert_eq!(offered(&extension(kind, body)).encrypted_client_hello, Some(expected));
    }
    let both = [extension(0xffce, &[]), extension(0xfe0d, &[0])].concat();
    assert_eq!(offered(&both).encrypted_client_hello, Some(EncryptedClientHello::OuterOrGrease));
    assert_eq!(offered(&[]).encrypted_client_hello, None);
}

#[test]
fn delegated_credentials_and_compression_are_offers() {
    let facts = offered(&[extension(34, &[0, 2, 4, 3]), extension(27, &[4, 0, 2, 0x12, 0x34])].concat());
    assert!(facts.delegated_credential_offered);
    assert_eq!(facts.certificate_compression_offered, [2, 0x1234]);
    let plain = offered(&[]);
    assert!(!plain.delegated_credential_offered && plain.certificate_compression_offered.is_empty());
    // No more are kept than the bound.
    let many = [&[254][..], &[0, 1].repeat(127)].concat();
    assert_eq!(offered(&extension(27, &many)).certificate_compression_offered.len(), MAX_COMPRESSIONS);
}

#[test]
fn offers_that_are_cut_lose_nothing_else() {
    for kind in [9, 13, 19, 20, 27, 34, 0xfe0d, 0xffce] {
        for body in [&[][..], &[9], &[9, 0], &[0, 9, 0]] {
            let facts = offered(&[extension(kind, body), extension(0, &[0, 4, 0, 0, 1, b'a'])].concat());
            assert_eq!(facts.server_name.as_deref(), Some("a"), "extension {kind:#x} {body:?}");
        }
    }
}

#[test]
fn a_staple_is_missing_only_once_the_servers_flight_ended() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let begun = classic(0x0303, 0xc02f).server(handshake(11, &chain));
    assert_eq!(begun.facts().ocsp_staple, None);
    assert_eq!(begun.server(handshake(14, &[])).facts().ocsp_staple, Some(false));
    let stapled =
        classic(0x0303, 0xc02f).server([handshake(11, &chain), handshake(22, &[1, 0, 0, 0])].concat());
    assert_eq!(stapled.facts().ocsp_staple, Some(true));
    // TLS 1.3 encrypts it.
    assert_eq!(facts(&load("13_mutual")).ocsp_staple, None);
    // A resumed handshake shows no certificate.
    assert_eq!(facts(&load("12_resumed")).ocsp_staple, None);
}

#[test]
fn a_warning_before_the_hello_is_read_in_either_order() {
    // unrecognized_name, then a flight larger than what is kept of a direction that is not known yet.
    let chain = [&[0, 8, 3, 0, 8, 0][..], &[0x30; 2048]].concat();
    let flight = [
        record(21, &[1, 112]),
        handshake(2, &hello(0x0303, &[0xc0, 0x2f], &[0], &[])),
        handshake(11, &chain),
        handshake(14, &[]),
    ]
    .concat();
    let opening = handshake(1, &hello(0x0303, &[0, 2, 0xc0, 0x2f], &[1, 0], &[]));
    let script = Script::default().client(opening).server(flight);
    let facts = script.facts();
    assert_eq!((facts.server_chain.len(), facts.alerts.len(), facts.incomplete), (1, 1, None));
    let reversed: Vec<_> = script.chunks.iter().rev().cloned().collect();
    assert_eq!(super::facts(&reversed), facts);
}

#[test]
fn a_long_answer_observed_first_does_not_lower_the_confidence() {
    let script = modern(&[23, 900, 96, 69]).client(encrypted(&[69])).server(encrypted(&[400; 200]));
    let facts = script.facts();
    assert_eq!(facts.client_authentication, ClientAuthentication::NotRequested(Sight::InferredHigh));
    let (server, client): (Vec<_>, Vec<_>) =
        script.chunks.iter().cloned().partition(|chunk| chunk.direction == Direction::Server);
    assert_eq!(super::facts(&[server, client].concat()), facts);
}

#[test]
fn what_is_broken_behind_the_handshake_is_not_missing_in_either_order() {
    let script = classic(0x0303, 0xc02f)
        .server([handshake(11, &[0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0]), handshake(14, &[])].concat())
        .client([handshake(16, &[1, 0]), finish()].concat())
        .server([finish(), b"no record at all".to_vec()].concat());
    let facts = script.facts();
    assert_eq!((facts.handshake, facts.incomplete), (HandshakeState::Complete, None));
    let (server, client): (Vec<_>, Vec<_>) =
        script.chunks.iter().cloned().partition(|chunk| chunk.direction == Direction::Server);
    assert_eq!(super::facts(&[server, client].concat()), facts);
}
