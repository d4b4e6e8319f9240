use super::*;

const HTTP1: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n";
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";

#[test]
fn protocols_are_named_by_their_first_bytes() {
    assert_eq!(name(HTTP1, b""), Name::Found(Protocol::Http1));
    assert_eq!(name(b"X-PRIVATE /x HTTP/1.0\r\n", b""), Name::Found(Protocol::Http1));
    assert_eq!(name(HTTP2, b""), Name::Found(Protocol::Http2));
    assert_eq!(name(SSH, b""), Name::Found(Protocol::Ssh));
    assert_eq!(name(b"", SSH), Name::Found(Protocol::Ssh));
    assert_eq!(name(b"", b"Welcome to this host\r\nSSH-2.0-dropbear\r\n"), Name::Found(Protocol::Ssh));
    assert_eq!(Protocol::Http2.as_str(), "http/2");
}

#[test]
fn other_bytes_are_unknown_and_few_bytes_incomplete() {
    assert_eq!(name(b"", b""), Name::Incomplete);
    assert_eq!(name(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"N"), Name::Unknown);
    assert_eq!(name(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"), Name::Unknown);
    assert_eq!(name(b"EHLO client.example\r\n", b"220 mail ESMTP\r\n"), Name::Unknown);
    assert_eq!(name(b"", b"220 mail ESMTP\r\n"), Name::Incomplete);
    // A plaintext HTTP server that refuses something else does not make it HTTP.
    assert_eq!(name(b"\x80\x2e\x01\x03\x01", b"HTTP/1.1 400 Bad Request\r\n"), Name::Unknown);
}

#[test]
fn a_target_longer_than_the_prefix_is_still_http() {
    let long = [b"GET /".as_slice(), &[b'a'; 300]].concat();
    assert_eq!(name(&long[..PEEK], b""), Name::Found(Protocol::Http1));
    assert_eq!(name(&long[..40], b""), Name::Incomplete);
    let text = [b"some ".as_slice(), &[b'a'; 300]].concat();
    assert_eq!(name(&text[..PEEK], b""), Name::Unknown);
}

#[test]
fn no_prefix_of_a_protocol_is_called_another() {
    for (whole, protocol) in [(HTTP1, Protocol::Http1), (HTTP2, Protocol::Http2), (SSH, Protocol::Ssh)] {
        for end in 0..whole.len() {
            let seen = name(&whole[..end], b"");
            assert!(seen == Name::Incomplete || seen == Name::Found(protocol), "{end}: {seen:?}");
        }
    }
}

#[test]
fn hostile_bytes_neither_panic_nor_change_a_name() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..20_000 {
        let corpus = [HTTP1, HTTP2, SSH, b"HTTP/1.1 200 OK\r\n"][round % 4];
        let mut data = vec![u8::try_from(round % 32).unwrap()];
        data.extend_from_slice(corpus);
        for _ in 0..round % 4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = usize::try_from(seed >> 8).unwrap() % data.len();
            data[at] = seed as u8;
        }
        fuzz::fuzz(&data);
    }
}
