use super::text_samples::SAMPLES;
use super::*;

const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn openings_are_named_and_what_they_show_is_said() {
    for sample in SAMPLES {
        let what = format!("{} / {}", shown(sample.client), shown(sample.server));
        let seen = examine(sample.client, sample.server);
        assert_eq!(seen.name, Name::Found(sample.protocol), "{what}");
        assert_eq!(seen.dialogue.credential, sample.credential, "{what}");
        assert_eq!(seen.dialogue.switch.is_some(), sample.switches, "{what}");
        // What follows a switch is neither counted nor looked at.
        let client = [sample.client, CLIENT_HELLO].concat();
        let server = [sample.server, b"\x16\x03\x03\x00\x5a"].concat();
        if let Some(switch) = examine(&client, &server).dialogue.switch {
            assert_eq!((switch.client, switch.server), (sample.client.len(), sample.server.len()), "{what}");
        } else {
            assert!(!sample.switches, "{what}");
        }
    }
}

#[test]
fn no_prefix_is_called_another_and_what_was_found_stays() {
    for sample in SAMPLES {
        let whole = examine(sample.client, sample.server);
        for ahead in (0..=sample.server.len()).rev().step_by(7) {
            let mut last = Examination { name: Name::Incomplete, dialogue: Dialogue::default() };
            for end in 0..=sample.client.len() {
                let seen = examine(&sample.client[..end], &sample.server[..ahead]);
                fuzz::stays(&last, &seen);
                last = seen;
            }
            fuzz::stays(&last, &whole);
            assert!(whole.dialogue.credential.is_some() || last.dialogue.credential.is_none());
        }
        // In turns, as a conversation goes: never unknown before it is named.
        for step in 0..=sample.client.len().max(sample.server.len()) {
            let client = &sample.client[..step.min(sample.client.len())];
            let server = &sample.server[..step.min(sample.server.len())];
            let name = examine(client, server).name;
            assert!(
                matches!(name, Name::Incomplete) || name == Name::Found(sample.protocol),
                "{name:?} {}",
                shown(client)
            );
        }
    }
}

#[test]
fn no_other_peer_changes_a_name_that_was_found() {
    for one in SAMPLES {
        for other in SAMPLES {
            let late = examine(one.client, other.server);
            let ends = |length: usize| [1, 4, 7, 13, 25, length].map(|end| end.min(length));
            for client in ends(one.client.len()) {
                for server in ends(other.server.len()) {
                    let early = examine(&one.client[..client], &other.server[..server]);
                    fuzz::stays(&early, &late);
                }
            }
        }
    }
}

#[test]
fn look_alikes_are_not_taken_for_it() {
    let cases: &[(&[u8], &[u8])] = &[
        // NNTP, and a news server that is not asked.
        (b"MODE READER\r\n", b"200 news.example ready\r\n"),
        (b"CAPABILITIES\r\n", b"201 news ready (no posting)\r\n"),
        // 220 without the one or the other.
        (b"QUIT\r\n", b"220 ready\r\n"),
        (b"GET x\r\n", b"220 mx ESMTP\r\n"),
        // Commands of the one to a server of the other.
        (b"USER a\r\n", b"220 mx ESMTP\r\n500 x\r\n"),
        (b"USER a\r\n", b"220-mx\r\n220 LMTP\r\n500 x\r\n"),
        (b"AUTH PLAIN AHVzZXIAcGFzcw==\r\n", b"220 FTP server\r\n504 no\r\n"),
        (b"MAIL FROM:<a@b>\r\n", b"220 files\r\n500 x\r\n"),
        // What both POP3 and Redis say.
        (b"QUIT\r\n", b"+OK\r\n"),
        (b"AUTH PLAIN\r\n", b"+OK\r\n"),
        // ICAP, HTTP/0.9, gopher.
        (b"OPTIONS icap://a/b ICAP/1.0\r\n\r\n", b""),
        (b"GET /\r\n", b"<html>"),
        (b"/selector\r\n", b"iText\t"),
        // beanstalkd.
        (b"stats\r\n", b"OK 923\r\n---\n"),
        (b"use tube\r\n", b"USING tube\r\n"),
        // XML that is no stream, and a stream of another kind.
        (b"<?xml version='1.0'?><policy-file-request/>\0", b""),
        (b"<html>", b""),
        // Words without structure.
        (b"NICK a\r\n", b"hello\r\n"),
        (b"INFO\r\n", b"hello\r\n"),
        (b"get x\r\n", b"ERROR\r\n"),
        (b"CONNECT {\"a\":1}\r\n", b"+OK\r\n"),
        (b"*3\r\nhello", b""),
        (b"* OK\r\n", b"* OK\r\n"),
        (b"stat\n", b"stat\n"),
        // Numbers that begin alike.
        (b"\x05\x01\x00", b"\x05\x02"),
        (b"\x05\x00\x0b\x03\x10\x00\x00\x00", b"\x05\x00\x0c\x03"),
        (b"\x05\x02\x00\x00", b"\x05\x00"),
        (b"\x04\x01\x00\x50\x01\x02\x03\x04\xff\x00", b"\x00\x5a\x00\x00\x00\x00\x00\x00"),
        (b"\x04\x01\x00\x50\x01\x02\x03\x04\x00", b"\x84\x01\x00\x00\x00"),
        (b"\0\0\0\x2c\0\x12\0\x04\0\0\0\x01\0\x0cconsole-prod", b""),
        (b"\xff\xff\xff\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff"),
        // TLS and SSL 2.
        (CLIENT_HELLO, b"\x16\x03\x03\x00\x5a\x02"),
        (b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", b"\x16\x03\x01"),
    ];
    for (client, server) in cases {
        let name = name(client, server);
        assert!(!matches!(name, Name::Found(_)), "{name:?} {} / {}", shown(client), shown(server));
    }
}

#[test]
fn random_bytes_and_the_middle_of_a_stream_are_nothing() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..32).flat_map(|_| next().to_le_bytes()).collect();
        let (client, server) = bytes.split_at(128);
        assert_eq!(name(client, server), Name::Unknown, "{client:?} {server:?}");
    }
    for text in
        [b"his is the middle of a letter, and\r\n".as_slice(), b"</message><message to='a'>", b"0\r\n\r\n"]
    {
        assert!(!matches!(name(text, b"of another\r\n"), Name::Found(_)));
    }
}

#[test]
fn the_longest_prefix_is_never_undecided() {
    for sample in SAMPLES {
        let fill = |bytes: &[u8], with: u8| {
            let mut whole = bytes.trim_ascii_end().to_vec();
            whole.resize(PEEK, with);
            whole
        };
        for with in [b' ', b'a', 0] {
            for keep in 0..sample.client.len().min(40) {
                let client = fill(&sample.client[..keep], with);
                let server = fill(&sample.server[..sample.server.len().min(keep)], with);
                assert_ne!(
                    name(&client, &server),
                    Name::Incomplete,
                    "{} / {}",
                    shown(&client),
                    shown(&server)
                );
            }
        }
    }
}

#[test]
fn pipelined_words_behind_an_unanswered_upgrade_are_not_believed() {
    let client = b"EHLO c\r\nSTARTTLS\r\nAUTH PLAIN AHVzZXIAcGFzcw==\r\n";
    let unanswered = examine(client, b"220 mx\r\n250 ok\r\n").dialogue;
    assert_eq!(unanswered, Dialogue::default().asking());
    let switched = examine(client, b"220 mx\r\n250 ok\r\n220 go\r\n").dialogue;
    assert_eq!(switched.credential, None);
    assert_eq!(switched.switch.map(|switch| (switch.from, switch.client)), Some((Upgrade::Smtp, 18)));
    let refused = examine(client, b"220 mx\r\n250 ok\r\n454 no\r\n").dialogue;
    assert_eq!(refused.credential, Some(Credential::SmtpPlain));
}

#[test]
fn a_nats_client_that_begins_with_tls_switches_after_info() {
    let info = b"INFO {\"tls_required\":true}\r\n";
    let seen = examine(CLIENT_HELLO, info);
    assert_eq!(seen.name, Name::Found(Protocol::Nats));
    let switch = Switch { from: Upgrade::Nats, client: 0, server: info.len() };
    assert_eq!(seen.dialogue.switch, Some(switch));
    assert_eq!(examine(CLIENT_HELLO, &info[..20]).dialogue, Dialogue::default());
}
