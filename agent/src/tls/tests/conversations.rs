//! What real peers did is what the facts say.

use super::super::stream::MAX_HANDSHAKE_MESSAGE;
use super::*;
use ClientAuthentication::{NotRequested, Presented, RequestedNoneSent, Unknown};
use ServerAuthentication::{Certificate, ExternalPsk, Inferred, Resumed};
use Sight::{Clear, InferredHigh};

/// Name, server, client, outcome, handshake, history up to the first application data.
type Row =
    (&'static str, ServerAuthentication, ClientAuthentication, ClientOutcome, HandshakeState, &'static str);

const INCOMPLETE: ClientAuthentication = Unknown(UnknownReason::Incomplete);
const NOT_SEEN: ClientAuthentication = Unknown(UnknownReason::ResumptionOriginNotSeen);
const NOT_VISIBLE: ClientAuthentication = Unknown(UnknownReason::ResumptionOriginNotVisible);
const OPEN: ClientOutcome = ClientOutcome::Unknown;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("12_dhe_rsa", Certificate, NotRequested(Clear), OPEN, HandshakeState::Complete, "CsxknGIFtif"),
    ("12_mutual", Certificate, Presented(Clear), ClientOutcome::Accepted, HandshakeState::Complete, "CsxkrnXGYIFtif"),
    ("12_mutual_rsa", Certificate, Presented(Clear), ClientOutcome::Accepted, HandshakeState::Complete, "CsxkrnXGYIFtif"),
    ("12_none_sent", Certificate, RequestedNoneSent(Clear), ClientOutcome::Accepted, HandshakeState::Complete, "CsxkrnXGIFtif"),
    ("12_psk", ExternalPsk, NotRequested(Clear), OPEN, HandshakeState::Complete, "CsnGIFtif"),
    ("12_refused_by_client", Certificate, NotRequested(Clear), OPEN, HandshakeState::Failed, "CsxknL"),
    ("12_required_none_sent", Certificate, RequestedNoneSent(Clear), ClientOutcome::Rejected, HandshakeState::Failed, "CsxkrnXGIFl"),
    ("12_resumed", Resumed, NOT_SEEN, ClientOutcome::Accepted, HandshakeState::Complete, "CsifIF"),
    ("12_resumed_id", Resumed, NOT_SEEN, ClientOutcome::Accepted, HandshakeState::Complete, "CsifIF"),
    ("12_server_only", Certificate, NotRequested(Clear), OPEN, HandshakeState::Complete, "CsxknGIFtif"),
    ("13_early", Resumed, NOT_VISIBLE, OPEN, HandshakeState::Complete, "CIDsid"),
    ("13_mutual", Inferred, Presented(InferredHigh), ClientOutcome::Accepted, HandshakeState::Complete, "CsidID"),
    ("13_mutual_rsa", Inferred, Presented(InferredHigh), ClientOutcome::Accepted, HandshakeState::Complete, "CsidID"),
    ("13_none_sent", Inferred, RequestedNoneSent(InferredHigh), ClientOutcome::Accepted, HandshakeState::Complete, "CsidID"),
    ("13_padded", Inferred, Unknown(UnknownReason::PaddingOrUnrecognised), OPEN, HandshakeState::Complete, "CsidID"),
    ("13_psk", Resumed, NOT_VISIBLE, OPEN, HandshakeState::Complete, "CsidID"),
    ("13_refused_by_client", ServerAuthentication::Unknown(UnknownReason::Incomplete), INCOMPLETE, OPEN, HandshakeState::Failed, "CsidL"),
    ("13_required_none_sent", Inferred, RequestedNoneSent(InferredHigh), ClientOutcome::Rejected, HandshakeState::Failed, "CsidID"),
    ("13_resumed", Resumed, NOT_VISIBLE, OPEN, HandshakeState::Complete, "CsidID"),
    ("13_retry", Inferred, NotRequested(InferredHigh), OPEN, HandshakeState::Complete, "CjiICsdD"),
    ("13_retry_mutual", Inferred, Presented(InferredHigh), ClientOutcome::Accepted, HandshakeState::Complete, "CjiICsdD"),
    ("13_server_only", Inferred, NotRequested(InferredHigh), OPEN, HandshakeState::Complete, "CsidID"),
    ("13_sha256_mutual", Inferred, Presented(InferredHigh), ClientOutcome::Accepted, HandshakeState::Complete, "CsidID"),
    ("13_version_refused", ServerAuthentication::Unknown(UnknownReason::Incomplete), INCOMPLETE, OPEN, HandshakeState::Failed, "Cl"),
];

#[test]
fn real_handshakes_are_told_apart() {
    assert_eq!(TABLE.len(), FIXTURES.len());
    for &(name, server, client, outcome, handshake, history) in TABLE {
        let facts = facts(&load(name));
        let seen =
            (facts.server_authentication, facts.client_authentication, facts.client_outcome, facts.handshake);
        assert_eq!(seen, (server, client, outcome, handshake), "{name}: {facts:?}");
        assert!(facts.history.starts_with(history), "{name}: {}", facts.history);
        assert_eq!(facts.incomplete, None, "{name}");
        let complete = handshake == HandshakeState::Complete;
        assert_eq!(facts.session_id.is_some(), !name.ends_with("version_refused"), "{name}");
        assert!(!complete || facts.version.is_some() && facts.cipher_suite.is_some(), "{name}");
    }
}

#[test]
fn the_facts_of_the_hellos_are_given() {
    let facts = facts(&load("12_server_only"));
    assert_eq!((facts.version_offered, facts.version), (Some(Version::Tls12), Some(Version::Tls12)));
    assert_eq!(
        facts.cipher_suite.and_then(cipher_suite_name),
        Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
    );
    assert_eq!(facts.group.and_then(group_name), Some("x25519"));
    assert_eq!(facts.server_name.as_deref(), Some("srv.example"));
    assert_eq!(facts.alpn_offered, ["h2", "http/1.1"]);
    assert_eq!(facts.resumption, Resumption::No);
    assert_eq!(facts.server_chain.len(), 2);
    let modern = super::facts(&load("13_retry"));
    assert!(
        modern.hello_retry_request && !modern.early_data_offered && modern.encrypted_client_hello.is_none()
    );
    assert_eq!((modern.version, modern.group), (Some(Version::Tls13), Some(24)));
    assert_eq!(modern.version.map(Version::name).as_deref(), Some("1.3"));
    let early = super::facts(&load("13_early"));
    assert!(early.early_data_offered && early.early_data_sent);
    assert_eq!(early.resumption, Resumption::Psk);
}

#[test]
fn both_chains_are_kept_up_to_tls_1_2() {
    let facts = facts(&load("12_mutual"));
    assert_eq!((facts.server_chain.len(), facts.client_chain.len()), (2, 2));
    assert!(facts.client_chain.iter().chain(&facts.server_chain).all(|der| der[0] == 0x30));
    assert!(super::facts(&load("12_none_sent")).client_chain.is_empty());
}

#[test]
fn resumptions_link_to_what_was_issued() {
    let by_ticket = facts(&load("12_resumed"));
    assert_eq!(by_ticket.resumption, Resumption::Ticket);
    assert!(by_ticket.session_resumed.is_some());
    let by_id = facts(&load("12_resumed_id"));
    assert_eq!(by_id.resumption, Resumption::SessionId);
    assert!(by_id.session_resumed.is_some());
    assert_eq!(facts(&load("12_server_only")).session_issued.len(), 1);
}

#[test]
fn alerts_in_clear_are_kept_with_their_sender() {
    let alerts = facts(&load("12_required_none_sent")).alerts;
    assert_eq!(alerts, [Alert { from_client: false, level: 2, description: 40 }]);
    assert_eq!(alert_name(alerts[0].description), Some("handshake_failure"));
    let refused = facts(&load("12_refused_by_client")).alerts;
    assert!(refused[0].from_client && refused[0].level == 2);
}

#[test]
fn a_connection_is_decided_as_soon_as_it_can_be() {
    // The chunk whose bytes decide: the server's Finished, the client's Finished, the server's tickets.
    let cases = [
        ("12_server_only", 4),
        ("12_mutual", 4),
        ("13_server_only", 3),
        ("13_mutual", 4),
        ("13_none_sent", 4),
    ];
    for (name, needed) in cases {
        let chunks = load(name);
        assert!(matches!(replay(&chunks[..needed - 1]).outlook(), Outlook::Undecided { .. }), "{name}");
        assert_eq!(replay(&chunks[..needed]).outlook(), Outlook::Decided, "{name}");
    }
}

#[test]
fn encrypted_bodies_need_not_be_seen() {
    for (name, _) in FIXTURES {
        let chunks = load(name);
        let mut conversation = Conversation::new();
        for chunk in &chunks {
            let mut bytes = &chunk.bytes[..];
            while !bytes.is_empty() {
                let skippable = usize::try_from(conversation.skippable(chunk.direction)).unwrap();
                let skipped = skippable.min(bytes.len());
                conversation.skip(chunk.direction, skipped as u64, chunk.acknowledged);
                bytes = &bytes[skipped..];
                if let Some((first, rest)) = bytes.split_first() {
                    conversation.push(chunk.direction, &[*first], chunk.acknowledged);
                    bytes = rest;
                }
            }
        }
        conversation.closed(true);
        assert_eq!(conversation.into_facts().unwrap(), facts(&chunks), "{name}");
    }
}

#[test]
fn what_is_not_tls_shows_its_first_bytes() {
    let mut conversation = Conversation::new();
    assert_eq!(conversation.reading(), Reading::Undetermined);
    conversation.push(Direction::Client, &[b'G'; 1000], 0);
    assert_eq!(conversation.reading(), Reading::NotTls);
    conversation.push(Direction::Server, b"HTTP/1.1", 16);
    assert_eq!(conversation.cleartext(), (&[b'G'; PEEK][..], &b"HTTP/1.1"[..]));
    assert_eq!(conversation.outlook(), Outlook::Undecided { wanted_client: 256, wanted_server: 256 });
    conversation.closed(false);
    assert_eq!(conversation.outlook(), Outlook::Decided);
    let mut banner = Conversation::new();
    banner.push(Direction::Server, b"SSH-2.0-x\r\n", 0);
    assert_eq!(banner.reading(), Reading::NotTls);
}

#[test]
fn a_clear_answer_to_a_client_hello_is_a_failed_handshake_in_either_order() {
    let hello = &load("13_mutual")[0];
    for server_first in [false, true] {
        let mut conversation = Conversation::new();
        if server_first {
            conversation.push(Direction::Server, b"HTTP/1.1 400 Bad Request\r\n", hello.bytes.len() as u64);
        }
        conversation.push(Direction::Client, &hello.bytes, 0);
        if !server_first {
            conversation.push(Direction::Server, b"HTTP/1.1 400 Bad Request\r\n", hello.bytes.len() as u64);
        }
        let Reading::Tls(facts) = conversation.reading() else { panic!("not TLS") };
        assert_eq!(facts.handshake, HandshakeState::Failed);
        assert_eq!(conversation.outlook(), Outlook::Decided);
    }
}

#[test]
fn a_claimed_length_of_16_megabytes_costs_nothing() {
    let mut conversation = Conversation::new();
    conversation.push(Direction::Client, &[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 3, 3], 0);
    let Reading::Tls(facts) = conversation.reading() else { panic!("not TLS") };
    assert_eq!(facts.incomplete, Some(IncompleteReason::Truncated));
    assert_eq!(facts.client_authentication, Unknown(UnknownReason::Truncated));
    const { assert!(MAX_HANDSHAKE_MESSAGE < 1 << 24) };
}

#[test]
fn garbage_behind_a_hello_is_malformed() {
    for garbage in
        [&[0x16, 3, 3, 0, 0][..], &[0x16, 3, 3, 0x50, 0], &[0x99, 3, 3, 0, 1, 0], &[0x17, 9, 9, 0, 9]]
    {
        let mut chunks = load("12_mutual");
        chunks.truncate(2);
        chunks[1].bytes.extend_from_slice(garbage);
        let facts = facts(&chunks);
        assert_eq!(facts.incomplete, Some(IncompleteReason::Malformed), "{garbage:?}");
    }
}

#[test]
fn a_loss_in_the_handshake_is_named_and_one_behind_it_is_not() {
    let chunks = load("12_mutual");
    let mut lossy = replay(&chunks[..2]);
    lossy.broken(Direction::Client, IncompleteReason::Lost);
    lossy.push(Direction::Client, &chunks[2].bytes, chunks[2].acknowledged);
    lossy.push(Direction::Server, &chunks[3].bytes, chunks[3].acknowledged);
    assert_eq!(lossy.outlook(), Outlook::Decided);
    let facts = lossy.into_facts().unwrap();
    assert_eq!(facts.client_authentication, Unknown(UnknownReason::Lost));
    assert_eq!(facts.server_authentication, Certificate);
    assert_eq!(facts.incomplete, Some(IncompleteReason::Lost));
    for name in ["12_mutual", "13_mutual", "13_server_only"] {
        let mut decided = replay(&load(name)[..4]);
        decided.broken(Direction::Client, IncompleteReason::Budget);
        decided.broken(Direction::Server, IncompleteReason::Budget);
        let facts = decided.into_facts().unwrap();
        assert_eq!(facts.incomplete, None, "{name}");
        assert_eq!(facts.handshake, HandshakeState::Complete, "{name}");
    }
}

#[test]
fn a_connection_whose_beginning_was_not_seen_says_so() {
    let mut conversation = Conversation::new();
    conversation.broken(Direction::Client, IncompleteReason::MidStream);
    conversation.broken(Direction::Server, IncompleteReason::MidStream);
    conversation.push(Direction::Client, &[0x17, 3, 3, 0, 30], 0);
    assert_eq!(conversation.reading(), Reading::Undetermined);
    assert_eq!(conversation.outlook(), Outlook::Decided);
    let mut half = Conversation::new();
    half.broken(Direction::Client, IncompleteReason::MidStream);
    half.push(Direction::Server, &load("12_mutual")[1].bytes, 208);
    let facts = half.into_facts().unwrap();
    assert_eq!(facts.handshake, HandshakeState::MidStream);
    assert_eq!(facts.server_authentication, Certificate);
}

#[test]
fn a_handshake_inside_an_established_connection_hides_client_authentication() {
    let mut chunks = load("12_server_only");
    // HelloRequest, encrypted: 4 bytes, 8 of nonce, 16 of tag.
    let mut hello_request = vec![22, 3, 3, 0, 28];
    hello_request.extend([0; 28]);
    chunks.insert(4, Chunk { direction: Direction::Server, acknowledged: 319, bytes: hello_request });
    let facts = facts(&chunks);
    assert_eq!(facts.client_authentication, Unknown(UnknownReason::Renegotiation));
    assert_eq!(facts.handshake, HandshakeState::Complete);
}

/// What a client sends to begin another handshake: a ClientHello, encrypted.
fn another_handshake() -> Vec<u8> {
    [&[22, 3, 3, 0, 80][..], &[0xee; 80]].concat()
}

#[test]
fn another_handshake_takes_back_only_that_the_client_showed_nothing() {
    let renegotiated = Unknown(UnknownReason::Renegotiation);
    for (name, expected) in [
        ("12_server_only", Some(renegotiated)),
        ("12_none_sent", Some(renegotiated)),
        ("12_resumed", Some(renegotiated)),
        ("12_psk", Some(renegotiated)),
        ("12_mutual", None),
        ("13_server_only", None),
    ] {
        let before = facts(&load(name));
        let mut chunks = load(name);
        chunks.push(Chunk {
            direction: Direction::Client,
            acknowledged: 1 << 20,
            bytes: another_handshake(),
        });
        let after = facts(&chunks);
        assert_eq!(after.client_authentication, expected.unwrap_or(before.client_authentication), "{name}");
        assert_eq!(replay(&load(name)).renegotiation_watch().is_some(), expected.is_some(), "{name}");
    }
}

#[test]
fn a_watch_goes_on_at_any_byte_where_the_conversation_was_left() {
    let mut chunks = load("12_server_only");
    // The server's last record is cut.
    chunks.pop();
    let last = chunks.pop().unwrap();
    let rest = [last.bytes, another_handshake()].concat();
    let mut watched = 0;
    for cut in 0..=rest.len() {
        let mut conversation = replay(&chunks);
        conversation.push(last.direction, &rest[..cut], last.acknowledged);
        let Some(mut watch) = conversation.renegotiation_watch() else { continue };
        watch.push(last.direction, &rest[cut..]);
        assert!(watch.has_seen_one(), "left after {cut} bytes");
        watched += 1;
    }
    assert!(watched > 10);
}
