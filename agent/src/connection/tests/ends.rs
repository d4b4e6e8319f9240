//! Which sockets are two ends of one connection, and whose they are.

use super::*;

fn existing(socket: SocketCookie, pair: AddressPair, role: Option<Role>) -> Event {
    let (at, netns) = (Timestamp(1), NetworkNamespace(5));
    Event::Existing(Existing { at, socket, pair, netns, owner: Some(task(100)), role })
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
    table.handle(Event::Released(released), &mut seen);
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
