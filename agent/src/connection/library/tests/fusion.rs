//! What wire and libraries amount to together.

use super::*;

fn chain(seed: u32) -> Vec<Bytes> {
    vec![certificate(seed, 700), certificate(seed + 1, 600)]
}

/// A handshake between two processes of one host.
fn local(client: Answer) -> Host {
    let mut host = Host::new();
    host.open(1, &[Role::Client, Role::Server]);
    host.accept(1, SERVER);
    host.shake(1, message(&chain(10)), client);
    host
}

fn mutual() -> Answer {
    Answer::Certificate(message(&chain(20)))
}

#[test]
fn chains_of_both_sides_are_known_behind_tls_13() {
    let mut host = local(mutual());
    host.handle(&client_reads(1, SocketBy::Descriptor).list(&chain(10)));
    host.handle(&server_reads(1, SocketBy::LastReceive).list(&chain(20)));
    host.go_on(1);
    let last = host.last(1);
    assert_eq!((last.client, last.server), (prints(&chain(20)), prints(&chain(10))));
    assert_eq!(last.conclusion.authentication, Authentication::Mutual);
    assert_eq!(last.conclusion.server.kind, EvidenceName::Library);
    assert_eq!(last.conclusion.client.kind, EvidenceName::Library);
    assert_eq!((last.disagreement, last.revisions), (None, 1));
    let roles = [(prints(&chain(10)), Role::Server), (prints(&chain(20)), Role::Client)];
    let met = roles.iter().flat_map(|(prints, role)| prints.iter().map(|print| (*print, *role)));
    assert_eq!(host.seen.certificates, met.collect::<Vec<_>>());
}

#[test]
fn what_comes_after_the_verdict_revises_it() {
    let mut host = local(mutual());
    host.go_on(1);
    assert_eq!(host.last(1).conclusion.client.kind, EvidenceName::Inferred);
    host.handle(&server_reads(1, SocketBy::LastReceive).list(&chain(20)));
    let last = host.last(1);
    assert_eq!((last.conclusion.client.kind, last.revisions), (EvidenceName::Library, 2));
    assert_eq!(last.client, prints(&chain(20)));
    // A handshake inside the connection is not the one on record.
    host.handle(&server_reads(1, SocketBy::Descriptor).list(&chain(30)));
    assert_eq!((host.last(1).client, host.count(LibraryOutcome::Disagrees)), (prints(&chain(20)), 1));
}

#[test]
fn a_chain_long_after_the_verdict_is_of_a_handshake_inside_the_connection() {
    let mut host = local(mutual());
    host.go_on(1);
    let Event::LibraryBytes(mut run) = server_reads(1, SocketBy::Descriptor).list(&chain(20)) else {
        unreachable!()
    };
    run.call.at = Timestamp(5 + MAX_DELAY + 1);
    host.handle(&Event::LibraryBytes(run));
    assert_eq!(
        (host.last(1).conclusion.client.kind, host.counts()),
        (EvidenceName::Inferred, [0, 0, 0, 1, 0, 0])
    );
}

#[test]
fn two_libraries_that_agree_are_fine_and_two_that_do_not_are_told() {
    let own = Show { presenter: Presenter::Own, ..client_reads(1, SocketBy::Descriptor) };
    for (seed, disagreement) in [(20, None), (30, Some(DisagreementName::Libraries))] {
        let mut host = local(mutual());
        // One shows the leaf alone.
        host.handle(&own.bytes(LibraryForm::Leaf, &chain(20)[0]));
        host.handle(&server_reads(1, SocketBy::LastReceive).list(&chain(seed)));
        host.go_on(1);
        let last = host.last(1);
        assert_eq!(last.disagreement, disagreement);
        let whole = if disagreement.is_none() { prints(&chain(20)) } else { vec![] };
        assert_eq!(last.client, whole);
        if disagreement.is_some() {
            assert_eq!(last.conclusion.authentication, Authentication::Unknown);
            assert_eq!(last.conclusion.reason, Some(UnknownReason::EvidenceDisagrees));
            assert_eq!(last.conclusion.client.kind, EvidenceName::Unknown);
        }
    }
}

#[test]
fn a_chain_that_the_wire_rules_out_is_a_disagreement_where_the_socket_is_certain() {
    for answer in [Answer::NotAsked, Answer::None, Answer::Certificate(200)] {
        let mut host = local(answer);
        host.go_on(1);
        host.handle(&server_reads(1, SocketBy::Descriptor).list(&chain(20)));
        let last = host.end(1, [0, 0]);
        assert_eq!(last.disagreement, Some(DisagreementName::WireLibrary), "{answer:?}");
        assert_eq!(last.conclusion.authentication, Authentication::Unknown);
        assert_eq!(last.conclusion.reason, Some(UnknownReason::EvidenceDisagrees));
        assert!(last.client.is_empty() && host.counts() == [0, 0, 0, 1, 0, 0]);
    }
}

#[test]
fn what_sizes_cannot_tell_a_library_can_if_it_also_agreed() {
    for (verified, authentication, reason) in [
        (false, Authentication::Unknown, Some(UnknownReason::OutcomeNotVisible)),
        (true, Authentication::Mutual, None),
    ] {
        let mut host = local(Answer::Padded(1024));
        let show = server_reads(1, SocketBy::LastReceive);
        host.handle(&show.list(&chain(20)));
        if verified {
            host.handle(&show.says(LibraryVerdict::Verified));
        }
        host.go_on(1);
        let conclusion = host.end(1, [0, 0]).conclusion;
        assert_eq!((conclusion.authentication, conclusion.reason), (authentication, reason));
        assert_eq!(conclusion.client.kind, EvidenceName::Library);
    }
}

#[test]
fn a_handshake_that_failed_shows_certificates_and_authenticates_nobody() {
    let mut host = local(mutual());
    host.handle(&server_reads(1, SocketBy::LastReceive).list(&chain(20)));
    // An encrypted alert, then the end.
    host.say(1, false, &records(&[2]));
    let last = host.end(1, [0, 0]);
    assert_eq!(last.conclusion.authentication, Authentication::NotEstablished);
    assert_eq!((last.client, last.conclusion.client.kind), (prints(&chain(20)), EvidenceName::Library));
}

/// A handshake of a real peer.
fn replayed(fixture: &str, events: &[Event]) -> Host {
    let mut host = Host::new();
    host.open(1, &[Role::Server]);
    host.accept(1, SERVER);
    for (by_client, bytes) in segments(fixture) {
        host.say(1, by_client, &bytes);
    }
    events.iter().for_each(|event| host.handle(event));
    host
}

#[test]
fn a_chain_in_clear_stays_the_evidence_and_a_library_can_only_agree() {
    let fixture = include_str!("../../../tls/fixtures/12_mutual.hex");
    let mut conversation = tls::Conversation::new();
    for (by_client, bytes) in segments(fixture) {
        let direction = if by_client { tls::Direction::Client } else { tls::Direction::Server };
        conversation.push(direction, &bytes, 0);
    }
    let real = conversation.into_facts().unwrap().client_chain;
    let forged = [certificate(1, 700)];
    let list = |chain: &[Bytes], by| server_reads(1, by).bytes(LibraryForm::List, &list_of(chain, false));

    let mut host = replayed(fixture, &[list(&real, SocketBy::LastReceive)]);
    let last = host.end(1, [0, 0]);
    assert_eq!((last.client, last.conclusion.client.kind), (prints(&real), EvidenceName::Certificate));
    assert_eq!(host.counts(), [1, 0, 0, 0, 0, 0]);

    let mut host = replayed(fixture, &[list(&forged, SocketBy::LastReceive)]);
    let last = host.end(1, [0, 0]);
    assert_eq!((last.client, last.conclusion.authentication), (prints(&real), Authentication::Mutual));
    assert_eq!((last.disagreement, host.counts()), (None, [0, 0, 0, 1, 0, 0]));

    let both = [list(&real, SocketBy::LastReceive), list(&forged, SocketBy::LastReceive)];
    let mut host = replayed(fixture, &both);
    let last = host.end(1, [0, 0]);
    assert_eq!((last.disagreement, last.conclusion.authentication), (None, Authentication::Mutual));

    let mut host = replayed(fixture, &[list(&forged, SocketBy::Descriptor)]);
    let last = host.end(1, [0, 0]);
    assert_eq!((last.client, last.conclusion.authentication), (prints(&real), Authentication::Unknown));
    assert_eq!(last.disagreement, Some(DisagreementName::WireLibrary));
}

#[test]
fn a_resumed_session_shows_no_certificate_and_takes_none() {
    let fixture = include_str!("../../../tls/fixtures/13_resumed.hex");
    let mut host = replayed(fixture, &[server_reads(1, SocketBy::LastReceive).list(&chain(20))]);
    let last = host.end(1, [0, 0]);
    assert_eq!(last.conclusion.reason, Some(UnknownReason::ResumptionOriginNotVisible));
    assert!(last.client.is_empty() && host.counts() == [0, 0, 0, 1, 0, 0]);
}
