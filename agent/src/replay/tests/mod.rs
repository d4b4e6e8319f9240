//! Whole captures through the whole pipeline.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::capture_file::{CaptureOptions, Input};
use crate::record::{Authentication, CloseReasonName, Record, Text};

mod made;
use made::*;

/// Everything that was handed out, in order.
#[derive(Default)]
struct Seen {
    records: Vec<Record>,
    ders: Vec<[u8; 32]>,
}

impl Output for Seen {
    fn connection(&mut self, record: &ConnectionRecord) -> io::Result<()> {
        self.records.push(Record::Connection(record.clone().into()));
        Ok(())
    }
    fn certificate(&mut self, record: &CertificateRecord) -> io::Result<()> {
        self.records.push(Record::Certificate(record.clone().into()));
        Ok(())
    }
    fn der(&mut self, fingerprint: &[u8; 32], der: &[u8]) -> io::Result<()> {
        assert_eq!(crate::certificate::fingerprint(der), *fingerprint);
        self.ders.push(*fingerprint);
        Ok(())
    }
    fn wants_der(&self) -> bool {
        true
    }
    fn finding(&mut self, record: &FindingRecord) -> io::Result<()> {
        self.records.push(Record::Finding(record.clone().into()));
        Ok(())
    }
    fn gap(&mut self, record: &GapRecord) -> io::Result<()> {
        self.records.push(Record::Gap(record.clone().into()));
        Ok(())
    }
    fn progress(&mut self, _progress: Progress) -> io::Result<()> {
        Ok(())
    }
}

impl Seen {
    fn connections(&self) -> Vec<&ConnectionRecord> {
        self.records
            .iter()
            .filter_map(|record| match record {
                Record::Connection(connection) => Some(&**connection),
                _ => None,
            })
            .collect()
    }

    fn findings(&self) -> Vec<&FindingRecord> {
        self.records
            .iter()
            .filter_map(|record| match record {
                Record::Finding(finding) => Some(&**finding),
                _ => None,
            })
            .collect()
    }
}

struct Files(PathBuf);

impl Files {
    fn new() -> Files {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("countersign-replay-{}-{serial}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Files(folder)
    }

    fn replay(&self, captures: &[&Made], filter: WatchFilter) -> (Seen, Totals) {
        let inputs: Vec<Input> = captures
            .iter()
            .enumerate()
            .map(|(index, made)| {
                let path = self.0.join(format!("{index}.pcap"));
                std::fs::write(&path, &made.bytes).unwrap();
                Input::File(path)
            })
            .collect();
        let mut source = CaptureSource::open(&inputs, CaptureOptions::default()).unwrap();
        let names = (0..captures.len()).map(|index| format!("{index}.pcap").into()).collect();
        let mut seen = Seen::default();
        let totals =
            replay(&mut source, Settings::new(&Config::default(), names, filter), &mut seen).unwrap();
        (seen, totals)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn replayed(made: &Made) -> (Seen, Totals) {
    Files::new().replay(&[made], WatchFilter::default())
}

#[test]
fn a_connection_of_a_capture_has_one_final_record_that_names_no_host() {
    let mut made = Made::new();
    made.connection(flow(40_000, 443), &tls12_mutual(), Ends::Fin);
    let (seen, totals) = replayed(&made);
    let [connection] = seen.connections()[..] else { panic!("{:?}", seen.records) };
    assert_eq!((connection.revision, connection.r#final), (0, true));
    assert_eq!((connection.source.as_ref(), connection.file.as_deref()), ("replay", Some("0.pcap")));
    assert_eq!((&connection.host, &connection.host_id), (&None, &None));
    assert_eq!(
        (&connection.boot_id, &connection.agent_version, &connection.interface),
        (&None, &None, &None)
    );
    assert!(connection.observed_from.is_empty());
    for end in [&connection.client, &connection.server] {
        assert_eq!((&end.process, end.process_unknown.as_deref(), end.netns), (&None, Some("replay"), None));
        assert_eq!(end.certificates.len(), 2);
    }
    assert_eq!(connection.authentication, Authentication::Mutual);
    assert_eq!(connection.opened.0, i64::try_from(BEGIN).unwrap() + connection.opened.0 % 1_000_000);
    assert_eq!(connection.close_reason, Some(CloseReasonName::Fin));
    assert!(connection.bytes.is_some_and(|bytes| bytes.client_to_server > 1000));
    assert_eq!((totals.connections, totals.certificates, totals.open), (1, 3, 0));
    assert_eq!(totals.authentication.of("mutual"), 1);
    assert_eq!(seen.ders.len(), 3, "client, server and the one authority");
    let at = |wanted: &str| {
        seen.records.iter().position(|record| match record {
            Record::Certificate(certificate) => certificate.sha256 == wanted,
            _ => false,
        })
    };
    let connection_at = seen.records.iter().position(|record| matches!(record, Record::Connection(_)));
    assert!(at(&connection.client.certificates[0]) < connection_at && connection_at.is_some());
}

#[test]
fn a_connection_has_the_same_id_in_every_capture_of_it() {
    let mut whole = Made::new();
    whole.connection(flow(40_000, 80), &http(), Ends::Fin);
    let before = whole.now;
    whole.connection(flow(40_001, 80), &http(), Ends::Fin);
    let mut part = Made::new();
    part.now = before;
    part.connection(flow(40_001, 80), &http(), Ends::Fin);
    let (whole, part) = (replayed(&whole).0, replayed(&part).0);
    assert_eq!(whole.connections()[1].id, part.connections()[0].id);
    let ids: Vec<_> = whole.connections().iter().map(|connection| connection.id.clone()).collect();
    assert!(ids.is_sorted() && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn what_the_capture_does_not_show_is_not_said() {
    let mut made = Made::new();
    made.connection(flow(40_000, 80), &[], Ends::Never);
    made.connection(flow(40_001, 443), &tls12_mutual()[..2], Ends::Never);
    made.connection(flow(40_002, 443), &tls13_mutual(), Ends::Never);
    let (seen, totals) = replayed(&made);
    let connections = seen.connections();
    assert_eq!(connections.len(), 3);
    for connection in &connections {
        assert_eq!((connection.closed, connection.close_reason, connection.bytes), (None, None, None));
    }
    let answers: Vec<_> = connections.iter().map(|connection| connection.authentication).collect();
    assert_eq!(answers, [Authentication::Unknown, Authentication::Unknown, Authentication::Mutual]);
    assert_eq!(connections[0].protocol, "silent");
    assert_eq!(totals.open, 3);
}

#[test]
fn findings_come_last_with_how_often_and_when() {
    let mut made = Made::new();
    for number in 0..5 {
        made.connection(flow(40_000 + number, 80), &http(), Ends::Fin);
        made.now += 3600 * SECOND;
    }
    let (seen, totals) = replayed(&made);
    let [finding] = seen.findings()[..] else { panic!("{:?}", seen.records) };
    assert!(matches!(seen.records.last(), Some(Record::Finding(_))));
    assert_eq!((finding.code.as_ref(), finding.count), ("unauthenticated_east_west", 5));
    assert_eq!((finding.last_seen.0 - finding.first_seen.0) / 3_600_000_000_000, 4);
    assert_eq!(totals.findings.of("unauthenticated_east_west"), 5);
}

#[test]
fn a_filter_leaves_out_connections_with_their_certificates_and_findings() {
    let mut made = Made::new();
    made.connection(flow(40_000, 80), &http(), Ends::Fin);
    made.connection(flow(40_001, 8443), &tls12_mutual(), Ends::Fin);
    made.connection(flow(40_002, 443), &tls12_server_only(), Ends::Fin);
    let filter = WatchFilter { port: vec![443], ..WatchFilter::default() };
    let (seen, totals) = Files::new().replay(&[&made], filter);
    assert_eq!((totals.connections, totals.filtered), (1, 2));
    let [connection] = seen.connections()[..] else { panic!("{:?}", seen.records) };
    assert_eq!(connection.server.port, 443);
    let codes: Vec<_> = seen.findings().iter().map(|finding| finding.code.clone()).collect();
    assert!(codes.contains(&Text::from("server_only_tls_east_west")), "{codes:?}");
    assert!(!codes.contains(&Text::from("unauthenticated_east_west")), "{codes:?}");
    assert_eq!(seen.ders.len(), connection.server.certificates.len());
}

#[test]
fn several_captures_are_one_timeline_and_each_connection_names_its_file() {
    let (mut first, mut second) = (Made::new(), Made::new());
    first.connection(flow(40_000, 80), &http(), Ends::Fin);
    first.now += 20 * SECOND;
    first.connection(flow(40_002, 80), &http(), Ends::Fin);
    second.now += 10 * SECOND;
    second.connection(flow(40_001, 80), &http(), Ends::Fin);
    let (seen, _) = Files::new().replay(&[&first, &second], WatchFilter::default());
    let files: Vec<_> = seen
        .connections()
        .iter()
        .map(|connection| (connection.client.port, connection.file.clone().unwrap()))
        .collect();
    let expected = [(40_000, "0.pcap"), (40_001, "1.pcap"), (40_002, "0.pcap")];
    assert_eq!(files, expected.map(|(port, file)| (port, file.into())));
}

#[test]
fn more_open_connections_than_there_is_room_for_are_counted() {
    let mut made = Made::new();
    let many = u32::try_from(MAX_CONNECTIONS).unwrap() + 100;
    for number in 0..many {
        let flow = Flow {
            client: 3 + u8::try_from(number / 60_000).unwrap(),
            client_port: 1 + u16::try_from(number % 60_000).unwrap(),
            server_port: 80,
        };
        made.connection(flow, &http(), Ends::Never);
    }
    let (seen, totals) = replayed(&made);
    assert_eq!(totals.connections + totals.refused, u64::from(many));
    // The capture's own table may be the smaller one: then the idlest have an end that was not seen.
    if totals.refused > 0 {
        let gap = seen.records.iter().find(|record| matches!(record, Record::Gap(_)));
        assert!(matches!(gap, Some(Record::Gap(gap)) if gap.lost == Some(totals.refused)));
    }
}

#[test]
fn connections_that_never_go_on_are_cut_short_counted_and_say_so() {
    const MANY: u16 = 1000;
    let mut made = Made::new();
    for number in 0..MANY {
        let flow = flow(1024 + number, 443);
        let sent = 1000 + u32::from(flow.client_port);
        made.packet(flow, true, 2, sent, 0, &[]);
        made.packet(flow, false, 18, 900_000, sent + 1, &[]);
        for place in 0..12 {
            made.packet(flow, true, 16, sent + 100 + 1400 * place, 900_001, &[b'z'; 1400]);
        }
    }
    made.connection(flow(40_000, 443), &tls12_mutual(), Ends::Fin);
    let (seen, totals) = replayed(&made);
    assert!(totals.cut > u64::from(MANY) / 5 && totals.cut < u64::from(MANY), "{}", totals.cut);
    assert_eq!(totals.authentication.of("mutual"), 1, "who goes on has room");
    assert_eq!(totals.unknown.of("budget"), totals.cut);
    let of_budget = |connection: &&&ConnectionRecord| connection.capture_reason.as_deref() == Some("budget");
    assert_eq!(seen.connections().iter().filter(of_budget).count() as u64, totals.cut);
    let first = seen.connections().into_iter().find(|connection| connection.client.port == 1024);
    assert_eq!(first.and_then(|first| first.capture_reason.as_deref()), Some("budget"), "the oldest");
}

#[test]
fn time_strikes_once_however_far_it_jumps_and_whichever_way() {
    let mut metronome = Metronome::default();
    let now = Timestamp(BEGIN);
    assert!(metronome.strikes(now));
    assert!(!metronome.strikes(Timestamp(BEGIN + TICK - 1)));
    assert!(metronome.strikes(Timestamp(BEGIN + 9000 * TICK)));
    assert!(!metronome.strikes(Timestamp(BEGIN + 9000 * TICK)));
    assert!(metronome.strikes(Timestamp(BEGIN)), "a clock set back");
    let strikes = (0..2 * MAX_EVENTS_PER_TICK).filter(|_| metronome.strikes(Timestamp(BEGIN))).count();
    assert_eq!(strikes, 2, "a clock that stands still");
}

#[test]
fn a_capture_that_shows_a_renegotiation_claims_nothing_of_the_client() {
    let hello = [&[22, 3, 3, 0, 80][..], &[0xee; 80]].concat();
    let data = [&[23, 3, 3, 0, 80][..], &[0xee; 80]].concat();
    let mut made = Made::new();
    for (port, after) in
        [(40_000, vec![hello.clone()]), (40_001, vec![data.clone(), hello]), (40_002, vec![data])]
    {
        let mut said = tls12_server_only();
        said.extend(after.into_iter().map(|bytes| (true, bytes)));
        made.connection(flow(port, 443), &said, Ends::Fin);
        made.now += SECOND;
    }
    let (seen, _) = replayed(&made);
    let answers: Vec<_> = seen
        .connections()
        .iter()
        .map(|connection| (connection.authentication, connection.evidence.reason.as_deref()))
        .collect();
    let unknown = (Authentication::Unknown, Some("renegotiation"));
    assert_eq!(answers, [unknown, unknown, (Authentication::ServerOnly, None)]);
}

/// `budget` would say that countersign did not care to read on.
#[test]
fn what_the_snap_length_cut_off_is_said_to_be_cut() {
    let mut made = Made { snap: 54 + 60, ..Made::new() };
    made.connection(flow(40_000, 443), &tls12_mutual(), Ends::Fin);
    made.connection(flow(40_001, 443), &tls13_mutual(), Ends::Never);
    let (seen, _) = replayed(&made);
    assert_eq!(seen.connections().len(), 2);
    for connection in seen.connections() {
        assert_eq!(connection.authentication, Authentication::Unknown);
        assert_eq!(connection.evidence.reason.as_deref(), Some("truncated"));
        assert_eq!(
            (connection.capture_complete, connection.capture_reason.as_deref()),
            (false, Some("truncated"))
        );
    }
}

/// Each dialogue once with its end and once without: the name, and why nobody knows who would have authenticated, if so.
#[test]
fn an_opening_that_ends_before_tls_is_in_clear_only_if_nothing_else_was_wanted() {
    let client = |text: &[u8]| (true, text.to_vec());
    let server = |text: &[u8]| (false, text.to_vec());
    let smtp = |rest: &[(bool, Vec<u8>)]| {
        let opening = [server(b"220 a ESMTP\r\n"), client(b"EHLO b\r\n"), server(b"250 a\r\n")];
        ("smtp", [&opening, rest].concat())
    };
    let ssl_request = client(&[0, 0, 0, 8, 4, 210, 22, 47]);
    let greeted = [client(&[5, 1, 0]), server(&[5, 0])];
    let imap = [server(b"* OK hi\r\n"), client(b"a STARTTLS\r\n")].to_vec();
    let xmpp = client(b"<stream:stream to='a'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    let start_tls = [&b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16"[..], b"1.3.6.1.4.1.1466.20037"].concat();
    let (in_clear, open) = (None, Some("incomplete"));
    let cases = [
        // Asked, and no answer; or agreed, and nothing came.
        (smtp(&[client(b"STARTTLS\r\n")]), open, open),
        (smtp(&[client(b"STARTTLS\r\n"), server(b"220 go\r\n")]), open, open),
        (("imap", imap), open, open),
        (("pop3", vec![server(b"+OK hi\r\n"), client(b"STLS\r\n")]), open, open),
        (("ftp", vec![server(b"220 FTP\r\n"), client(b"AUTH TLS\r\n")]), open, open),
        (("xmpp", vec![xmpp]), open, open),
        (("ldap", vec![client(&start_tls)]), open, open),
        (("amqp", vec![client(b"AMQP\x02\x01\0\0")]), open, open),
        (("socks", [&greeted[..], &[client(&[5, 1, 0, 1, 1, 2, 3, 4, 1, 187])]].concat()), open, open),
        (("postgresql", vec![ssl_request.clone()]), open, open),
        (("postgresql", vec![ssl_request.clone(), server(b"E\0\0\0\x0dSFATAL\0\0")]), open, open),
        // Not asked, or refused: the next words could have been another wish.
        (smtp(&[]), in_clear, open),
        (smtp(&[client(b"STARTTLS\r\n"), server(b"454 no\r\n")]), in_clear, open),
        (("postgresql", vec![ssl_request, server(b"N")]), in_clear, open),
        // Nothing else can follow.
        (smtp(&[client(b"QUIT\r\n")]), in_clear, in_clear),
    ];
    for ends in [Ends::Fin, Ends::Never] {
        let mut made = Made::new();
        for (port, ((_, said), ..)) in (40_000..).zip(&cases) {
            made.connection(flow(port, 9_999), said, ends);
        }
        let (seen, _) = replayed(&made);
        assert_eq!(seen.connections().len(), cases.len());
        for (connection, (case, ended, not_ended)) in seen.connections().into_iter().zip(&cases) {
            let reason = if ends == Ends::Fin { *ended } else { *not_ended };
            let answer = if reason.is_none() { Authentication::None } else { Authentication::Unknown };
            assert_eq!(
                (
                    connection.protocol.as_ref(),
                    connection.authentication,
                    connection.evidence.reason.as_deref()
                ),
                (case.0, answer, reason),
                "{case:?}"
            );
        }
    }
}

/// Whichever packet is missing: also the last one of a direction, which only the numbers of the end tell.
#[test]
fn a_dialogue_in_clear_with_a_hole_is_not_complete() {
    let client = |text: &str| (true, text.as_bytes().to_vec());
    let server = |text: &str| (false, text.as_bytes().to_vec());
    let request = [client("GET / HTTP/1.1\r\n"), client("Host: a\r\n"), client("X: b\r\n\r\n")];
    let answer = [server("HTTP/1.1 200 OK\r\n"), server("Content-Length: 5\r\n\r\n"), server("hello")];
    let plain = ([request, answer].concat(), Authentication::None);
    let asks = [client("CONNECT a:443 HTTP/1.1\r\n"), client("Host: a\r\n\r\n")];
    let grants = [server("HTTP/1.1 200 OK\r\n"), server("X: y\r\n\r\n")];
    let tunnel = ([asks, grants].concat(), Authentication::Unknown);
    for (said, answer) in [plain, tunnel] {
        for missed in 0..said.len() {
            let mut made = Made { missed: Some(3 + missed), ..Made::new() };
            made.connection(flow(40_000, 80), &said, Ends::Fin);
            let (seen, _) = replayed(&made);
            let [connection] = seen.connections()[..] else { panic!("{:?}", seen.records) };
            let complete = (connection.capture_complete, connection.capture_reason.as_deref());
            assert_eq!(complete, (false, Some("lost")), "{missed} of {said:?}");
            // Without its first words it has no name.
            if missed > 0 {
                assert_eq!(connection.authentication, answer, "{missed} of {said:?}");
            }
        }
    }
}

#[test]
fn a_clock_that_is_set_back_ends_no_connection_before_its_beginning() {
    const FIN_AND_ACK: u8 = 17;
    let (mut made, said) = (Made::new(), http());
    made.connection(flow(40_000, 80), &said, Ends::Never);
    made.now -= 3600 * SECOND;
    let (client, server) = (41_001 + said[0].1.len() as u32, 900_001 + said[1].1.len() as u32);
    made.packet(flow(40_000, 80), true, FIN_AND_ACK, client, server, &[]);
    made.packet(flow(40_000, 80), false, FIN_AND_ACK, server, client + 1, &[]);
    made.packet(flow(40_000, 80), true, 16, client + 1, server + 1, &[]);
    let (seen, totals) = replayed(&made);
    let [connection] = seen.connections()[..] else { panic!("{:?}", seen.records) };
    assert_eq!((connection.closed, connection.close_reason), (None, Some(CloseReasonName::Fin)));
    assert!(connection.decided.is_some_and(|decided| decided >= connection.opened));
    assert_eq!(totals.open, 0);
}

/// SQL Server: its handshake stands in packets of TDS, what follows does not.
#[test]
fn a_handshake_in_packets_of_tds_is_read() {
    let packet = |kind: u8, body: &[u8]| {
        let length = (body.len() as u16 + 8).to_be_bytes();
        [&[kind, 1, length[0], length[1], 0, 0, 1, 0], body].concat()
    };
    let pre_login = |kind, encryption: u8| {
        packet(kind, &[b"\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\x10\0\x07\xd0\0\0", &[encryption][..]].concat())
    };
    let mut answers = Vec::new();
    for encryption in [1, 0] {
        let mut said = vec![(true, pre_login(0x12, encryption)), (false, pre_login(0x04, encryption))];
        for (by_client, bytes) in tls12_mutual() {
            let is_data = bytes[0] == 23;
            let packets = bytes.chunks(1000).flat_map(|body| packet(0x12, body));
            said.push((by_client, if is_data { bytes } else { packets.collect() }));
        }
        let mut made = Made::new();
        made.connection(flow(40_000, 1433), &said, Ends::Fin);
        let (seen, _) = replayed(&made);
        let [connection] = seen.connections()[..] else { panic!("{:?}", seen.records) };
        answers.push((
            connection.protocol.to_string(),
            connection.upgraded_from.as_deref().map(str::to_owned),
            connection.authentication,
            connection.evidence.reason.as_deref().map(str::to_owned),
        ));
    }
    let login_only = ("tds".to_owned(), None, Authentication::Unknown, Some("other_protocol".to_owned()));
    let all = ("tls".to_owned(), Some("tds".to_owned()), Authentication::Mutual, None);
    assert_eq!(answers, [all, login_only]);
}
