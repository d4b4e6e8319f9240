//! Handshakes put together by hand, for what no peer at hand does.

use super::*;

pub(super) const SHA384: u16 = 0x1302;

/// A conversation whose chunks acknowledge all that was sent before.
#[derive(Default)]
pub(super) struct Script {
    pub(super) chunks: Vec<Chunk>,
    sent: [u64; 2],
}

impl Script {
    pub(super) fn say(mut self, direction: Direction, bytes: Vec<u8>) -> Script {
        let side = usize::from(direction == Direction::Server);
        self.chunks.push(Chunk { direction, acknowledged: self.sent[1 - side], bytes });
        self.sent[side] += self.chunks.last().map_or(0, |chunk| chunk.bytes.len() as u64);
        self
    }

    pub(super) fn client(self, bytes: Vec<u8>) -> Script {
        self.say(Direction::Client, bytes)
    }

    pub(super) fn server(self, bytes: Vec<u8>) -> Script {
        self.say(Direction::Server, bytes)
    }

    pub(super) fn facts(&self) -> TlsFacts {
        facts(&self.chunks)
    }

    pub(super) fn decided(&self) -> bool {
        replay(&self.chunks).outlook() == Outlook::Decided
    }
}

pub(super) fn record(content: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[content, 3, 3], &length[..], body].concat()
}

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

pub(super) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    record(22, &message(kind, body))
}

pub(super) fn encrypted(lengths: &[usize]) -> Vec<u8> {
    lengths.iter().flat_map(|&length| record(23, &vec![0xee; length])).collect()
}

pub(super) fn hello(version: u16, suites: &[u8], rest: &[u8], extensions: &[u8]) -> Vec<u8> {
    let list = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    [&version.to_be_bytes(), &[0x5a; 32][..], &[0], suites, rest, &list, extensions].concat()
}

/// A ClientHello of TLS 1.3 with further extensions.
pub(super) fn client_hello(extensions: &[u8]) -> Vec<u8> {
    let all = [&[0, 43, 0, 3, 2, 3, 4], extensions].concat();
    handshake(1, &hello(0x0303, &[0, 2, 0x13, 2], &[1, 0], &all))
}

pub(super) fn server_hello(suite: u16, extensions: &[u8]) -> Vec<u8> {
    let all = [&[0, 43, 0, 2, 3, 4], extensions].concat();
    handshake(2, &hello(0x0303, &suite.to_be_bytes(), &[0], &all))
}

/// TLS 1.3 up to the server's flight.
pub(super) fn modern(flight: &[usize]) -> Script {
    let server = [server_hello(SHA384, &[]), encrypted(flight)].concat();
    Script::default().client(client_hello(&[])).server(server)
}

pub(super) const ONE_RECORD: &[usize] = &[1200];

/// TLS ≤ 1.2 up to the ServerHello.
pub(super) fn classic(version: u16, suite: u16) -> Script {
    let suites = [&[0, 2], &suite.to_be_bytes()[..]].concat();
    Script::default()
        .client(handshake(1, &hello(version, &suites, &[1, 0], &[])))
        .server(handshake(2, &hello(version, &suite.to_be_bytes(), &[0], &[])))
}

pub(super) fn finish() -> Vec<u8> {
    [record(20, &[1]), record(22, &[0xee; 40])].concat()
}

#[test]
fn anonymous_suites_prove_nothing() {
    let script = classic(0x0303, 0xc018)
        .server([handshake(12, &[3, 0, 29, 1, 0]), handshake(14, &[])].concat())
        .client([handshake(16, &[1, 0]), finish()].concat())
        .server(finish());
    let facts = script.facts();
    assert_eq!(facts.server_authentication, ServerAuthentication::Anonymous);
    assert_eq!(facts.client_authentication, ClientAuthentication::NotRequested(Sight::Clear));
    assert_eq!((facts.handshake, facts.group), (HandshakeState::Complete, Some(29)));
    assert_eq!(facts.history, "CsknGIFif");
}

#[test]
fn ecdhe_psk_names_its_group_behind_the_hint() {
    let script = classic(0x0303, 0xc035)
        .server([handshake(12, &[0, 2, b'h', b'i', 3, 0, 23, 0]), handshake(14, &[])].concat());
    let facts = script.facts();
    assert_eq!(facts.server_authentication, ServerAuthentication::ExternalPsk);
    assert_eq!(facts.group, Some(23));
}

#[test]
fn sslv3_says_by_an_alert_that_it_has_no_certificate() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let script = classic(0x0300, 0x000a)
        .server([handshake(11, &chain), handshake(13, &[1, 1, 0, 0]), handshake(14, &[])].concat())
        .client([record(21, &[1, 41]), handshake(16, &[1, 0]), finish()].concat())
        .server(finish());
    let facts = script.facts();
    assert_eq!(facts.version, Some(Version::Ssl3));
    assert_eq!(facts.client_authentication, ClientAuthentication::RequestedNoneSent(Sight::Clear));
    assert_eq!(facts.client_outcome, ClientOutcome::Accepted);
    assert_eq!(facts.alerts, [Alert { from_client: true, level: 1, description: 41 }]);
}

#[test]
fn a_certificate_rejected_in_clear_is_presented_and_rejected() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let script = classic(0x0303, 0xc02f)
        .server([handshake(11, &chain), handshake(13, &[1, 1, 0, 0]), handshake(14, &[])].concat())
        .client([handshake(11, &chain), handshake(16, &[1, 0]), handshake(15, &[4, 3]), finish()].concat())
        .server(record(21, &[2, 48]));
    let facts = script.facts();
    assert_eq!(facts.client_authentication, ClientAuthentication::Presented(Sight::Clear));
    assert_eq!(facts.client_outcome, ClientOutcome::Rejected);
    assert_eq!(facts.handshake, HandshakeState::Failed);
}

#[test]
fn a_certificate_without_proof_of_its_key_is_mutual_only_if_the_key_exchange_is_that_proof() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let accepted = |version, suite, exchange: &[u8]| {
        let script = classic(version, suite)
            .server([handshake(11, &chain), handshake(13, &[1, 1, 0, 0]), handshake(14, &[])].concat())
            .client([handshake(11, &chain), handshake(16, exchange), finish()].concat())
            .server(finish());
        script.facts().client_authentication
    };
    let contradiction = ClientAuthentication::Unknown(UnknownReason::Contradiction);
    let presented = ClientAuthentication::Presented(Sight::Clear);
    for version in [0x0300, 0x0301, 0x0302, 0x0303] {
        // ECDHE_RSA, RSA, DHE_RSA; an empty key exchange makes no difference there.
        for suite in [0xc02f, 0x002f, 0x0033] {
            assert_eq!(accepted(version, suite, &[1, 0]), contradiction, "{version:#x} {suite:#x}");
            assert_eq!(accepted(version, suite, &[]), contradiction, "{version:#x} {suite:#x}");
        }
        // ECDH_ECDSA, DH_RSA: a key of this connection instead of the certified one proves nothing, either.
        for suite in [0xc004, 0x0031] {
            assert_eq!(accepted(version, suite, &[]), presented, "{version:#x} {suite:#x}");
            assert_eq!(accepted(version, suite, &[1, 0]), contradiction, "{version:#x} {suite:#x}");
        }
    }
}

#[test]
fn a_client_certificate_that_no_server_asked_for_is_a_contradiction() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let script = classic(0x0303, 0xc02f)
        .server([handshake(11, &chain), handshake(14, &[])].concat())
        .client([handshake(11, &chain), handshake(16, &[1, 0]), handshake(15, &[4, 3]), finish()].concat())
        .server(finish());
    let expected = ClientAuthentication::Unknown(UnknownReason::Contradiction);
    assert_eq!(script.facts().client_authentication, expected);
}

#[test]
fn a_status_and_tickets_in_clear_are_noted() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let ticket = [0, 0, 1, 44, 0, 3, 1, 2, 3];
    let script = classic(0x0303, 0xc02f)
        .server([handshake(11, &chain), handshake(22, &[1, 0, 0, 0]), handshake(14, &[])].concat())
        .client([handshake(16, &[1, 0]), finish()].concat())
        .server([handshake(4, &ticket), finish()].concat());
    let facts = script.facts();
    assert_eq!(facts.ocsp_staple, Some(true));
    assert_eq!(facts.session_issued, [SessionHandle::of(&[1, 2, 3])]);
    // The same ticket, offered and taken.
    let extension = [0, 35, 0, 3, 1, 2, 3];
    let resumed = Script::default()
        .client(handshake(1, &hello(0x0303, &[0, 2, 0xc0, 0x2f], &[1, 0], &extension)))
        .server(
            [handshake(2, &hello(0x0303, &[0xc0, 0x2f], &[0], &[])), handshake(4, &ticket), finish()]
                .concat(),
        )
        .client(finish());
    let resumed = resumed.facts();
    assert_eq!((resumed.resumption, resumed.handshake), (Resumption::Ticket, HandshakeState::Complete));
    assert_eq!(resumed.session_resumed, Some(facts.session_issued[0]));
    assert_eq!(resumed.session_issued, facts.session_issued);
}

#[test]
fn messages_may_share_records_and_cross_them() {
    let chain = [0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0];
    let flight = [message(11, &chain), message(13, &[1, 1, 0, 0]), message(14, &[])].concat();
    for size in 1..flight.len() {
        let records = flight.chunks(size).flat_map(|piece| record(22, piece)).collect();
        let facts = classic(0x0302, 0x0035).server(records).facts();
        assert_eq!(facts.history, "Csxrn", "records of {size}");
        assert_eq!(facts.server_chain.len(), 1);
    }
}

#[test]
fn a_coalesced_certificate_is_decided_when_the_server_answers_or_data_follows() {
    let presented = ClientAuthentication::Presented(Sight::InferredMedium);
    let alone = modern(ONE_RECORD).client(encrypted(&[607]));
    assert!(!alone.decided());
    let answered = alone.server(encrypted(&[250]));
    assert!(answered.decided());
    let facts = answered.facts();
    assert_eq!((facts.client_authentication, facts.client_outcome), (presented, ClientOutcome::Accepted));
    let with_data = modern(ONE_RECORD).client(encrypted(&[607, 120]));
    assert!(!with_data.decided());
    let facts = with_data.server(encrypted(&[900])).facts();
    assert_eq!((facts.client_authentication, facts.client_outcome), (presented, ClientOutcome::Accepted));
}

#[test]
fn large_answers_do_not_raise_the_confidence() {
    // Tickets that hold a client certificate are larger; but so are answers to data in a shape of Finished.
    let flight = modern(ONE_RECORD).client(encrypted(&[857, 96, 69]));
    let answered = flight.server(encrypted(&[698, 698]));
    assert!(answered.decided());
    assert_eq!(
        answered.facts().client_authentication,
        ClientAuthentication::Presented(Sight::InferredMedium)
    );
}

#[test]
fn an_encrypted_alert_and_the_end_reject() {
    for alert in [19, 35] {
        let script =
            modern(&[23, 66, 900, 96, 69]).client(encrypted(&[857, 96, 69])).server(encrypted(&[alert]));
        assert!(!script.decided());
        let facts = script.facts();
        assert_eq!(facts.client_authentication, ClientAuthentication::Presented(Sight::InferredHigh));
        assert_eq!(
            (facts.client_outcome, facts.handshake),
            (ClientOutcome::Rejected, HandshakeState::Failed)
        );
    }
    // The server answered before it had the whole flight.
    let script = modern(&[23, 66, 900, 96, 69])
        .client(encrypted(&[857]))
        .server(encrypted(&[19]))
        .client(encrypted(&[96, 69]));
    let facts = script.facts();
    assert_eq!(facts.client_authentication, ClientAuthentication::Presented(Sight::InferredHigh));
    assert_eq!(facts.client_outcome, ClientOutcome::Rejected);
    // The end without an answer says nothing.
    let silent = modern(&[23, 66, 900, 96, 69]).client(encrypted(&[857, 96, 69])).facts();
    assert_eq!(
        (silent.client_outcome, silent.handshake),
        (ClientOutcome::Unknown, HandshakeState::Incomplete)
    );
}

#[test]
fn a_ticket_sent_before_the_flight_was_seen_accepts_nothing() {
    let mut script = modern(&[23, 66, 900, 96, 69]).client(encrypted(&[857, 96, 69]));
    let before = script.chunks[1].acknowledged;
    script = script.server(encrypted(&[250]));
    script.chunks.last_mut().unwrap().acknowledged = before;
    let facts = script.facts();
    assert_eq!(facts.client_outcome, ClientOutcome::Unknown);
    assert_eq!(facts.handshake, HandshakeState::Incomplete);
}

#[test]
fn a_client_that_gives_up_fails_the_handshake() {
    let script = modern(&[23, 900, 96, 69]).client(encrypted(&[19]));
    assert!(!script.decided());
    let facts = script.facts();
    assert_eq!(facts.handshake, HandshakeState::Failed);
    assert_eq!(facts.client_authentication, ClientAuthentication::Unknown(UnknownReason::Incomplete));
    assert_eq!(facts.server_authentication, ServerAuthentication::Unknown(UnknownReason::Incomplete));
}

#[test]
fn early_data_is_set_apart_by_what_the_client_had_seen() {
    const EARLY_DATA: &[u8] = &[0, 42, 0, 0];
    const PRE_SHARED_KEY: &[u8] = &[0, 41, 0, 2, 0, 0];
    let opening = || Script::default().client([client_hello(EARLY_DATA), encrypted(&[500])].concat());
    // Accepted.
    let accepted = opening().server([server_hello(SHA384, PRE_SHARED_KEY), encrypted(&[23, 69])].concat());
    let facts = accepted.client(encrypted(&[300, 21, 69])).facts();
    assert!(facts.early_data_sent);
    assert_eq!(facts.handshake, HandshakeState::Complete);
    let origin = ClientAuthentication::Unknown(UnknownReason::ResumptionOriginNotVisible);
    assert_eq!(facts.client_authentication, origin);
    // Its end cannot be placed.
    let accepted = opening().server([server_hello(SHA384, PRE_SHARED_KEY), encrypted(&[23, 69])].concat());
    let facts = accepted.client(encrypted(&[300, 301])).facts();
    assert_eq!(facts.client_authentication, ClientAuthentication::Unknown(UnknownReason::EarlyData));
    // Refused: a full handshake follows.
    let refused = opening().server([server_hello(SHA384, &[]), encrypted(&[23, 66, 900, 96, 69])].concat());
    let facts = refused.client(encrypted(&[857, 96, 69])).facts();
    assert_eq!(facts.client_authentication, ClientAuthentication::Presented(Sight::InferredHigh));
    assert_eq!(facts.resumption, Resumption::No);
}

#[test]
fn an_encrypted_client_hello_and_odd_extensions_are_read() {
    let hello = client_hello(&[
        0xfe, 0x0d, 0, 1, 0, 0x0a, 0x0a, 0, 0, 0, 0, 0, 9, 0, 7, 0, 0, 4, b'a', 0xff, b'.', b'x',
    ]);
    let facts = Script::default().client(hello).facts();
    assert_eq!(facts.encrypted_client_hello, Some(EncryptedClientHello::OuterOrGrease));
    assert_eq!(facts.server_name.as_deref(), Some("a\u{fffd}.x"));
    assert_eq!(facts.version_offered, Some(Version::Tls13));
    let cut = Script::default().client(client_hello(&[0, 16, 0, 9, 0])).facts();
    assert_eq!(cut.incomplete, Some(IncompleteReason::Malformed));
}

#[test]
fn a_third_client_hello_is_refused() {
    let script = Script::default().client([client_hello(&[]), client_hello(&[]), client_hello(&[])].concat());
    assert_eq!(script.facts().incomplete, Some(IncompleteReason::Malformed));
}
