//! Which sockets are two ends of one connection, and whose they are.

use super::*;

fn found(socket: SocketCookie, pair: AddressPair, role: Option<Role>) -> Existing {
    let (at, netns) = (Timestamp(1), NetworkNamespace(5));
    Existing { at, socket, pair, netns, owner: Some(task(100)), role }
}

fn existing(socket: SocketCookie, pair: AddressPair, role: Option<Role>) -> Event {
    Event::Existing(found(socket, pair, role))
}

#[test]
fn a_connection_that_a_pass_found_is_reported_once_with_both_its_ends() {
    let (mut table, mut seen) = (table(), Seen::default());
    let other = AddressPair { local: address("10.0.0.1:50000"), ..client_pair() };
    let pass = [
        found(CLIENT, client_pair(), None),
        found(SocketCookie(3), other, Some(Role::Client)),
        found(SERVER, client_pair().mirrored(), Some(Role::Server)),
    ];
    table.handle_pass(&pass, &mut seen);
    let mut holders: Vec<usize> = seen.connections.iter().map(|(_, _, holders)| holders.len()).collect();
    holders.sort_unstable();
    assert_eq!(holders, [1, 2]);
    table.handle_pass(&pass, &mut seen);
    assert_eq!(seen.connections.len(), 2, "nothing new");
}

#[test]
fn an_older_connection_that_has_ended_is_not_met_by_a_later_one_with_its_addresses() {
    let (mut table, mut seen) = (table(), Seen::default());
    table.handle(existing(CLIENT, client_pair(), Some(Role::Client)), &mut seen);
    let released = Released {
        at: Timestamp(2),
        socket: CLIENT,
        task: task(100),
        pair: client_pair(),
        netns: NetworkNamespace(5),
        multipath: false,
    };
    table.handle(Event::<Bytes>::Released(released), &mut seen);
    assert_eq!((seen.finals().len(), table.sizes().connections), (1, 0));
    table.handle(existing(SERVER, client_pair().mirrored(), Some(Role::Server)), &mut seen);
    assert_eq!(table.sizes().connections, 1);
    assert_eq!(seen.last.unwrap().2, 1);
}

#[test]
fn two_older_sockets_that_both_serve_are_two_connections() {
    let (mut table, mut seen) = (table(), Seen::default());
    let event = |socket, pair| existing(socket, pair, Some(Role::Server));
    feed(&mut table, &mut seen, &[event(CLIENT, client_pair()), event(SERVER, client_pair().mirrored())]);
    assert_eq!(table.sizes().connections, 2);
}

#[test]
fn of_those_who_share_a_listening_socket_the_oldest_is_named() {
    let older = |pid, start_time| Task { process: ProcessKey { pid, start_time }, ..task(pid) };
    for tasks in [[older(400, 5), older(401, 6)], [older(401, 6), older(400, 5)]] {
        let (mut table, mut seen) = (table(), Seen::default());
        table.set_listeners(tasks.map(|task| (NetworkNamespace(5), address("10.0.0.2:80"), task)));
        let request = segment(SERVER, Travel::Received, CLIENT_FIRST, SERVER_FIRST, REQUEST);
        feed(
            &mut table,
            &mut seen,
            &[established(2, SERVER, Role::Server, client_pair().mirrored()), request],
        );
        let listener = (400, HolderRole::Accept, OwnerSource::Listener);
        assert_eq!(seen.connections.last().unwrap().2[..], [listener]);
        // Once it is seen with the socket, it is no guess any more.
        let asked = Event::PeerAsked(PeerAsked {
            at: Timestamp(3),
            socket: SERVER,
            task: older(400, 5),
            pair: client_pair().mirrored(),
            netns: NetworkNamespace(5),
            multipath: false,
        });
        feed(&mut table, &mut seen, &[asked]);
        let (_, _, holders) = seen.connections.last().unwrap();
        assert_eq!(holders[..], [(400, HolderRole::Use, OwnerSource::GetPeerName)]);
    }
}

#[test]
fn two_connections_of_a_capture_that_differ_in_nothing_are_two() {
    let mut table = Connections::of_capture(table().limits);
    let mut seen = Seen::default();
    for socket in [CLIENT, SERVER] {
        table.handle(established(2, socket, Role::Client, client_pair()), &mut seen);
    }
    assert_eq!(table.sizes().connections, 2);
}

/// What the client's end and the server's end of one connection see, between which a SYN proxy has renumbered the server's bytes by
/// `shift`, and translated the server's address.
fn ends_around_a_syn_proxy(shift: u32) -> [Event; 2] {
    let behind = AddressPair { local: address("192.168.9.9:8080"), remote: client_pair().local };
    let Event::Established(server) = established(2, SERVER, Role::Server, behind) else { unreachable!() };
    let server = Established { first_sent: SERVER_FIRST.wrapping_add(shift), ..server };
    [established(2, CLIENT, Role::Client, client_pair()), Event::Established(server)]
}

#[test]
fn both_ends_around_a_syn_proxy_are_one_connection_that_both_of_them_read() {
    const SHIFT: u32 = u32::MAX - 5;
    let [client, server] = ends_around_a_syn_proxy(SHIFT);
    for ends in [[client.clone(), server.clone()], [server, client]] {
        let (mut table, mut seen) = (table(), Seen::default());
        let after = CLIENT_FIRST + REQUEST.len() as u32;
        let behind = SERVER_FIRST.wrapping_add(SHIFT);
        // Each end sees what the other one does not.
        let events = [
            segment(SERVER, Travel::Received, CLIENT_FIRST, behind, REQUEST),
            segment(CLIENT, Travel::Received, SERVER_FIRST, after, b"HTTP/1.1 200 "),
            segment(SERVER, Travel::Sent, behind.wrapping_add(13), after, b"OK\r\n\r\n"),
            segment(SERVER, Travel::Sent, behind, after, b"HTTP/1.1 200 OK\r\n\r\n"),
        ];
        for event in ends.iter().chain(&events) {
            table.handle(event.clone(), &mut seen);
        }
        assert_eq!((table.sizes().connections, seen.connections.len()), (1, 1), "one verdict");
        let mut examined = None;
        table.iter().for_each(|connection| {
            examined = connection.reading.as_ref().map(|reading| reading.examined());
        });
        assert_eq!(examined, Some((REQUEST.len() as u64, 19)));
        feed(&mut table, &mut seen, &[closed(8, CLIENT, 18, 19), closed(9, SERVER, 19, 18)]);
        assert_eq!(seen.finals()[0].authentication, Authentication::None);
        assert_eq!(seen.last, Some((Some(CloseReason::Fin), Some((18, 19)), 2)));
        assert!(table.unmet.is_empty() && table.unmet_clients.is_empty());
    }
}

#[test]
fn a_number_alone_makes_no_two_ends_of_one_connection() {
    let [client, server] = ends_around_a_syn_proxy(7);
    let Event::Established(server) = server else { unreachable!() };
    let pair = AddressPair { remote: address("10.0.0.1:40001"), ..server.pair };
    let (mut table, mut seen) = (table(), Seen::default());
    feed(&mut table, &mut seen, &[client.clone(), Event::Established(Established { pair, ..server })]);
    assert_eq!(table.sizes().connections, 2, "another client");
    // Nor do a time in which nobody waits any more, or an end that is there already.
    let (mut table, mut seen) = (self::table(), Seen::default());
    feed(&mut table, &mut seen, std::slice::from_ref(&client));
    table.tick(Timestamp(20 * SECOND), &mut seen);
    assert!(table.unmet_clients.is_empty());
    let other = Established { socket: SocketCookie(3), ..server };
    feed(&mut table, &mut seen, &[Event::Established(server), Event::Established(other)]);
    assert_eq!(table.sizes().connections, 3);
}
