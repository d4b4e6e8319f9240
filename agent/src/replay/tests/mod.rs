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
