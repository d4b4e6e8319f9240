//! SSLv2's format, and drafts of TLS 1.3.

use super::made::*;
use super::*;

fn ssl2(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap() | 0x8000;
    [&length.to_be_bytes(), message].concat()
}

/// CLIENT-HELLO with two cipher specs, of which one is of TLS, and a challenge of 16 bytes.
fn ssl2_client(version: u16) -> Vec<u8> {
    let specs = [1, 0, 0x80, 0, 0, 0x35];
    ssl2(&[&[1], &version.to_be_bytes()[..], &[0, 6, 0, 0, 0, 16], &specs, &[0x77; 16]].concat())
}

const DER: [u8; 4] = [0x30, 2, 5, 0];

fn ssl2_server() -> Vec<u8> {
    ssl2(&[&[4, 0, 1, 0, 2, 0, 4, 0, 3, 0, 16][..], &DER, &[1, 0, 0x80], &[9; 16]].concat())
}

fn ssl2_conversation() -> Script {
    Script::default()
        .client(ssl2_client(0x0002))
        .server(ssl2_server())
        .client(ssl2(&[&[2][..], &[7; 40]].concat()))
        .server(ssl2(&[5; 33]))
        .client(ssl2(&[6; 33]))
        .server(ssl2(&[6; 50]))
}

fn by_direction(script: &Script) -> [TlsFacts; 2] {
    let (client, server): (Vec<_>, Vec<_>) =
        script.chunks.iter().cloned().partition(|chunk| chunk.direction == Direction::Client);
    [facts(&[client.clone(), server.clone()].concat()), facts(&[server, client].concat())]
}

#[test]
fn a_hello_in_the_old_format_can_open_tls() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let script = Script::default()
        .client(ssl2_client(0x0301))
        .server(
            [handshake(2, &hello(0x0301, &[0, 0x35], &[0], &[])), handshake(11, &chain), handshake(14, &[])]
                .concat(),
        )
        .client([handshake(16, &[1, 0]), finish()].concat())
        .server(finish());
    let facts = script.facts();
    assert_eq!((facts.version_offered, facts.version), (Some(Version::Tls10), Some(Version::Tls10)));
    assert_eq!(facts.server_authentication, ServerAuthentication::Certificate);
    assert_eq!(facts.client_authentication, ClientAuthentication::NotRequested(Sight::Clear));
    assert_eq!((facts.handshake, &facts.history[..]), (HandshakeState::Complete, "CsxnGIFif"));
    assert!(facts.session_id.is_some() && facts.ja4.is_none());
    assert_eq!(by_direction(&script), [facts.clone(), facts]);
}

#[test]
fn a_server_that_stays_with_sslv2_is_named() {
    let facts = ssl2_conversation().facts();
    assert_eq!(facts.version.unwrap().name(), "SSLv2");
    assert_eq!(facts.version_offered, Some(Version::Ssl2));
    assert_eq!(facts.server_authentication, ServerAuthentication::Certificate);
    assert_eq!(facts.server_chain, [&DER[..]]);
    let unread = ClientAuthentication::Unknown(UnknownReason::VersionNotEvaluated);
    assert_eq!((facts.client_authentication, facts.handshake), (unread, HandshakeState::Complete));
    assert_eq!((facts.incomplete, &facts.history[..]), (None, "CsG"));
    assert_eq!(by_direction(&ssl2_conversation()), [facts.clone(), facts]);
    assert!(ssl2_conversation().decided());
}

#[test]
fn an_sslv2_handshake_that_ended_with_an_error_was_not_completed() {
    let mut script = ssl2_conversation();
    script.chunks.truncate(4);
    assert_eq!(script.facts().handshake, HandshakeState::Incomplete);
}

#[test]
fn of_every_prefix_in_the_old_format_the_facts_only_grow() {
    let whole = ssl2_conversation();
    let mut conversation = Conversation::new();
    let mut version = None;
    for chunk in &whole.chunks {
        for byte in &chunk.bytes {
            conversation.push(chunk.direction, &[*byte], chunk.acknowledged);
            if let Reading::Tls(facts) = conversation.reading() {
                assert!(version.is_none() || facts.version == version);
                version = facts.version;
                assert_eq!(facts.incomplete, None);
            }
        }
    }
    conversation.closed(true);
    assert_eq!(conversation.into_facts(), Some(whole.facts()));
}

#[test]
fn the_old_format_is_not_seen_in_anything_else() {
    let hello = ssl2_client(0x0002);
    // Lengths that do not add up, other versions, other messages.
    for (at, byte) in [(0, 0x81), (1, 0x20), (2, 3), (3, 4), (4, 9), (6, 5), (8, 3), (10, 15), (10, 33)] {
        let mut other = hello.clone();
        other[at] = byte;
        let mut conversation = Conversation::new();
        conversation.push(Direction::Client, &other, 0);
        assert_eq!(conversation.reading(), Reading::NotTls, "byte {at}");
    }
    // ONC RPC's record mark, and random bytes.
    for other in [&[0x80, 0, 0, 0x28, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0][..], &[0xc3; 20]] {
        let mut conversation = Conversation::new();
        conversation.push(Direction::Client, other, 0);
        assert_eq!(conversation.reading(), Reading::NotTls);
    }
}

#[test]
fn the_old_format_survives_damage() {
    let script = ssl2_conversation();
    for index in 0..2 {
        let length = script.chunks[index].bytes.len();
        for at in 0..length {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = script.chunks.clone();
                damaged[index].bytes[at] = byte;
                let mut conversation = replay(&damaged);
                conversation.closed(true);
                damaged[index].bytes.truncate(at);
                replay(&damaged).closed(true);
            }
        }
    }
}

#[test]
fn versions_are_ordered_by_preference_and_named() {
    let names = [
        "SSLv2",
        "SSLv3",
        "1.0",
        "1.1",
        "1.2",
        "1.3-experiment-2",
        "1.3-fb-26",
        "1.3-draft",
        "1.3-draft-18",
        "1.3-draft-28",
        "1.3",
    ];
    let versions = [
        Version::Ssl2,
        Version::Ssl3,
        Version::Tls10,
        Version::Tls11,
        Version::Tls12,
        Version::Tls13Experiment(2),
        Version::Tls13Facebook(26),
        Version::Tls13Draft(0),
        Version::Tls13Draft(18),
        Version::Tls13Draft(28),
        Version::Tls13,
    ];
    assert!(versions.is_sorted());
    for (version, name) in versions.into_iter().zip(names) {
        assert_eq!(version.name(), name);
        assert_eq!(version.is_modern(), name.starts_with("1.3"));
    }
}

/// A ClientHello that offers a version by extension alone.
fn offering(version: u16) -> Vec<u8> {
    let [high, low] = version.to_be_bytes();
    handshake(1, &hello(0x0303, &[0, 2, 0x13, 2], &[1, 0], &[0, 43, 0, 3, 2, high, low]))
}

#[test]
fn drafts_in_the_final_form_are_read_like_the_final_version() {
    for (version, expected) in [
        (0x7f1c_u16, Version::Tls13Draft(28)),
        (0x7f16, Version::Tls13Draft(22)),
        (0xfb17, Version::Tls13Facebook(23)),
        (0xfb1a, Version::Tls13Facebook(26)),
    ] {
        let [high, low] = version.to_be_bytes();
        // key_share under its old number.
        let extensions = [0, 40, 0, 4, 0, 29, 0, 0, 0, 43, 0, 2, high, low];
        let script = Script::default()
            .client(offering(version))
            .server(
                [
                    handshake(2, &hello(0x0303, &[0x13, 2], &[0], &extensions)),
                    encrypted(&[23, 66, 900, 96, 69]),
                ]
                .concat(),
            )
            .client(encrypted(&[857, 96, 69]))
            .server(encrypted(&[250]));
        let facts = script.facts();
        assert_eq!((facts.version_offered, facts.version), (Some(expected), Some(expected)));
        assert_eq!(facts.group, Some(29));
        assert_eq!(facts.client_authentication, ClientAuthentication::Presented(Sight::InferredHigh));
        assert_eq!(facts.client_outcome, ClientOutcome::Accepted);
    }
}

/// A ServerHello before draft 22: no session ID, no compression.
fn early_server_hello(version: u16) -> Vec<u8> {
    let extensions = [0, 40, 0, 4, 0, 29, 0, 0];
    handshake(2, &[&version.to_be_bytes()[..], &[0x5a; 32], &[0x13, 2, 0, 8], &extensions].concat())
}

#[test]
fn drafts_before_are_named_and_not_guessed_at() {
    let script = Script::default()
        .client(offering(0x7f12))
        .server([early_server_hello(0x7f12), encrypted(&[23, 66, 900, 96, 69])].concat())
        .client(encrypted(&[857, 96, 69]))
        .server(encrypted(&[250]));
    let facts = script.facts();
    assert_eq!(facts.version.unwrap().name(), "1.3-draft-18");
    assert_eq!((facts.cipher_suite, facts.group), (Some(0x1302), Some(29)));
    let reason = UnknownReason::VersionNotEvaluated;
    assert_eq!(facts.client_authentication, ClientAuthentication::Unknown(reason));
    assert_eq!(facts.server_authentication, ServerAuthentication::Unknown(reason));
    assert_eq!((facts.handshake, facts.incomplete), (HandshakeState::Complete, None));
    assert!(script.decided() && facts.session_id.is_some());
    assert_eq!(by_direction(&script), [facts.clone(), facts]);
}

#[test]
fn a_draft_can_ask_for_another_hello_by_a_message_of_its_own() {
    let retry = handshake(6, &[&[0x7f, 0x12, 0, 6][..], &[0, 40, 0, 2, 0, 23]].concat());
    let script = Script::default()
        .client(offering(0x7f12))
        .server(retry.clone())
        .client(offering(0x7f12))
        .server([early_server_hello(0x7f12), encrypted(&[100])].concat());
    let facts = script.facts();
    assert!(facts.hello_retry_request && facts.incomplete.is_none());
    assert_eq!((facts.version, &facts.history[..]), (Some(Version::Tls13Draft(18)), "CjCsd"));
    // Twice is once too often; and no such message since.
    let twice = Script::default().client(offering(0x7f12)).server([retry.clone(), retry].concat());
    assert_eq!(twice.facts().incomplete, Some(IncompleteReason::Malformed));
    let late = Script::default().client(offering(0x7f1c)).server(handshake(6, &[0x7f, 0x1c, 0, 0]));
    assert_eq!(late.facts().incomplete, Some(IncompleteReason::Malformed));
}

#[test]
fn the_first_drafts_called_themselves_final() {
    let script = Script::default().client(offering(0x0304)).server(early_server_hello(0x0304));
    let facts = script.facts();
    assert_eq!((facts.version.unwrap().name(), facts.incomplete), ("1.3-draft".into(), None));
    assert_eq!(facts.cipher_suite, Some(0x1302));
    let later = Script::default().client(offering(0x7f1c)).server(early_server_hello(0x7f1c)).facts();
    assert_eq!((later.version, later.incomplete), (None, Some(IncompleteReason::Malformed)));
}

#[test]
fn an_experiment_is_named_and_not_guessed_at() {
    let extensions = [0, 40, 0, 4, 0, 29, 0, 0, 0, 43, 0, 2, 0x7e, 1];
    let hello = handshake(2, &hello(0x0303, &[0x13, 1], &[0], &extensions));
    let facts = Script::default()
        .client(offering(0x7e01))
        .server([hello, encrypted(&[38, 900])].concat())
        .client(encrypted(&[53]))
        .facts();
    assert_eq!((facts.version.unwrap().name(), facts.group), ("1.3-experiment-1".into(), Some(29)));
    let reason = UnknownReason::VersionNotEvaluated;
    assert_eq!(facts.client_authentication, ClientAuthentication::Unknown(reason));
}
