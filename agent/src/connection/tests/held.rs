//! What all connections hold together, and who gives way when that is too much.

use super::*;
use crate::tls::IncompleteReason;

const BOUND: usize = 1 << 20;
/// Connections that each hold some 17 KB: ten times what the bound allows.
const MANY: u32 = 600;

fn small_table(of_capture: bool) -> Connections {
    let limits =
        Limits { connections: 4096, sessions: 8, start_budget: 32 << 10, max_budget: 128 << 10, held: BOUND };
    Connections { of_capture, ..Connections::new(limits) }
}

fn socket(number: u32) -> SocketCookie {
    SocketCookie(u64::from(number) + 100)
}

/// The same event at a socket of its own.
fn of(number: u32, event: Event) -> Event {
    let port = u16::try_from(1024 + number).unwrap();
    match event {
        Event::Established(event) => Event::Established(Established {
            socket: socket(number),
            pair: AddressPair { local: SocketAddr::new(event.pair.local.ip(), port), ..event.pair },
            first_sent: CLIENT_FIRST + (number << 16),
            ..event
        }),
        Event::Segment(event) => {
            let shift = |sequence: u32| sequence.wrapping_add(number << 16);
            let (sequence, acknowledged) = match event.travel {
                Travel::Sent => (shift(event.sequence), event.acknowledged),
                Travel::Received => (event.sequence, shift(event.acknowledged)),
            };
            Event::Segment(Segment {
                owner: SegmentOwner::Socket(socket(number)),
                sequence,
                acknowledged,
                ..event
            })
        }
        Event::Closed(event) => Event::Closed(Closed { socket: socket(number), ..event }),
        other => other,
    }
}

/// The first hundred bytes are missing.
fn behind_a_hole() -> Vec<Event> {
    let mut events = vec![established(2, CLIENT, Role::Client, client_pair())];
    events.extend((0..12).map(|place| {
        let sequence = CLIENT_FIRST + 100 + 1400 * place;
        segment(CLIENT, Travel::Sent, sequence, SERVER_FIRST, &[b'z'; 1400])
    }));
    events
}

/// A ServerHello, and the first quarter of a Certificate.
fn half_a_certificate() -> Vec<Event> {
    let record = |body: &[u8]| [&[22, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat();
    let client = record(&[&[1, 0, 0, 41, 3, 3][..], &[1; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat());
    let server = record(&[&[2, 0, 0, 38, 3, 3][..], &[7; 32], &[0, 0xc0, 0x2f, 0]].concat());
    let certificate = [&[11, 0, 0xf0, 0, 0, 0xef, 0xfd, 0, 0xef, 0xfa][..], &[b'k'; 15_000]].concat();
    let server = [server, record(&certificate)].concat();
    let mut events = vec![
        established(2, CLIENT, Role::Client, client_pair()),
        segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, &client),
    ];
    events.extend(server.chunks(1400).enumerate().map(|(index, part)| {
        let sequence = SERVER_FIRST + 1400 * index as u32;
        segment(CLIENT, Travel::Received, sequence, CLIENT_FIRST + client.len() as u32, part)
    }));
    events
}

/// What it says it holds is what its connections hold.
fn held(table: &Connections) -> usize {
    let of = |connection: &Connection| {
        connection.reading.as_ref().map_or(0, |reading| reading.held())
            + connection.watched.as_ref().map_or(0, |watched| watched.held())
    };
    let held = table.iter().map(of).sum();
    assert_eq!(table.sizes().held, held);
    held
}

#[test]
fn connections_that_never_go_on_hold_no_more_than_the_bound_and_the_oldest_give_way() {
    for (what, events) in [("hole", behind_a_hole()), ("certificate", half_a_certificate())] {
        for of_capture in [true, false] {
            let (mut table, mut seen) = (small_table(of_capture), Seen::default());
            for number in 0..MANY {
                for event in &events {
                    table.handle(of(number, event.clone()), &mut seen);
                    assert!(table.sizes().held <= BOUND, "{what}");
                }
            }
            assert!(held(&table) > BOUND / 2, "{what}: there is room for some");
            let mut open: Vec<&Connection> = table.iter().collect();
            open.sort_unstable_by_key(|connection| connection.client.as_ref().unwrap().socket.0);
            let cut = table.sizes().readings_cut as usize;
            assert!(cut > 500 && cut < open.len(), "{what}: {cut}");
            for (index, connection) in open.iter().enumerate() {
                let gave_way = index < cut;
                assert_eq!(connection.decided.is_some(), gave_way, "{what} {index}");
                assert_eq!(connection.reading.is_none(), gave_way, "{what} {index}");
                if gave_way {
                    assert_eq!(connection.conclusion.authentication, Authentication::Unknown);
                    assert_eq!(connection.conclusion.reason, Some(UnknownReason::Budget), "{what}");
                    assert_eq!(connection.incomplete, Some(IncompleteReason::Budget), "{what}");
                    assert!(seen.decisions.contains(&(socket(index as u32), Decision::Stop)));
                }
            }
            table.finish_all(Timestamp(20 * SECOND), &mut seen);
            assert_eq!(table.sizes().held, 0);
            let of_budget =
                seen.finals().iter().filter(|last| last.reason == Some(UnknownReason::Budget)).count();
            assert_eq!(of_budget, cut, "{what}: it stays the reason to the end");
        }
    }
}

#[test]
fn a_handshake_that_goes_on_is_concluded_from_whoever_fills_the_room() {
    let (mut table, mut seen) = (small_table(true), Seen::default());
    let mut whole = renegotiating(120, 23);
    // Without what follows the handshake.
    whole.truncate(whole.len() - 3);
    let last = Event::Closed(Closed {
        at: Timestamp(8),
        socket: CLIENT,
        sent: 1,
        received: 1,
        reason: CloseReason::Fin,
    });
    let (mut stuck, mut ended) = (0, 0);
    for number in 0..MANY {
        if number % 10 == 9 {
            ended += 1;
            for event in whole.iter().chain([&last]) {
                table.handle(of(number, event.clone()), &mut seen);
            }
        } else {
            stuck += 1;
            behind_a_hole().into_iter().for_each(|event| table.handle(of(number, event), &mut seen));
        }
    }
    assert_eq!(table.sizes().connections, stuck);
    let finals = seen.finals();
    assert_eq!(finals.len(), ended);
    assert!(finals.iter().all(|last| last.authentication == Authentication::ServerOnly));
    assert!(held(&table) <= BOUND && table.sizes().readings_cut > 400);
}

#[test]
fn what_waits_behind_holes_after_the_verdict_counts_too() {
    let (mut table, mut seen) = (small_table(true), Seen::default());
    let mut whole = renegotiating(120, 23);
    whole.truncate(whole.len() - 2);
    for number in 0..MANY / 4 {
        whole.iter().for_each(|event| table.handle(of(number, event.clone()), &mut seen));
        for place in 0..12 {
            let sequence = CLIENT_FIRST + 20_000 + 1400 * place;
            let event = segment(CLIENT, Travel::Sent, sequence, SERVER_FIRST, &[b'z'; 1400]);
            table.handle(of(number, event), &mut seen);
            assert!(table.sizes().held <= BOUND);
        }
    }
    assert!(held(&table) > BOUND / 2 && table.sizes().readings_cut > 50);
    let is_known = |connection: &Connection| {
        connection.conclusion.authentication == Authentication::ServerOnly && connection.incomplete.is_none()
    };
    assert!(table.iter().all(is_known), "the verdict stands");
}

#[test]
fn what_was_cut_short_before_a_switch_is_not_called_unprotected() {
    for (said, answered, authentication) in [
        (&b"EHLO c\r\n"[..], &b"220 mx ESMTP\r\n250 STARTTLS\r\n"[..], Authentication::Unknown),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"", Authentication::Unknown),
        (b"GET / HTTP/1.1\r\nX: a", b"", Authentication::None),
    ] {
        let (mut table, mut seen) = (small_table(true), Seen::default());
        table.handle(established(2, CLIENT, Role::Client, client_pair()), &mut seen);
        let (client, server) = (CLIENT_FIRST, SERVER_FIRST);
        table.handle(segment(CLIENT, Travel::Received, server, client, answered), &mut seen);
        table.handle(segment(CLIENT, Travel::Sent, client, server, said), &mut seen);
        for number in 1..200 {
            behind_a_hole().into_iter().for_each(|event| table.handle(of(number, event), &mut seen));
        }
        let first =
            table.iter().find(|connection| connection.client.as_ref().unwrap().socket == CLIENT).unwrap();
        assert!(first.reading.is_none() && first.decided.is_some());
        assert_eq!(first.conclusion.authentication, authentication, "{first:?}");
        if authentication == Authentication::Unknown {
            assert_eq!(first.conclusion.reason, Some(UnknownReason::Budget));
        }
    }
}

#[test]
fn what_was_cut_short_before_it_had_a_name_says_so() {
    let (mut table, mut seen) = (small_table(true), Seen::default());
    table.handle(established(2, CLIENT, Role::Client, client_pair()), &mut seen);
    table.handle(segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, b"GET /"), &mut seen);
    for number in 1..200 {
        behind_a_hole().into_iter().for_each(|event| table.handle(of(number, event), &mut seen));
    }
    let sockets = |connection: &&Connection| connection.sockets().next() == Some(CLIENT);
    let first = table.iter().find(sockets).unwrap();
    assert_eq!(first.incomplete, Some(IncompleteReason::Budget));
    assert_eq!(first.conclusion, Conclusion::unknown(Protocol::Unknown, UnknownReason::Budget));
}

#[test]
fn the_order_of_those_who_are_to_give_way_does_not_grow_with_those_that_have_ended() {
    let (mut table, mut seen) = (small_table(true), Seen::default());
    behind_a_hole().into_iter().for_each(|event| table.handle(of(0, event), &mut seen));
    for _ in 0..20_000 {
        for event in [
            established(2, CLIENT, Role::Client, client_pair()),
            segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, REQUEST),
            closed(8, CLIENT, 18, 0),
        ] {
            table.handle(of(1, event), &mut seen);
        }
        seen = Seen::default();
        assert!(table.held.order_len() <= 4096 + 8);
    }
    assert_eq!(table.sizes().readings_cut, 0);
}
