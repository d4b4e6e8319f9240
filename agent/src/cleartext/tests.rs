use super::*;

const HTTP1: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n";
const HTTP2: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";

/// Each prefix of what the client says, then, with all of it, each of what the server answers, leads to this protocol
/// and on no way to another. gRPC is HTTP/2 until its first request.
pub(super) fn assert_all_prefixes(protocol: Protocol, client: &[u8], server: &[u8]) {
    let mut found = false;
    let ways =
        (0..=client.len()).map(|end| (end, 0)).chain((0..=server.len()).map(|end| (client.len(), end)));
    for (client_end, server_end) in ways {
        let seen = name(&client[..client_end], &server[..server_end]);
        let so_far =
            matches!(protocol, Protocol::Http2 | Protocol::Grpc) && seen == Name::SoFar(Protocol::Http2);
        let expected = if found { Name::Found(protocol) } else { Name::Incomplete };
        found |= seen == Name::Found(protocol);
        assert!(found || so_far || seen == expected, "{protocol:?} {client_end} {server_end}: {seen:?}");
        assert!(!found || seen == Name::Found(protocol), "{protocol:?} {client_end} {server_end}: {seen:?}");
    }
    assert!(found, "{protocol:?} was not found");
}

/// Both sides' words lead to a switch after them, none of their prefixes does, and what follows changes nothing.
pub(super) fn assert_switch(client: &[u8], server: &[u8], from: Upgrade, after: (usize, usize)) {
    let expected = Some(Switch { from, client: after.0, server: after.1 });
    assert_eq!(examine(client, server).dialogue.switch, expected);
    let longer = |bytes: &[u8]| [bytes, b"\x16\x03\x01\x02\0"].concat();
    assert_eq!(examine(&longer(client), &longer(server)).dialogue.switch, expected);
    for end in 0..after.0 {
        assert_eq!(examine(&client[..end], server).dialogue.switch, None, "client {end}");
    }
    for end in 0..after.1 {
        assert_eq!(examine(client, &server[..end]).dialogue.switch, None, "server {end}");
    }
}

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
    assert_eq!(name(b"", b"220 mail ESMTP\r\n"), Name::Incomplete);
    // A plaintext HTTP server that refuses something else does not make it HTTP.
    assert_eq!(name(b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10", b"HTTP/1.1 400 Bad Request\r\n"), Name::Unknown);
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
            let expected = [Name::Incomplete, Name::SoFar(protocol), Name::Found(protocol)];
            assert!(expected.contains(&seen), "{end}: {seen:?}");
        }
    }
}

/// What client and server say first in protocols with credentials and switches, and in those that are easily mistaken.
#[rustfmt::skip]
const OPENINGS: &[(&[u8], &[u8])] = &[
    (HTTP1, b"HTTP/1.1 200 OK\r\n"),
    (HTTP2, b"\0\0\0\x04\0\0\0\0\0"),
    (SSH, SSH),
    (b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x13\0\x03\0\0user\0anna\0\0p\0\0\0\x0bsecret\0", b"NR\0\0\0\x08\0\0\0\x03"),
    (b"\x20\0\0\x01\x05\x8e\x0a\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x16",
     b"\x2e\0\0\0\x0a8.0.36\0\x08\0\0\0saltsalt\0\xff\xff\x08\x02\0\xff\xc1\x15\0\0\0\0\0\0\0\0\0\0\x16"),
    (b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0"),
    (b"\x10\x1b\0\x04MQTT\x04\xc2\0\x3c\0\x01c\0\x04anna\0\x06secret", b"\x20\x02\0\0"),
    (b"AMQP\x03\x01\0\0\0\0\0\x24\x02\x01\0\0\0\x53\x41\xc0\x17\x02\xa3\x05PLAIN\xa0\x0c\0anna\0secret", b"AMQP\x03\x01\0\0"),
    (b"\x1e\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x10hello\0\x01\0\0\0\0", b"\x1e\0\0\0"),
    (b"\x04\0\0\x01\x05\0\0\0\0", b"\x84\0\0\x01\x06\0\0\0\x02\0\0"),
    (b"\0\0\0\x12\0\x12\0\0\0\0\0\x01\0\x04rdka\0\0\0\0", b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0"),
    (b"\x12\x01\0\x1a\0\0\x01\0\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\x10\0\x07\xd0\0\0\0\x12", b"\x04\x01\0\x1a\0\0\x01\0\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\x10\0\x07\xd0\0\0\0\x12"),
    (b"\0\x3a\0\0\x01\0\0\0\x01\x3a\x01\x2c\x0c\x41\x20\0\x7f\xff\xc6\x0e\0\0\x01\0\0\0\0\x3a", b"\0\x20\0\0\x02\0\0\0"),
    (b"\0\x1d\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\xfc\0\x01", b"\0\x1d\x12\x34\x81"),
    (b"\0\0\0\x6c\xfeSMB\x40\0\0\0\0\0\0\0\0\0", b"\0\0\0\x6c\xfeSMB"),
    (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x0b\0\0\0\x16", b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x01\0\0\0\x16"),
    (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x1d\x01\x04", b""),
    (b"\x80\0\0\x03\0\0\0\0\0\0\0\x03\x01\x02\x03\x04\0\0\0\0\0\0\0\0key", b"\x81\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04\0\0\0\0\0\0\0\0"),
];

#[test]
fn random_and_mid_stream_bytes_have_no_name() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || -> Vec<u8> {
        (0..PEEK)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                (seed >> 16) as u8
            })
            .collect()
    };
    for _ in 0..20_000 {
        assert_eq!(name(&random(), &random()), Name::Unknown);
    }
    for byte in 0..=u8::MAX {
        let bytes = [byte; PEEK];
        assert_eq!(name(&bytes, &bytes), Name::Unknown, "{byte}");
    }
    for tls in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03abcdefghijklmnopqrstuvwxyz"[..],
        b"\x17\x03\x03\0\x40abcdefghijklmnopqrstuv",
    ] {
        assert_eq!(name(tls, tls), Name::Unknown);
    }
}

#[test]
fn hostile_bytes_neither_panic_nor_change_a_name() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let samples = text_samples::SAMPLES.iter().map(|sample| (sample.client, sample.server));
    let openings: Vec<(&[u8], &[u8])> = OPENINGS.iter().copied().chain(samples).collect();
    for round in 0..6_000 {
        let (client, server) = openings[round % openings.len()];
        let split = client.len().saturating_sub(round / openings.len() % 3);
        let mut data = [&[u8::try_from(split).unwrap_or(u8::MAX)], client, server].concat();
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
