//! Bodies of HTTP are stepped over, and what the budget leaves unread is said.

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const KEYED: &[u8] = b"GET /b HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n";
const LENGTH: usize = 40_000;

fn with_body(start: &str) -> Vec<u8> {
    let head = format!("{start}\r\nContent-Length: {LENGTH}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; LENGTH]].concat()
}

/// Feeds one connection as its source would, and remembers how far each direction got.
struct Feed {
    table: Connections,
    seen: Seen,
    sent: u32,
    received: u32,
    most: usize,
}

impl Feed {
    fn new(of_capture: bool) -> Self {
        let table = match of_capture {
            true => Connections::of_capture(table().limits),
            false => table(),
        };
        let mut feed = Feed { table, seen: Seen::default(), sent: 0, received: 0, most: 0 };
        feed.table.handle(established(2, CLIENT, Role::Client, client_pair()), &mut feed.seen);
        feed
    }

    /// What the source still hands out of a direction: so many bytes from its start.
    fn budget(&self, travel: Travel) -> u32 {
        let decided = self.seen.decisions.iter().rev().find_map(|(_, decision)| match decision {
            Decision::Budget { sent, received } => {
                Some(if travel == Travel::Sent { *sent } else { *received })
            }
            Decision::Stop => Some(0),
        });
        decided.unwrap_or(32 << 10)
    }

    fn say(&mut self, travel: Travel, bytes: &[u8]) {
        for packet in bytes.chunks(1000) {
            self.packet(travel, packet);
        }
    }

    fn packet(&mut self, travel: Travel, packet: &[u8]) {
        let budget = self.budget(travel);
        let (sequence, acknowledged, at) = match travel {
            Travel::Sent => (CLIENT_FIRST + self.sent, SERVER_FIRST + self.received, &mut self.sent),
            Travel::Received => (SERVER_FIRST + self.received, CLIENT_FIRST + self.sent, &mut self.received),
        };
        let kept = packet.len().min(budget.saturating_sub(*at) as usize);
        *at += packet.len() as u32;
        let Event::Segment(event) = segment(CLIENT, travel, sequence, acknowledged, &packet[..kept]) else {
            unreachable!()
        };
        let withheld = (packet.len() - kept) as u32;
        if budget > 0 {
            self.table.handle(Event::Segment(Segment { withheld, ..event }), &mut self.seen);
        }
        self.most = self.most.max(self.table.sizes().held);
    }

    fn lose(&mut self, travel: Travel, count: u32) {
        match travel {
            Travel::Sent => self.sent += count,
            Travel::Received => self.received += count,
        }
    }

    /// Ends it: credential, why it was not seen whole, and what was looked at.
    fn end(mut self) -> (Option<Credential>, Option<IncompleteReason>, (u64, u64)) {
        let (sent, received) = (self.sent.into(), self.received.into());
        self.table.handle(closed(8, CLIENT, sent, received), &mut self.seen);
        self.table.tick(Timestamp(100 * SECOND), &mut self.seen);
        assert_eq!(self.seen.finals().len(), 1);
        let Seen { credentials, incomplete, examined, .. } = self.seen;
        (credentials[credentials.len() - 1], incomplete[incomplete.len() - 1], examined[examined.len() - 1])
    }
}

#[test]
fn a_credential_behind_a_long_page_is_seen_on_a_host_and_in_a_capture() {
    for of_capture in [false, true] {
        let mut feed = Feed::new(of_capture);
        feed.say(Travel::Sent, GET);
        feed.say(Travel::Received, &with_body("HTTP/1.1 200 OK"));
        feed.say(Travel::Sent, KEYED);
        let (credential, incomplete, examined) = feed.end();
        assert_eq!(credential, Some(Credential::HttpBasic), "{of_capture}");
        assert_eq!((incomplete, examined.0), (None, (GET.len() + KEYED.len()) as u64), "{of_capture}");
    }
}

#[test]
fn a_credential_behind_a_long_request_is_seen_in_a_capture_and_the_request_is_not_kept() {
    let mut feed = Feed::new(true);
    feed.say(Travel::Sent, &with_body("POST /a HTTP/1.1"));
    feed.say(Travel::Received, &with_body("HTTP/1.1 200 OK"));
    feed.say(Travel::Sent, &with_body("POST /b HTTP/1.1"));
    feed.say(Travel::Sent, KEYED);
    assert!(feed.most < 16_000, "{} bytes were held", feed.most);
    let sent = u64::from(feed.sent);
    let (credential, incomplete, examined) = feed.end();
    assert_eq!(credential, Some(Credential::HttpBasic));
    assert_eq!((incomplete, examined.0), (None, sent));
}

#[test]
fn what_a_host_does_not_hand_out_is_said_to_be_unread() {
    for (first, reason) in
        [(with_body("POST /a HTTP/1.1"), Some(IncompleteReason::Budget)), (GET.to_vec(), None)]
    {
        let mut feed = Feed::new(false);
        feed.say(Travel::Sent, &first);
        feed.say(Travel::Received, b"HTTP/1.1 204 No Content\r\n\r\n");
        feed.say(Travel::Sent, GET);
        let (credential, incomplete, examined) = feed.end();
        assert_eq!((credential, incomplete), (None, reason));
        assert!(examined.0 <= LOOK as u64);
    }
    // What comes once the time for looking is over was not looked at either.
    let mut feed = Feed::new(false);
    feed.say(Travel::Sent, GET);
    feed.say(Travel::Received, b"HTTP/1.1 204 No Content\r\n\r\n");
    feed.table.tick(Timestamp(11 * SECOND), &mut feed.seen);
    assert_eq!(feed.seen.incomplete.last(), Some(&None));
    feed.say(Travel::Sent, KEYED);
    assert_eq!(feed.end(), (None, Some(IncompleteReason::Budget), (GET.len() as u64, 27)));
}

#[test]
fn a_capture_is_followed_to_its_end_and_whoever_is_followed_long_holds_little() {
    let mut feed = Feed::new(true);
    feed.say(Travel::Sent, GET);
    feed.say(Travel::Received, &with_body("HTTP/1.1 200 OK"));
    feed.table.tick(Timestamp(11 * SECOND), &mut feed.seen);
    for _ in 0..1000 {
        feed.say(Travel::Sent, GET);
        feed.say(Travel::Received, b"HTTP/1.1 204 No Content\r\n\r\n");
    }
    assert!(feed.table.sizes().held < 4096, "{} bytes are held", feed.table.sizes().held);
    feed.table.tick(Timestamp(60 * SECOND), &mut feed.seen);
    feed.say(Travel::Sent, KEYED);
    let sent = u64::from(feed.sent);
    let (credential, incomplete, examined) = feed.end();
    assert_eq!((credential, incomplete, examined.0), (Some(Credential::HttpBasic), None, sent));
}

#[test]
fn more_than_is_looked_at_of_other_protocols_is_said_too() {
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    for (count, reason) in [(40, None), (400, Some(IncompleteReason::Budget))] {
        for of_capture in [false, true] {
            let mut feed = Feed::new(of_capture);
            feed.say(Travel::Sent, PING);
            feed.say(Travel::Received, b"+PONG\r\n");
            feed.say(Travel::Sent, &PING.repeat(count - 1));
            assert_eq!(feed.end().1, reason, "{count} {of_capture}");
        }
    }
}

#[test]
fn a_body_may_have_holes() {
    let mut feed = Feed::new(true);
    let post = with_body("POST /a HTTP/1.1");
    feed.say(Travel::Sent, &post[..3000]);
    feed.lose(Travel::Sent, 20_000);
    feed.say(Travel::Sent, &post[23_000..]);
    feed.say(Travel::Received, b"HTTP/1.1 204 No Content\r\n\r\n");
    feed.say(Travel::Sent, KEYED);
    assert_eq!((feed.most < 16_000, feed.end().0), (true, Some(Credential::HttpBasic)));
    // A hole in a head is one.
    let mut feed = Feed::new(true);
    feed.say(Travel::Sent, &post);
    feed.lose(Travel::Sent, 5);
    feed.say(Travel::Sent, KEYED);
    let (credential, incomplete, _) = feed.end();
    assert_eq!((credential, incomplete), (None, Some(IncompleteReason::Lost)));
}

#[test]
fn tls_in_a_tunnel_behind_a_long_refusal_is_read() {
    let connect = b"CONNECT a:443 HTTP/1.1\r\n\r\n";
    let refusal = &with_body("HTTP/1.1 407 Proxy Authentication Required");
    let mut feed = Feed::new(true);
    feed.say(Travel::Sent, connect);
    // The rest of it is more than is handed out.
    feed.say(Travel::Received, &refusal[..20_000]);
    feed.lose(Travel::Received, 20_000);
    feed.say(Travel::Received, &refusal[40_000..]);
    feed.say(Travel::Sent, connect);
    assert_eq!(feed.seen.finals().len(), 0);
    feed.say(Travel::Received, b"HTTP/1.1 200 OK\r\n\r\n");
    feed.say(Travel::Sent, b"\x16\x03\x01\0\x04\x01\0\0\0");
    feed.table.handle(closed(8, CLIENT, 61, 40_100), &mut feed.seen);
    feed.table.tick(Timestamp(100 * SECOND), &mut feed.seen);
    assert_eq!(feed.seen.finals()[0].protocol.as_str(), "tls");
    assert_eq!(feed.seen.upgrades.last(), Some(&Some(Upgrade::HttpConnect)));
}
