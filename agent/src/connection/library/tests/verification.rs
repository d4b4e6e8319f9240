//! What an end did about its peer's certificate.

use super::super::{fuse::talked, witness::Witness};
use super::*;
use crate::tls::ClientOutcome;
use Library::{BoringSsl, GnuTls, Go, Nss, OpenSsl, Rustls};
use VerificationName::{Custom, FailedOverridden, NotAttempted, Unknown, Verified};

const FAILED: Option<LibraryVerdict> = Some(LibraryVerdict::Failed { code: 10 });
const ATTEMPTED: Option<LibraryVerdict> = Some(LibraryVerdict::Attempted);

fn witness(library: Library, verdict: Option<LibraryVerdict>, joined: Joined, shown: bool) -> Witness {
    let mut witness = Witness::default();
    if shown {
        witness.put(
            Claim {
                presented: Role::Server,
                observer: Role::Client,
                library,
                joined,
                chain: Vec::new(),
                message: tls::MessageSize::default(),
                truncated: false,
                counted: true,
                contradicts: false,
                disputed: false,
            },
            true,
        );
    }
    if let Some(verdict) = verdict {
        witness.verdict(Role::Client, Verdict { verdict, library, joined });
    }
    witness
}

fn facts(handshake: HandshakeState) -> TlsFacts {
    TlsFacts { handshake, ..TlsFacts::default() }
}

#[test]
fn each_library_has_its_own_way_of_not_verifying() {
    let verified = Some(LibraryVerdict::Verified);
    for (library, verdict, spoke, expected) in [
        (OpenSsl, verified, Spoke::NotKnown, Some(Verified)),
        (OpenSsl, FAILED, Spoke::NotKnown, Some(Unknown)),
        (OpenSsl, FAILED, Spoke::Yes, Some(FailedOverridden)),
        (OpenSsl, FAILED, Spoke::No, None),
        (OpenSsl, ATTEMPTED, Spoke::Yes, Some(Custom)),
        (GnuTls, ATTEMPTED, Spoke::Yes, Some(Unknown)),
        (OpenSsl, None, Spoke::Yes, Some(Unknown)),
        (BoringSsl, None, Spoke::Yes, Some(Unknown)),
        (Go, ATTEMPTED, Spoke::NotKnown, Some(Verified)),
        (Go, None, Spoke::NotKnown, Some(NotAttempted)),
        (Nss, None, Spoke::NotKnown, Some(NotAttempted)),
        (GnuTls, None, Spoke::NotKnown, Some(Unknown)),
        (GnuTls, None, Spoke::Yes, Some(NotAttempted)),
        (GnuTls, None, Spoke::No, None),
        (GnuTls, FAILED, Spoke::Yes, Some(FailedOverridden)),
        (Rustls, ATTEMPTED, Spoke::NotKnown, Some(Verified)),
        (Rustls, None, Spoke::NotKnown, Some(Custom)),
    ] {
        let witness = witness(library, verdict, Joined::LastReceive, true);
        let judged = |handshake| witness.judge(Role::Client, &facts(handshake), spoke);
        assert_eq!(judged(HandshakeState::Complete), expected, "{library:?} {verdict:?} {spoke:?}");
        // The verifier did its work, or nothing is known yet.
        assert_eq!(judged(HandshakeState::Failed), None);
        assert_eq!(judged(HandshakeState::Incomplete), Some(Unknown));
        assert_eq!(witness.judge(Role::Server, &facts(HandshakeState::Complete), spoke), None);
    }
}

#[test]
fn where_words_may_be_lost_nothing_is_concluded_from_silence() {
    for (library, verdict, expected) in [
        (Go, None, Some(Unknown)),
        (Nss, None, Some(Unknown)),
        (GnuTls, None, Some(Unknown)),
        (Rustls, None, Some(Unknown)),
        (OpenSsl, ATTEMPTED, Some(Unknown)),
        (GnuTls, FAILED, Some(FailedOverridden)),
        (Go, ATTEMPTED, Some(Verified)),
    ] {
        let mut witness = witness(library, verdict, Joined::LastReceive, true);
        witness.words_lost = true;
        let judged = witness.judge(Role::Client, &facts(HandshakeState::Complete), Spoke::Yes);
        assert_eq!(judged, expected, "{library:?} {verdict:?}");
    }
}

#[test]
fn a_verifier_whose_word_was_lost_is_not_said_to_have_been_silent() {
    use crate::event::LossCause;
    let ended = |lost: bool| {
        let mut host = Host::new();
        let chain = vec![certificate(1, 700)];
        host.open(1, &[Role::Client]);
        host.shake(1, message(&chain), Answer::NotAsked);
        host.handle(&client_reads(1, SocketBy::Descriptor).list(&chain));
        if lost {
            host.handle(&Event::Lost { at: Timestamp(7), cause: LossCause::RingFull, count: 1 });
        }
        host.end(1, [500, 500]).verification
    };
    assert_eq!(ended(false), [Some(NotAttempted), None]);
    assert_eq!(ended(true), [Some(Unknown), None]);
}

#[test]
fn a_word_that_comes_without_a_chain_counts_where_the_socket_is_certain() {
    let complete = facts(HandshakeState::Complete);
    for (joined, expected) in
        [(Joined::Descriptor, Some(Verified)), (Joined::LastReceive, None), (Joined::Fitting, None)]
    {
        let witness = witness(OpenSsl, Some(LibraryVerdict::Verified), joined, false);
        assert_eq!(witness.judge(Role::Client, &complete, Spoke::Yes), expected);
    }
}

#[test]
fn a_server_verifies_nothing_until_it_goes_on() {
    let verdict = Verdict { verdict: LibraryVerdict::Verified, library: Go, joined: Joined::Descriptor };
    let mut witness = Witness::default();
    witness.verdict(Role::Server, verdict);
    let mut facts = facts(HandshakeState::Complete);
    assert_eq!(witness.judge(Role::Server, &facts, Spoke::Yes), Some(Unknown));
    facts.client_outcome = ClientOutcome::Accepted;
    assert_eq!(witness.judge(Role::Server, &facts, Spoke::Yes), Some(Verified));
}

#[test]
fn that_there_was_a_verifier_does_not_replace_what_it_said() {
    let mut witness = witness(OpenSsl, FAILED, Joined::Descriptor, true);
    witness.verdict(
        Role::Client,
        Verdict { verdict: LibraryVerdict::Attempted, library: OpenSsl, joined: Joined::Descriptor },
    );
    let judged = witness.judge(Role::Client, &facts(HandshakeState::Complete), Spoke::Yes);
    assert_eq!(judged, Some(FailedOverridden));
}

/// A client whose library found the server's certificate wanting, and that then said so many bytes.
fn distrustful(beyond: u64) -> Last {
    let chain = [certificate(1, 700)];
    let mut host = Host::new();
    host.open(1, &[Role::Client]);
    host.hello(1);
    host.serve(1, message(&chain), false);
    let show = Show { library: OpenSsl, ..client_reads(1, SocketBy::LastReceive) };
    host.handle(&show.list(&chain));
    host.handle(&Show { socket: None, ..show }.says(LibraryVerdict::Failed { code: 18 }));
    host.answer(1, Answer::NotAsked);
    assert_eq!(host.last(1).verification, [Some(Unknown), None], "it may leave now");
    assert_eq!(host.last(1).server, prints(&chain));
    host.end(1, [beyond, 5000])
}

#[test]
fn who_leaves_after_a_failed_verification_overrides_nothing() {
    // A close_notify alert.
    assert_eq!(distrustful(24).verification, [None, None]);
    assert_eq!(distrustful(0).verification, [None, None]);
    // The shortest request of all: a command of a text protocol.
    assert_eq!(distrustful(22 + 6).verification, [Some(FailedOverridden), None]);
    assert_eq!(distrustful(200).verification, [Some(FailedOverridden), None]);
}

#[test]
fn a_fatal_alert_and_close_notify_are_not_talk() {
    assert_eq!(distrustful(24 + 24).verification, [Some(Unknown), None], "or a request of 26 bytes");
    assert_eq!(distrustful(24 + 25).verification, [Some(FailedOverridden), None]);
}

#[test]
fn up_to_tls_1_2_two_alerts_take_at_most_twice_the_longest() {
    for (bytes, spoke) in
        [(0, Spoke::No), (31, Spoke::No), (35, Spoke::NotKnown), (62, Spoke::NotKnown), (63, Spoke::Yes)]
    {
        assert_eq!(talked(bytes, 31, false), spoke, "{bytes}");
    }
}
