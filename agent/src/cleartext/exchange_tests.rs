use super::*;
use crate::tls::Direction;

const KEYED: &[u8] = b"GET /last HTTP/1.1\r\nX-API-Key: k\r\n\r\n";

/// Both directions as whoever reads a connection hands them over, `size` bytes of each in turn; what need not be seen is never
/// held. Also the most that was held of the client.
fn follow(client: &[u8], server: &[u8], size: usize) -> (Exchange, usize) {
    let mut exchange = Exchange::default();
    let (mut held, mut most) = ([Vec::new(), Vec::new()], 0);
    let mut pieces = [client.chunks(size), server.chunks(size)];
    loop {
        let next = [pieces[0].next(), pieces[1].next()];
        if next == [None, None] {
            return (exchange, most);
        }
        for (index, direction) in [Direction::Client, Direction::Server].into_iter().enumerate() {
            let piece = next[index].unwrap_or_default();
            let stepped = exchange.skippable(direction).min(piece.len() as u64);
            assert!(stepped == 0 || held[index].is_empty());
            exchange.skip(direction, stepped);
            held[index].extend_from_slice(&piece[stepped as usize..]);
        }
        let (client, server) = exchange.follow(&held[0], &held[1]);
        held[0].drain(..client);
        held[1].drain(..server);
        most = most.max(held[0].len());
    }
}

fn of_length(start: &str, length: usize) -> Vec<u8> {
    let head = format!("{start}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), &b"x: y\r\n\r\n".repeat(length / 8 + 1)[..length]].concat()
}

fn chunked(start: &str, lengths: &[usize]) -> Vec<u8> {
    let mut message = format!("{start}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").into_bytes();
    for length in lengths {
        message.extend_from_slice(format!("{length:X};a=\"b\"\r\n").as_bytes());
        message.extend(std::iter::repeat_n(b'\n', *length));
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"0\r\nX-API-Key: trailer\r\n\r\n");
    message
}

#[test]
fn a_credential_behind_any_bodies_is_seen_and_none_of_them_is_kept() {
    let client = [
        of_length("POST /a HTTP/1.1", 100_000),
        chunked("PUT /b HTTP/1.1", &[1, 70_000, 0x1000]),
        b"GET / HTTP/1.1\r\n\r\n\r\n".to_vec(),
        KEYED.to_vec(),
    ]
    .concat();
    let server = [
        b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        of_length("HTTP/1.1 200 OK", 50_000),
        chunked("HTTP/1.1 404 No", &[9_000]),
    ]
    .concat();
    for size in [1, 7, 64, 1460, 65_536, 1 << 20] {
        let (exchange, most) = follow(&client, &server, size);
        assert_eq!(exchange.dialogue().credential, Some(Credential::HttpApiKey), "{size}");
        assert!(exchange.dialogue().over && !exchange.is_stuck());
        assert!(most <= 64 || size > 64, "{size}: {most} bytes were held");
    }
    let without = &client[..client.len() - KEYED.len()];
    assert_eq!(follow(without, &server, 100).0.dialogue(), Dialogue::default());
}

#[test]
fn a_tunnel_behind_a_long_refusal_begins_where_both_sides_say() {
    let connect = b"CONNECT a:443 HTTP/1.1\r\n\r\n";
    let client = [&connect[..], connect, b"\x16\x03\x01hello"].concat();
    for refusal in [
        of_length("HTTP/1.1 407 Proxy Authentication Required", 9_000),
        chunked("HTTP/1.1 407 Proxy Authentication Required", &[5_000, 5_000]),
    ] {
        let server = [&refusal[..], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x16\x03\x03"].concat();
        for size in [1, 13, 5_000, 20_000] {
            let (exchange, _) = follow(&client, &server, size);
            let switch =
                Switch { from: Upgrade::HttpConnect, client: 2 * connect.len(), server: server.len() - 3 };
            assert_eq!(exchange.dialogue().switch, Some(switch), "{size}");
            assert!(exchange.is_tunnel());
        }
    }
    let (waiting, _) = follow(&client, &of_length("HTTP/1.1 407 No", 9_000)[..500], 100);
    assert_eq!(waiting.dialogue().switch, None);
    assert!(waiting.dialogue().asked, "it was refused, and asks again");
}

#[test]
fn answers_without_a_body_are_followed_by_the_next_answer() {
    let client = b"HEAD / HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\nDELETE /b HTTP/1.1\r\n\r\n\
        OPTIONS * HTTP/1.1\r\nUpgrade: TLS/1.2\r\n\r\n";
    let server = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 304 Same\r\nContent-Length: 99\r\n\r\n\
        HTTP/1.1 204 Gone\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 TLS\r\n\r\n";
    for size in [1, 50, 1000] {
        let switch = follow(client, server, size).0.dialogue().switch;
        let expected = Switch { from: Upgrade::HttpUpgrade, client: client.len(), server: server.len() };
        assert_eq!(switch, Some(expected), "{size}");
    }
}

#[test]
fn what_has_no_certain_end_is_not_taken_for_requests() {
    for head in [
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3, 4\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    ] {
        let (exchange, _) = follow(&[head.as_bytes(), b"abc", KEYED].concat(), b"", 10);
        assert_eq!(exchange.dialogue(), Dialogue::default(), "{head}");
        assert!(exchange.is_stuck(), "{head}");
    }
    let same = b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc";
    assert!(follow(&[same, KEYED].concat(), b"", 10).0.dialogue().credential.is_some());
    // A head without an end is not waited for.
    let endless = [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(MAX_HEAD)].concat();
    let (exchange, most) = follow(&endless, b"", 1000);
    assert!(exchange.is_stuck() && most < MAX_HEAD + 1000);
}

#[test]
fn lost_answers_leave_the_requests_to_be_read() {
    let mut exchange = Exchange::default();
    exchange.follow(b"GET / HTTP/1.1\r\n\r\n", b"");
    exchange.lose_answers();
    assert!(!exchange.is_stuck());
    exchange.follow(KEYED, b"");
    assert_eq!(exchange.dialogue().credential, Some(Credential::HttpApiKey));
    // But whoever asks for a tunnel then is not answered any more.
    let mut exchange = Exchange::default();
    exchange.lose_answers();
    exchange.follow(b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"");
    assert!(exchange.is_stuck() && exchange.dialogue().asked);
}
