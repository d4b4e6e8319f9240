//! What leaves the file, and that nothing that is kept leaves with it.

use super::sample::{Folder, full, id};
use super::tests::{one, record};
use super::*;
use crate::record::{ByteCounts, CertificateRecord, ConnectionRecord, Record, Scope, WallTime, sample};

const HOUR: i64 = 3_600_000_000_000;
/// The beginning of an hour.
const BEGIN: i64 = 497_222 * HOUR;

const KEEP_ALL: Retention = Retention { oldest: WallTime(0), max_bytes: u64::MAX, fold_before: None };

/// Every table of what repeats.
const DIMENSIONS: [&str; 17] = [
    "program",
    "process",
    "holders",
    "holder",
    "workload",
    "certificate",
    "endpoint",
    "endpoint_certificate",
    "answer",
    "node",
    "edge",
    "pairing",
    "visitor",
    "visit",
    "held",
    "alternative_name",
    "endpoint_name",
];

fn tidy_all(writer: &mut Writer, keep: &Retention) -> Tidied {
    let mut all = Tidied::default();
    for _ in 0..1_000 {
        let tidied = writer.tidy(keep).unwrap();
        all.aged += tidied.aged;
        all.displaced += tidied.displaced;
        all.folded += tidied.folded;
        if !tidied.more {
            return all;
        }
    }
    panic!("it does not end");
}

/// A connection of the last word, opened at this time.
fn at(opened: i64, number: u64) -> ConnectionRecord {
    let mut record = full(number);
    record.id = id(opened, number);
    record.opened = WallTime(opened);
    record.decided = Some(WallTime(opened + 1_000));
    record.closed = Some(WallTime(opened + 9_000));
    record.r#final = true;
    record.client.translated.clear();
    record.client.inherited_from = None;
    record.bytes = Some(ByteCounts { client_to_server: 10, server_to_client: 20 });
    record
}

fn from_another_host(record: &mut ConnectionRecord, number: u64) {
    record.client = crate::record::EndpointRecord {
        address: format!("10.0.{}.{}", number / 256, number % 256),
        port: 40_000,
        ..sample::connection(1).client
    };
}

/// A client from elsewhere of whom nothing but the address is known.
fn visiting(record: &mut ConnectionRecord, number: u64) {
    from_another_host(record, number);
    record.scope = Scope::NorthSouth;
}

fn counts_are_true(file: &std::path::Path) {
    let wrong = "SELECT count(*) FROM pairing p WHERE connections != \
                 (SELECT count(*) FROM connection c WHERE c.pairing = p.id) + \
                 (SELECT coalesce(sum(f.connections), 0) FROM folded f WHERE f.pairing = p.id)";
    assert_eq!(one(file, wrong), 0);
    let wrong = "SELECT count(*) FROM visit v WHERE connections != \
                 (SELECT count(*) FROM connection c WHERE c.visitor = v.visitor AND c.pairing = v.pairing) + \
                 (SELECT coalesce(sum(f.connections), 0) FROM folded f WHERE f.visitor = v.visitor AND f.pairing = v.pairing)";
    assert_eq!(one(file, wrong), 0);
    let bytes = "SELECT (SELECT sum(client_bytes) FROM pairing) - \
                 coalesce((SELECT sum(client_bytes) FROM connection), 0) - \
                 coalesce((SELECT sum(client_bytes) FROM folded), 0)";
    assert_eq!(one(file, &format!("SELECT coalesce(({bytes}), 0)")), 0);
    assert_eq!(one(file, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    let (there, rows) =
        ("SELECT pairing, opened FROM pairing_connections", "SELECT pairing, opened FROM connection");
    assert_eq!(one(file, &format!("SELECT count(*) FROM ({there} EXCEPT {rows})")), 0);
    assert_eq!(one(file, &format!("SELECT count(*) FROM ({rows} EXCEPT {there})")), 0);
    assert_eq!(one(file, &format!("SELECT count(*) - (SELECT count(*) FROM connection) FROM ({there})")), 0);
}

#[test]
fn what_is_too_old_goes_with_all_that_only_it_had() {
    let folder = Folder::new("aged");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    let mut old: Vec<Record> = Vec::new();
    for number in 0..2_500 {
        let mut connection = at(BEGIN + number as i64, number);
        from_another_host(&mut connection, number % 700);
        old.push(record(&connection));
    }
    for number in 3_000..4_500 {
        let mut connection = at(BEGIN + number as i64, number);
        visiting(&mut connection, number % 700);
        old.push(record(&connection));
    }
    writer.write(&old).unwrap();
    let mut young = at(BEGIN + 5 * HOUR, 9_000);
    from_another_host(&mut young, 3);
    writer.write(&[record(&young)]).unwrap();
    let tidied = tidy_all(&mut writer, &Retention { oldest: WallTime(BEGIN + HOUR), ..KEEP_ALL });
    assert_eq!(tidied, Tidied { aged: 4_000, ..Tidied::default() });
    counts_are_true(&file);
    assert_eq!(one(&file, "SELECT count(*) FROM pairing"), 1);
    assert_eq!(one(&file, "SELECT count(*) FROM endpoint"), 2);
    let mut reader = Reader::open(&file).unwrap();
    assert_eq!(reader.connection_by_id(&young.id).unwrap(), Some(young));
    // And when the last one goes, nothing is left.
    tidy_all(&mut writer, &Retention { oldest: WallTime(BEGIN + 9 * HOUR), ..KEEP_ALL });
    for table in DIMENSIONS {
        assert_eq!(one(&file, &format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn what_was_deleted_is_written_anew_when_it_comes_back() {
    let folder = Folder::new("back");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    let (before, after) = (at(BEGIN, 1), at(BEGIN + 9 * HOUR, 2));
    writer.write(&[record(&before)]).unwrap();
    tidy_all(&mut writer, &Retention { oldest: WallTime(BEGIN + HOUR), ..KEEP_ALL });
    assert_eq!(one(&file, "SELECT count(*) FROM endpoint"), 0);
    writer.write(&[record(&after)]).unwrap();
    counts_are_true(&file);
    let mut reader = Reader::open(&file).unwrap();
    assert_eq!(reader.connection_by_id(&after.id).unwrap(), Some(after));
    assert_eq!(one(&file, "SELECT min(id) > 2 FROM endpoint"), 1, "a number is not given twice");
}

#[test]
fn certificates_that_no_end_presented_leave_when_they_are_old() {
    let folder = Folder::new("swept");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    let certificate = |number: u64, first_seen: i64| {
        Record::Certificate(std::sync::Arc::new(CertificateRecord {
            sha256: format!("{number:064x}"),
            first_seen: Some(WallTime(first_seen)),
            ..CertificateRecord::default()
        }))
    };
    // The one in use is as old as they are.
    let mut records: Vec<Record> = (1..=500).map(|number| certificate(number, BEGIN)).collect();
    records.push(certificate(1_000, BEGIN + 9 * HOUR));
    let mut using = at(BEGIN + 9 * HOUR, 1);
    using.client.certificates = vec![format!("{:064x}", 250)];
    records.push(record(&using));
    writer.write(&records).unwrap();
    let keep = Retention { oldest: WallTime(BEGIN + HOUR), ..KEEP_ALL };
    let left = || one(&file, "SELECT count(*) FROM certificate");
    writer.tidy(&keep).unwrap();
    assert!((250..502).contains(&left()), "a slice is bounded: {}", left());
    for _ in 0..3 {
        writer.tidy(&keep).unwrap();
    }
    assert_eq!(left(), 2);
    // What is met again is written anew, and is looked at again.
    writer.write(&[certificate(3, BEGIN)]).unwrap();
    assert_eq!(left(), 3);
    for _ in 0..2 {
        writer.tidy(&keep).unwrap();
    }
    assert_eq!(left(), 2);
    counts_are_true(&file);
}

#[test]
fn beyond_its_room_the_oldest_go_first() {
    let folder = Folder::new("room");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    let all: Vec<Record> = (0..20_000).map(|number| record(&at(BEGIN + number as i64, number))).collect();
    writer.write(&all).unwrap();
    let full = writer.size().unwrap().bytes;
    let tidied = tidy_all(&mut writer, &Retention { max_bytes: full / 2, ..KEEP_ALL });
    let size = writer.size().unwrap();
    assert!(size.bytes <= full / 2, "{size:?} of {full}");
    assert!((8_000..14_000).contains(&tidied.displaced), "{tidied:?}");
    assert_eq!(size.oldest, Some(WallTime(BEGIN + tidied.displaced as i64)));
    counts_are_true(&file);
}

#[test]
fn short_connections_that_repeat_become_a_count_of_their_hour() {
    let folder = Folder::new("fold");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    let mut all: Vec<ConnectionRecord> =
        (0..2_400).map(|number| at(BEGIN + number as i64 * (HOUR / 1_000), number)).collect();
    // One is long, one is open still, one resumes a session, and one is of another pairing.
    all[10].closed = Some(WallTime(all[10].opened.0 + 61_000_000_000));
    (all[20].r#final, all[20].closed) = (false, None);
    all[30].client.inherited_from = Some(id(BEGIN, 1));
    from_another_host(&mut all[40], 1);
    // Two visitors, of whom each leaves an example.
    for (number, connection) in (0..10).zip(&mut all[50..]) {
        visiting(connection, number % 2);
    }
    writer.write(&all.iter().map(record).collect::<Vec<_>>()).unwrap();
    let keep = Retention { fold_before: Some(WallTime(BEGIN + 2 * HOUR)), ..KEEP_ALL };
    let tidied = tidy_all(&mut writer, &keep);
    assert_eq!(tidied.folded, 2_000 - 2 - 4 - 2);
    assert_eq!(tidy_all(&mut writer, &keep), Tidied::default(), "once is enough");
    counts_are_true(&file);
    assert_eq!(one(&file, "SELECT sum(connections) FROM pairing"), 2_400);
    assert_eq!(one(&file, "SELECT count(*) FROM folded"), 4);
    assert_eq!(one(&file, "SELECT sum(connections) FROM visit"), 10);
    assert_eq!(one(&file, "SELECT min(first_opened) FROM folded"), all[1].opened.0);
    assert_eq!(one(&file, "SELECT max(last_opened) FROM folded"), all[1_999].opened.0);
    let mut reader = Reader::open(&file).unwrap();
    for kept in [0, 10, 20, 30, 40, 50, 51, 1_000, 2_000, 2_399] {
        assert_eq!(reader.connection_by_id(&all[kept].id).unwrap().as_ref(), Some(&all[kept]), "{kept}");
    }
    assert_eq!(reader.connection_by_id(&all[1].id).unwrap(), None);
    // Another run of the daemon looks at the same time again, and does not fold twice.
    let mut writer = Writer::open(&file).unwrap();
    assert_eq!(tidy_all(&mut writer, &keep), Tidied::default());
    // Folded ones leave with their age, too.
    let tidied = tidy_all(&mut writer, &Retention { oldest: WallTime(BEGIN + 9 * HOUR), ..KEEP_ALL });
    assert_eq!(tidied.aged, 2_400);
    for table in DIMENSIONS.iter().chain(&["folded", "connection"]) {
        assert_eq!(one(&file, &format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn holders_are_seen_as_long_as_they_were_and_not_much_longer() {
    let folder = Folder::new("seen");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let mut seen = |after: i64, number: u64| {
        writer.write(&[record(&at(BEGIN + after, number))]).unwrap();
        let [from, until] = ["first_seen", "seen_until"]
            .map(|column| one(&folder.file(), &format!("SELECT {column} FROM holders")));
        [from - BEGIN, until - BEGIN]
    };
    let second = 1_000_000_000;
    assert_eq!(seen(60 * second, 1), [60 * second, 61 * second], "one that may live for a moment");
    assert_eq!(seen(60 * second + 5, 2), [60 * second, 61 * second], "nothing is written anew");
    assert_eq!(seen(90 * second, 3), [60 * second, 120 * second], "as long again");
    assert_eq!(seen(9 * HOUR, 4), [60 * second, 10 * HOUR], "an hour at most");
    assert_eq!(seen(30 * second, 5), [30 * second, 10 * HOUR], "records do not come in the order of time");
    assert_eq!(one(&folder.file(), "SELECT count(*) FROM held"), 1);
}
