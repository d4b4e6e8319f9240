//! Which connection a chain belongs to: the right one, or none.

use proptest::prelude::*;

use super::*;

const LAST_RECEIVE: SocketBy = SocketBy::LastReceive;

/// Chains of clients that differ in nothing but their content.
fn client_chain(number: u16) -> Vec<Bytes> {
    vec![certificate(u32::from(number), 700), certificate(9999, 600)]
}

/// So many handshakes at once, all with chains of one size, up to where the server has them.
fn crowd(numbers: std::ops::RangeInclusive<u16>) -> Host {
    let mut host = Host::new();
    for number in numbers {
        host.open(number, &[Role::Server]);
        host.accept(number, SERVER);
        host.shake(number, 900, Answer::Certificate(message(&client_chain(number))));
    }
    host
}

#[test]
fn fifty_handshakes_of_one_process_get_their_own_chains() {
    let mut host = crowd(1..=50);
    for number in (1..=50).rev() {
        let show = Show { thread: u32::from(number % 4), ..server_reads(number, LAST_RECEIVE) };
        host.handle(&show.list(&client_chain(number)));
    }
    for number in 1..=50 {
        host.go_on(number);
        let last = host.last(number);
        assert_eq!(last.client, prints(&client_chain(number)), "{number}");
        assert_eq!(last.conclusion.authentication, Authentication::Mutual);
        let client = last.conclusion.client;
        assert_eq!((client.kind, client.confidence), (EvidenceName::Library, Some(ConfidenceName::High)));
    }
    assert_eq!(host.counts(), [50, 0, 0, 0, 0, 0]);
}

#[test]
fn without_a_socket_what_fits_several_belongs_to_none() {
    let mut host = crowd(1..=50);
    for number in 1..=50 {
        let show = Show { socket: None, ..server_reads(number, LAST_RECEIVE) };
        host.handle(&show.list(&client_chain(number)));
    }
    for number in 1..=50 {
        host.go_on(number);
        assert!(host.last(number).client.is_empty());
        assert_eq!(host.last(number).conclusion.client.kind, EvidenceName::Inferred);
    }
    assert_eq!(host.counts(), [0, 0, 50, 0, 0, 0]);
    assert!(host.seen.certificates.is_empty());
}

#[test]
fn without_a_socket_the_only_one_that_fits_is_taken_at_medium_confidence() {
    let mut host = crowd(1..=1);
    // Of another size, another process, and one that is over.
    host.open(2, &[Role::Server]);
    host.accept(2, SERVER);
    host.shake(2, 900, Answer::Certificate(1000));
    host.open(3, &[Role::Server]);
    host.accept(3, SERVER + 1);
    host.shake(3, 900, Answer::Certificate(message(&client_chain(1))));
    let show = Show { socket: None, ..server_reads(1, LAST_RECEIVE) };
    host.handle(&show.list(&client_chain(1)));
    host.go_on(1);
    let last = host.last(1);
    assert_eq!(last.client, prints(&client_chain(1)));
    assert_eq!(last.conclusion.client.confidence, Some(ConfidenceName::Medium));
    // The next one finds its connection taken.
    host.handle(&show.list(&client_chain(1)));
    assert_eq!(host.counts(), [1, 0, 0, 0, 1, 0]);
}

#[test]
fn a_socket_that_any_process_may_hold_makes_a_chain_ambiguous() {
    let mut host = crowd(1..=1);
    host.open(2, &[Role::Server]);
    host.shake(2, 900, Answer::Certificate(message(&client_chain(1))));
    let show = Show { socket: None, ..server_reads(1, LAST_RECEIVE) };
    host.handle(&show.list(&client_chain(1)));
    assert_eq!(host.counts(), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_wrong_socket_is_noticed_by_the_sizes() {
    for (what, answer) in [
        ("smaller", Answer::Certificate(600)),
        ("none", Answer::None),
        ("not asked", Answer::NotAsked),
        ("one byte more", Answer::Certificate(message(&client_chain(1)) + 1)),
    ] {
        let mut host = Host::new();
        host.open(1, &[Role::Server]);
        host.accept(1, SERVER);
        host.shake(1, 900, answer);
        host.handle(&server_reads(1, LAST_RECEIVE).list(&client_chain(1)));
        host.go_on(1);
        let last = host.end(1, [0, 0]);
        assert!(last.client.is_empty(), "{what}");
        assert_ne!(last.conclusion.client.kind, EvidenceName::Library, "{what}");
        assert_eq!((last.disagreement, host.counts()), (None, [0, 0, 0, 1, 0, 0]), "{what}");
        assert!(host.seen.certificates.is_empty(), "{what}");
    }
}

#[test]
fn the_word_on_a_chain_that_was_refused_is_refused_too() {
    let mut host = crowd(1..=2);
    let one = server_reads(1, LAST_RECEIVE);
    host.handle(&one.list(&client_chain(1)));
    host.handle(&one.says(LibraryVerdict::Verified));
    // The same thread parses a chain that came another way, while its last receive still names this connection.
    host.handle(&one.list(&[certificate(5, 300)]));
    host.handle(&one.says(LibraryVerdict::Failed { code: 20 }));
    // And a thread that has shown no chain has no word.
    host.handle(
        &Show { thread: 3, ..server_reads(2, LAST_RECEIVE) }.says(LibraryVerdict::Failed { code: 20 }),
    );
    host.go_on(1);
    host.go_on(2);
    assert_eq!(host.last(1).verification, [None, Some(VerificationName::Verified)]);
    assert_eq!(host.last(2).verification, [None, None]);
}

#[test]
fn a_peers_leaf_before_the_server_hello_is_somebody_elses() {
    let mut host = Host::new();
    host.open(1, &[Role::Server]);
    host.accept(1, SERVER);
    let show = server_reads(1, LAST_RECEIVE);
    host.handle(&show.bytes(LibraryForm::Leaf, &certificate(1, 700)));
    assert_eq!(host.counts(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_socket_that_the_library_names_outweighs_one_that_was_concluded() {
    let mut host = crowd(1..=1);
    host.handle(&server_reads(1, LAST_RECEIVE).list(&client_chain(7)));
    host.handle(&server_reads(1, SocketBy::Descriptor).list(&client_chain(1)));
    host.go_on(1);
    assert_eq!(host.last(1).client, prints(&client_chain(1)));
}

#[test]
fn of_two_chains_of_one_handshake_whose_sockets_were_concluded_neither_is_believed() {
    for verdict_first in [false, true] {
        let mut host = crowd(1..=1);
        let show = server_reads(1, LAST_RECEIVE);
        if verdict_first {
            host.go_on(1);
        }
        host.handle(&show.list(&client_chain(7)));
        host.handle(&show.says(LibraryVerdict::Verified));
        // Another thread, to which the connection was handed over.
        host.handle(&Show { thread: 2, ..show }.list(&client_chain(1)));
        if !verdict_first {
            host.go_on(1);
        }
        let last = host.last(1);
        assert_eq!((last.client.len(), last.disagreement), (0, Some(DisagreementName::Libraries)));
        assert_eq!(last.conclusion.authentication, Authentication::Unknown);
        assert_eq!(last.conclusion.reason, Some(UnknownReason::EvidenceDisagrees));
        assert_eq!(last.verification, [None, Some(VerificationName::Unknown)]);
        // The first was counted before there was another one.
        let counts = if verdict_first { [2, 0, 0, 1, 0, 0] } else { [1, 0, 0, 2, 0, 0] };
        assert_eq!(host.counts(), counts, "and the word on it");
        // The one that the first was taken for cannot be told any more.
        host.handle(&show.list(&client_chain(7)));
        assert_eq!(host.last(1).disagreement, Some(DisagreementName::Libraries));
    }
}

#[test]
fn what_a_client_receives_after_its_own_flight_is_of_a_handshake_inside_the_connection() {
    for (received_at, disagreement) in [(4, Some(DisagreementName::Libraries)), (6, None)] {
        let mut host = Host::new();
        host.open(1, &[Role::Client]);
        host.shake(1, message(&client_chain(1)), Answer::NotAsked);
        let show = client_reads(1, LAST_RECEIVE);
        host.handle(&show.list(&client_chain(1)));
        // A proxy's handshake is over, and the server's behind it begins.
        let socket =
            show.socket.map(|socket| LibrarySocket { received_at: Timestamp(received_at), ..socket });
        host.handle(&Show { socket, ..show }.list(&client_chain(7)));
        let last = host.last(1);
        assert_eq!((last.disagreement, last.server.is_empty()), (disagreement, disagreement.is_some()));
    }
}

#[test]
fn a_socket_that_is_not_known_is_not_replaced_by_one_that_fits() {
    let mut host = crowd(1..=1);
    host.handle(&server_reads(77, LAST_RECEIVE).list(&client_chain(1)));
    host.go_on(1);
    assert!(host.last(1).client.is_empty());
    assert_eq!(host.counts(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_chain_before_its_flight_is_held_against_it_at_the_end() {
    let chain = [certificate(1, 700), certificate(2, 600)];
    let size = message(&chain);
    // Extensions of certificates that come one by one are not shown.
    for (listed, sent, fits) in
        [(false, size, true), (false, size - 605, false), (true, size, true), (true, size + 4, false)]
    {
        let mut host = Host::new();
        host.open(1, &[Role::Server]);
        host.accept(1, SERVER);
        host.hello(1);
        let own = Show { presenter: Presenter::Own, ..server_reads(1, LAST_RECEIVE) };
        if listed {
            host.handle(&own.list(&chain));
        } else {
            host.handle(&own.bytes(LibraryForm::Leaf, &chain[0]));
            host.handle(&own.bytes(LibraryForm::Following, &chain[1]));
        }
        host.serve(1, sent, false);
        host.answer(1, Answer::NotAsked);
        let last = host.last(1);
        let (kind, counts) = match fits {
            true => (EvidenceName::Library, [1, 0, 0, 0, 0, 0]),
            false => (EvidenceName::Inferred, [0, 0, 0, 1, 0, 0]),
        };
        assert_eq!(last.server, if fits { prints(&chain) } else { vec![] });
        assert_eq!((last.conclusion.server.kind, host.counts()), (kind, counts));
        assert_eq!(last.conclusion.authentication, Authentication::ServerOnly);
    }
}

#[test]
fn a_word_on_the_peer_may_come_after_the_own_chain() {
    let mut host = crowd(1..=1);
    let peer = server_reads(1, LAST_RECEIVE);
    host.handle(&peer.list(&client_chain(1)));
    let own = [certificate(3, 892 - 5)];
    host.handle(&Show { presenter: Presenter::Own, ..peer }.list(&own));
    host.handle(&peer.says(LibraryVerdict::Verified));
    host.go_on(1);
    let last = host.last(1);
    assert_eq!((last.client, last.server), (prints(&client_chain(1)), prints(&own)));
    assert_eq!(last.verification, [None, Some(VerificationName::Verified)]);
    assert_eq!(host.counts(), [3, 0, 0, 0, 0, 0]);
}

#[test]
fn certificates_that_come_one_by_one_keep_to_their_own_chain() {
    let mut host = crowd(1..=2);
    let [one, two] = [1, 2].map(|number| server_reads(number, LAST_RECEIVE));
    let two = Show { thread: 2, ..two };
    for (position, form) in [(0, LibraryForm::Leaf), (1, LibraryForm::Following)] {
        for (number, show) in [(1, one), (2, two)] {
            host.handle(&show.bytes(form, &client_chain(number)[position]));
        }
    }
    // Another socket's, and one that there is no room for in the flight.
    host.handle(&Show { thread: 1, ..two }.bytes(LibraryForm::Following, &certificate(5, 300)));
    assert_eq!(host.counts(), [0, 0, 0, 0, 1, 0]);
    for number in [1, 2] {
        host.go_on(number);
        assert_eq!(host.last(number).client, prints(&client_chain(number)));
    }
    host.handle(&one.bytes(LibraryForm::Following, &certificate(6, 300)));
    assert_eq!(host.counts(), [2, 0, 0, 1, 1, 0]);
}

#[test]
fn a_chain_of_a_connection_without_a_handshake_is_on_none() {
    let mut host = Host::new();
    host.open(1, &[Role::Server]);
    let show = server_reads(1, SocketBy::Descriptor);
    host.handle(&show.list(&client_chain(1)));
    host.say(1, true, b"GET / HTTP/1.1\r\n\r\n");
    host.handle(&show.bytes(LibraryForm::Leaf, &client_chain(1)[0]));
    let last = host.end(1, [0, 0]);
    assert_eq!((last.conclusion.authentication, last.client.len()), (Authentication::None, 0));
    assert_eq!(host.counts(), [0, 0, 0, 0, 2, 0]);
}

#[test]
fn who_makes_the_handshake_holds_the_socket() {
    let mut host = crowd(1..=1);
    let worker = Show { pid: SERVER + 1, ..server_reads(1, LAST_RECEIVE) };
    host.handle(&worker.list(&client_chain(1)));
    host.go_on(1);
    let holders = [(SERVER, OwnerSource::GetPeerName), (SERVER + 1, OwnerSource::Library)];
    assert_eq!(host.last(1).holders, holders);
}

#[test]
fn a_truncated_chain_shows_that_there_was_one() {
    let mut host = Host::new();
    host.open(1, &[Role::Server]);
    host.accept(1, SERVER);
    host.shake(1, 900, Answer::Certificate(70_000));
    let show = server_reads(1, LAST_RECEIVE);
    let Event::LibraryBytes(run) = show.bytes(LibraryForm::List, &[0x30; 10]) else { unreachable!() };
    let run = LibraryBytes { total: 70_000 - 8, bytes: vec![0x30; MAX_WHOLE].into(), ..*run };
    host.handle(&Event::LibraryBytes(Box::new(run)));
    host.go_on(1);
    let last = host.last(1);
    assert_eq!((last.conclusion.client.kind, last.client.len()), (EvidenceName::Library, 0));
    assert_eq!(last.conclusion.authentication, Authentication::Mutual);
    assert_eq!(host.counts(), [0, 1, 0, 0, 0, 0]);
}

/// What happens on one of the connections of a random run, in the order of its steps.
fn step(host: &mut Host, number: u16, step: u8) {
    let chain = client_chain(number);
    let thread = u32::from(number % 3);
    let show = Show { thread, ..server_reads(number, LAST_RECEIVE) };
    let run = |offset: usize, end: usize| {
        let list = list_of(&chain, true);
        let Event::LibraryBytes(run) = show.bytes(LibraryForm::List, &list) else { unreachable!() };
        let bytes = run.bytes.slice(offset..end.min(list.len()));
        Event::LibraryBytes(Box::new(LibraryBytes { offset: offset as u32, bytes, ..*run }))
    };
    match step {
        0 => host.open(number, &[Role::Server]),
        1 => host.accept(number, SERVER),
        2 => host.hello(number),
        3 => host.serve(number, 900, true),
        4 => host.answer(number, Answer::Certificate(message(&chain))),
        5 => host.handle(&run(0, 500)),
        6 => host.handle(&run(500, 4096)),
        7 => host.go_on(number),
        _ => drop(host.end(number, [0, 0])),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_handshakes_interleave_no_chain_lands_on_another_connection(
        order in proptest::collection::vec(0..8_u16, 20..120),
        strayed in proptest::collection::vec((0..120_usize, 0..8_u16), 0..6),
    ) {
        let mut host = Host::new();
        let mut steps = [0; 8];
        for (moment, number) in order.into_iter().enumerate() {
            if steps[usize::from(number)] < 9 {
                step(&mut host, number, steps[usize::from(number)]);
                steps[usize::from(number)] += 1;
            }
            // Threads that name no socket, in between.
            for (_, stray) in strayed.iter().filter(|(at, _)| *at == moment) {
                let show = Show { socket: None, thread: 9, ..server_reads(*stray, LAST_RECEIVE) };
                let in_flight = steps[usize::from(*stray)] == 5;
                if in_flight {
                    host.handle(&show.list(&client_chain(*stray)));
                }
            }
        }
        for (number, last) in &host.seen.last {
            let own = prints(&client_chain(*number));
            prop_assert!(last.client.is_empty() || last.client == own, "{number}");
        }
    }
}
