//! What the other side has to say first: a name that one side's bytes suggest is taken back where the other side says something
//! else.

use super::cursor::{Cursor, Seen, ensure, settle};
use super::text::command;
use super::{Match, Protocol, begins, bgp, rtsp, sip, ssh};

/// Those of Redis' answers (RESP 2 and 3).
const REDIS: &[u8] = b"+-:$*_#,(!=%~>|";

/// Whether the other side confirms a protocol that was recognised; not yet as long as it has not said enough. Protocols whose
/// recognisers read both sides need nothing more.
pub(super) fn confirms(protocol: Protocol, client: &[u8], server: &[u8]) -> Match {
    use Protocol::*;
    match protocol {
        Smtp | Ftp | Pop3 | Imap | Irc | Nats | Vnc | Telnet | Memcached | Zookeeper | Socks | Kafka => {
            Match::Yes
        }
        Bgp => bgp::both(client, server),
        Ssh => ssh::both(client, server),
        // A packet of less than 64 KiB that follows the greeting, which has the number 0.
        Mysql => at(client, 2, |length| length == 0).and(at(client, 3, |number| number == 1)),
        // Shoutcast's servers answer requests of HTTP with ICY.
        Http1 => begins(server, b"HTTP/").or(begins(server, b"ICY ")),
        Http2 | Grpc => settle(frame(server), server),
        Xmpp => match server.trim_ascii_start() {
            [] => Match::NotYet,
            [first, ..] => Match::of(*first == b'<'),
        },
        Redis => at(server, 0, |first| REDIS.contains(&first)),
        // Servers of both also send requests, and ends of lines or what is interleaved.
        Sip => begins(server, b"SIP/2.0 ").or(command(server, sip::METHODS)).or(begins(server, b"\r\n")),
        Rtsp => begins(server, b"RTSP/").or(command(server, rtsp::METHODS)).or(begins(server, b"$")),
        Postgresql => postgresql(server),
        // A header of their own, or a method frame on channel 0.
        Amqp => begins(server, b"AMQP").or(begins(server, &[1, 0, 0])),
        // CONNACK, or AUTH of MQTT 5 (its sections 3.2 and 3.15).
        Mqtt => at(server, 0, |first| matches!(first, 0x20 | 0xf0)),
        Mongodb => settle(reply(server), server),
        Ldap => at(server, 0, |first| first == 0x30),
        Smb => match server.first() {
            Some(0) => at(server, 4, |first| first >= 0xfc),
            // Answers to a session request (RFC 1002 section 4.3).
            _ => at(server, 0, |first| matches!(first, 0x82..=0x84)),
        },
        Rdp => begins(server, &[3, 0]),
        // A response; some servers answer a pre-login in kind.
        Tds => at(server, 0, |first| matches!(first, 0x04 | 0x12)),
        // ACCEPT, REFUSE, REDIRECT, DATA, RESEND, MARKER, CONTROL.
        Oracle => at(server, 4, |kind| matches!(kind, 2 | 4 | 5 | 6 | 11 | 12 | 14)),
        // QR: a response (RFC 1035 section 4.1.1).
        Dns => at(server, 4, |flags| flags & 0x80 != 0),
        Cassandra => at(server, 0, |version| matches!(version, 0x83..=0x86)),
    }
}

fn at(bytes: &[u8], place: usize, fits: impl Fn(u8) -> bool) -> Match {
    bytes.get(place).map_or(Match::NotYet, |byte| Match::of(fits(*byte)))
}

/// One letter answers a wish for encryption, of which TLS or GSS-API follows; a message with its length a start-up packet.
fn postgresql(server: &[u8]) -> Match {
    match server {
        [] | [b'S' | b'G' | b'R' | b'E' | b'v'] => Match::NotYet,
        [b'N', ..] | [b'S', 0x15 | 0x16, ..] | [b'G' | b'R' | b'E' | b'v', 0, ..] => Match::Yes,
        // An error as version 2 has it, of servers that know no other or could not begin.
        [b'E', letter, ..] => Match::of(letter.is_ascii_alphabetic()),
        _ => Match::No,
    }
}

/// SETTINGS, or GOAWAY of who wants nothing, on the connection itself (RFC 9113 section 3.4).
fn frame(server: &[u8]) -> Seen<()> {
    let mut server = Cursor::new(server);
    let _length = server.big(3)?;
    ensure(matches!(server.byte()?, 4 | 7))?;
    let _flags = server.byte()?;
    ensure(server.big(4)? & 0x7fff_ffff == 0)
}

/// A message of a length that exists (maxMessageSizeBytes): OP_REPLY, OP_COMMANDREPLY, OP_COMPRESSED or OP_MSG.
fn reply(server: &[u8]) -> Seen<()> {
    let mut server = Cursor::new(server);
    ensure((16..=48_000_000).contains(&server.little(4)?))?;
    server.take(8)?;
    ensure(matches!(server.little(4)?, 1 | 2011..=2013))
}

#[cfg(test)]
mod tests {
    use crate::cleartext::{Credential, Name, Protocol, examine, name};

    const GET: &[u8] = b"GET / HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n";
    const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

    /// What clients say by which their protocol is recognised alone, and how their servers answer.
    const OPENINGS: &[(Protocol, &[u8], &[u8])] = &[
        (Protocol::Http1, GET, BAD_REQUEST),
        (Protocol::Http1, GET, b"ICY 200 OK\r\n"),
        (
            Protocol::Http2,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x01\x01\x04\0\0\0\x01\x83",
            b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        ),
        (Protocol::Ssh, b"SSH-2.0-a\r\n", b"Welcome\r\nSSH-2.0-b\r\n"),
        (Protocol::Xmpp, b"<stream:stream to='a'>", b"<?xml version='1.0'?><stream:stream>"),
        (Protocol::Redis, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        (Protocol::Sip, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"),
        (Protocol::Sip, b"REGISTER sip:b SIP/2.0\r\n\r\n", b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"),
        (Protocol::Rtsp, b"OPTIONS rtsp://a/b RTSP/1.0\r\n\r\n", b"RTSP/1.0 200 OK\r\n\r\n"),
        (Protocol::Postgresql, b"\0\0\0\x08\x04\xd2\x16\x2f", b"N"),
        (Protocol::Amqp, b"AMQP\0\0\x09\x01", b"\x01\0\0\0\0\0\x20\0\x0a\0\x0a"),
        (Protocol::Mqtt, b"\x10\x1b\0\x04MQTT\x04\xc2\0\x3c\0\x01c\0\x04anna\0\x06secret", b"\x20\x02\0\0"),
        (
            Protocol::Mongodb,
            b"\x24\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x0f\0\0\0\x10ping\0\x01\0\0\0\0",
            b"\x1e\0\0\0\x01\0\0\0\x01\0\0\0\xdd\x07\0\0",
        ),
        (
            Protocol::Ldap,
            b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",
            b"\x30\x0c\x02\x01\x01\x61",
        ),
        (Protocol::Smb, b"\0\0\0\x6c\xfeSMB\x40\0\0\0\0\0\0\0\0\0", b"\0\0\0\x6c\xfeSMB"),
        (Protocol::Rdp, b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x0b\0\0\0", b"\x03\0\0\x13\x0e\xd0"),
        (
            Protocol::Tds,
            b"\x12\x01\0\x1a\0\0\x01\0\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\x10\0\x07\xd0\0\0\0",
            b"\x04\x01\0\x1a",
        ),
        (
            Protocol::Dns,
            b"\0\x1d\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\xfc\0\x01",
            b"\0\x1d\x12\x34\x81\x80",
        ),
        (
            Protocol::Cassandra,
            b"\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0",
            b"\x84\0\0\0\x02",
        ),
    ];

    #[test]
    fn a_server_that_answers_in_kind_confirms_the_name_at_each_prefix() {
        for (protocol, client, server) in OPENINGS {
            for end in 0..=server.len() {
                let seen = examine(client, &server[..end]);
                assert_eq!(seen.name, Name::Found(*protocol), "{end}");
                assert!(!seen.confirmed || end > 0, "{protocol:?}");
            }
            assert!(examine(client, server).confirmed, "{protocol:?}");
        }
    }

    #[test]
    fn a_server_that_speaks_something_else_takes_the_name_back() {
        let servers = [
            BAD_REQUEST,
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            b"RFB 003.008\n",
            b"220 mx.example ESMTP\r\n",
            b"\x15\x03\x01\0\x02\x02\x46",
            b"\x2e\0\0\0\x0a8.0.36\0\x08\0\0\0saltsalt\0\xff\xff\x08\x02\0\xff\xc1\x15\0\0\0\0\0\0\0\0\0\0\x16",
        ];
        for (protocol, client, _) in OPENINGS {
            for server in servers {
                let fits = (*protocol == Protocol::Http1 && server == BAD_REQUEST)
                    || (*protocol == Protocol::Ssh && server.starts_with(b"SSH-"))
                    // Seven bytes are too few to tell.
                    || (*protocol == Protocol::Mongodb && server.len() == 7);
                let seen = name(client, server);
                assert!(fits || seen == Name::Unknown, "{protocol:?} {seen:?} {}", server.escape_ascii());
            }
        }
        // Nor is one called so whose client speaks something else.
        let greeting = servers[5];
        assert_eq!(name(b"", greeting), Name::Found(Protocol::Mysql));
        assert!(!examine(b"", greeting).confirmed);
        assert_eq!(name(GET, greeting), Name::Unknown);
        assert_eq!(name(b"", b"SSH-2.0-a\r\n"), Name::Found(Protocol::Ssh));
        assert!(!examine(b"", b"SSH-2.0-a\r\n").confirmed);
        // Idle HTTP/2, which has its name only so far.
        assert_eq!(name(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD_REQUEST), Name::Unknown);
    }

    #[test]
    fn a_credential_has_crossed_whatever_the_server_says_to_it() {
        let refused = examine(GET, b"SSH-2.0-a\r\n");
        assert_eq!(refused.name, Name::Unknown);
        assert_eq!(refused.dialogue.credential, Some(Credential::HttpBasic));
        assert_eq!(refused.dialogue.switch, None);
    }
}
