use std::sync::Arc;

use super::sample::{Folder, OPENED, full, id};
use super::*;
use crate::record::sample::connection;
use crate::record::*;

pub(super) fn record(connection: &ConnectionRecord) -> Record {
    Record::Connection(Arc::new(connection.clone()))
}

pub(super) fn one(file: &std::path::Path, sql: &str) -> i64 {
    Reader::open(file).unwrap().database().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_was_written_is_read_as_it_was() {
    let folder = Folder::new("round");
    let records = [full(1), full(2), ConnectionRecord { revision: 0, id: id(0, 9), ..connection(3) }];
    let mut writer = Writer::open(&folder.file()).unwrap();
    let written = writer.write(&records.each_ref().map(record)).unwrap();
    assert_eq!(written, Written { connections: 3, revisions: 0, refused: 0 });
    let mut reader = Reader::open(&folder.file()).unwrap();
    for record in &records {
        assert_eq!(reader.connection_by_id(&record.id).unwrap().as_ref(), Some(record));
    }
    assert_eq!(reader.connection_by_id(&id(OPENED, 5)).unwrap(), None);
}

#[test]
fn a_later_revision_takes_the_place_of_the_one_before() {
    let folder = Folder::new("revision");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let first = ConnectionRecord { bytes: None, closed: None, ..full(1) };
    let second = ConnectionRecord {
        revision: 1,
        authentication: Authentication::Mutual,
        bytes: Some(ByteCounts { client_to_server: 5, server_to_client: 6 }),
        ..full(1)
    };
    let third = ConnectionRecord { revision: 2, r#final: true, ..second.clone() };
    writer.write(&[record(&first)]).unwrap();
    let written = writer.write(&[record(&second), record(&third)]).unwrap();
    assert_eq!(written, Written { connections: 0, revisions: 1, refused: 0 });
    assert_eq!(
        writer.write(&[record(&second)]).unwrap(),
        Written::default(),
        "an old revision changes nothing"
    );
    let mut reader = Reader::open(&folder.file()).unwrap();
    assert_eq!(reader.connection_by_id(&third.id).unwrap(), Some(third));
    let file = folder.file();
    assert_eq!(one(&file, "SELECT count(*) FROM connection"), 1);
    assert_eq!(one(&file, "SELECT sum(connections) FROM pairing"), 1);
    assert_eq!(one(&file, "SELECT sum(client_bytes) FROM pairing"), 5);
}

#[test]
fn what_repeats_is_kept_once() {
    let folder = Folder::new("repeats");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let all: Vec<Record> = (0..500).map(|number| record(&full(number))).collect();
    writer.write(&all[..250]).unwrap();
    // Another run of the daemon finds what this one wrote.
    let mut writer = Writer::open(&folder.file()).unwrap();
    writer.write(&all[250..]).unwrap();
    let file = folder.file();
    for (table, rows) in [
        ("connection", 500),
        ("pairing", 1),
        ("edge", 1),
        ("answer", 1),
        ("endpoint", 2),
        ("holders", 1),
        ("process", 2),
        ("program", 1),
        ("workload", 1),
        ("certificate", 2),
    ] {
        assert_eq!(one(&file, &format!("SELECT count(*) FROM {table}")), rows, "{table}");
    }
    assert_eq!(one(&file, "SELECT connections FROM pairing"), 500);
}

/// Each value of a record in turn, changed.
fn changed(value: &serde_json::Value) -> Vec<serde_json::Value> {
    use serde_json::{Value, json};
    match value {
        Value::Null => Vec::new(),
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(value) => vec![json!(value.as_u64().unwrap() + 1)],
        Value::String(text) => vec![json!(format!("{text}a"))],
        Value::Array(values) => {
            let parts = values.iter().enumerate().flat_map(|(at, part)| {
                changed(part).into_iter().map(move |part| {
                    let mut all = values.clone();
                    all[at] = part;
                    Value::Array(all)
                })
            });
            parts.chain([Value::Array(values.iter().skip(1).cloned().collect())]).collect()
        }
        Value::Object(fields) => {
            let parts = fields.iter().flat_map(|(name, part)| {
                changed(part).into_iter().map(move |part| {
                    let mut all = fields.clone();
                    all[name] = part;
                    Value::Object(all)
                })
            });
            parts.collect()
        }
    }
}

#[test]
fn connections_that_differ_in_any_value_are_kept_apart() {
    let folder = Folder::new("apart");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let written = serde_json::to_value(full(1)).unwrap();
    // What is not of these types is no record.
    let others = changed(&written).into_iter().filter_map(|value| serde_json::from_value(value).ok());
    let others = others.filter(|other: &ConnectionRecord| *other != full(1));
    let all: Vec<ConnectionRecord> = (2..)
        .zip(others)
        .map(|(number, other)| ConnectionRecord { id: id(other.opened.0, number), ..other })
        .collect();
    assert!(all.len() > 75, "{}", all.len());
    assert_eq!(writer.write(&all.iter().map(record).collect::<Vec<_>>()).unwrap().refused, 1, "its session");
    let mut reader = Reader::open(&folder.file()).unwrap();
    for record in all.iter().filter(|record| record.session_id == full(1).session_id) {
        assert_eq!(reader.connection_by_id(&record.id).unwrap().as_ref(), Some(record));
    }
}

#[test]
fn connections_of_the_same_nanosecond_are_all_kept() {
    let folder = Folder::new("shift");
    let mut writer = Writer::open(&folder.file()).unwrap();
    // As many as an agent may find that are older than itself; ids are chance, and some begin to look at the same place.
    let same: Vec<ConnectionRecord> = (0..30_000)
        .map(|number| {
            let id = id(OPENED, number * 1_000_003 % 4_000_000_007 / 3);
            ConnectionRecord { id, opened: WallTime(OPENED), ..full(0) }
        })
        .collect();
    writer.write(&same.iter().map(record).collect::<Vec<_>>()).unwrap();
    assert_eq!(one(&folder.file(), "SELECT count(*) FROM connection"), same.len() as i64);
    let changed: Vec<ConnectionRecord> =
        same.iter().take(5_000).map(|one| ConnectionRecord { revision: 3, ..one.clone() }).collect();
    let written = writer.write(&changed.iter().map(record).collect::<Vec<_>>()).unwrap();
    assert_eq!(written, Written { connections: 0, revisions: 5_000, refused: 0 });
    let mut reader = Reader::open(&folder.file()).unwrap();
    for record in changed[..10].iter().chain(&same[29_990..]) {
        assert_eq!(reader.connection_by_id(&record.id).unwrap().as_ref(), Some(record));
    }
}

/// Files as programs with each version of the schema left them, as SQL (`.dump`): two connections of one pairing and one of another.
const LEFT: &[&str] = &[include_str!("fixtures/version-1.sql")];

#[test]
fn a_file_of_each_version_is_read_and_written_on() {
    for (version, left) in (1..).zip(LEFT) {
        let folder = Folder::new(&format!("version-{version}"));
        let file = folder.file();
        let old = rusqlite::Connection::open(&file).unwrap();
        old.execute_batch(left).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        old.pragma_update(None, "user_version", version).unwrap();
        drop(old);
        // A reader does not wait for the daemon's writer to bring it to this version.
        let mut reader = Reader::open(&file).unwrap();
        for bring_forward in [false, true] {
            if bring_forward {
                drop(Writer::open(&file).unwrap());
            }
            for number in [1, 2] {
                let found =
                    reader.connection_by_id(&id(OPENED + number, number.cast_unsigned())).unwrap().unwrap();
                assert_eq!(found.client.identity.as_deref(), Some("spiffe://test/client"));
                assert_eq!(found.client.processes[1].process.pid, 901);
                assert_eq!(found.bytes, Some(ByteCounts { client_to_server: 100, server_to_client: 2_000 }));
            }
        }
        assert_eq!(one(&file, "PRAGMA user_version"), i64::from(SCHEMA_VERSION));
        let later = ConnectionRecord { revision: 1, ..full(1) };
        let written = Writer::open(&file).unwrap().write(&[record(&later), record(&full(3))]).unwrap();
        assert_eq!(written, Written { connections: 1, revisions: 1, refused: 0 });
        assert_eq!(one(&file, "SELECT sum(connections) FROM pairing"), 4);
        assert_eq!(one(&file, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    }
    assert_eq!(LEFT.len() as i32, SCHEMA_VERSION, "a new version of the schema leaves its file here");
}

#[test]
fn what_is_no_record_of_an_agent_is_refused_and_counted() {
    let folder = Folder::new("refused");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let written = writer.write(&[record(&connection(5)), record(&full(1))]).unwrap();
    assert_eq!(written, Written { connections: 1, revisions: 0, refused: 1 });
}

#[test]
fn other_files_are_refused() {
    let folder = Folder::new("other");
    assert!(matches!(Reader::open(&folder.file()), Err(StoreError::Missing { .. })));
    std::fs::write(
        folder.file(),
        "no database at all, but longer than a header of a hundred bytes, so that it is read as one",
    )
    .unwrap();
    assert!(matches!(Reader::open(&folder.file()), Err(StoreError::NotAHistory { .. })));
    assert!(matches!(Writer::open(&folder.file()), Err(StoreError::NotAHistory { .. })));
    std::fs::remove_file(folder.file()).unwrap();
    let foreign = rusqlite::Connection::open(folder.file()).unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(Writer::open(&folder.file()), Err(StoreError::NotAHistory { .. })));
    std::fs::remove_file(folder.file()).unwrap();
    drop(Writer::open(&folder.file()).unwrap());
    let later = rusqlite::Connection::open(folder.file()).unwrap();
    later.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    assert!(matches!(Reader::open(&folder.file()), Err(StoreError::Later { .. })));
    assert!(matches!(Writer::open(&folder.file()), Err(StoreError::Later { .. })));
}

#[test]
fn connections_of_a_pairing_are_found_before_and_after_they_are_put_among_the_others() {
    let folder = Folder::new("recent");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    let (mut others_before, mut most_apart) = (0, 0);
    for number in 1..=100_u64 {
        writer.write(&[record(&full(number))]).unwrap();
        let others = one(&file, "SELECT count(*) FROM pairing_connection");
        assert_eq!(one(&file, "SELECT count(*) FROM pairing_connections"), number as i64);
        let latest = "SELECT opened FROM pairing_connections WHERE pairing = 1 ORDER BY opened DESC LIMIT 1";
        assert_eq!(one(&file, latest), full(number).opened.0);
        assert!(others - others_before <= 4, "some at a time: {others_before}, {others}");
        others_before = others;
        most_apart = most_apart.max(number as i64 - others);
        if number == 50 {
            // Another writer counts them anew.
            writer = Writer::open(&file).unwrap();
        }
    }
    assert_eq!(most_apart, 15);
    assert!(others_before >= 80, "{others_before}");
}

#[test]
fn a_connection_of_which_something_else_is_said_changes_its_pairing() {
    let folder = Folder::new("repaired");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    let all: Vec<Record> = (1..=20).map(|number| record(&full(number))).collect();
    writer.write(&all).unwrap();
    assert_eq!(one(&file, "SELECT count(*) FROM pairing_recent"), 16);
    // Put among the others, and apart.
    for (number, revision, protocol) in [(1, 1, "redis"), (20, 1, "redis"), (1, 2, "mqtt")] {
        let later = ConnectionRecord { revision, protocol: protocol.into(), ..full(number) };
        writer.write(&[record(&later)]).unwrap();
    }
    let wrong = "SELECT count(*) FROM connection c WHERE NOT EXISTS \
                 (SELECT 1 FROM pairing_connections i WHERE i.pairing = c.pairing AND i.opened = c.opened)";
    assert_eq!(one(&file, wrong), 0);
    assert_eq!(one(&file, "SELECT count(*) FROM pairing_connections"), 20);
    assert_eq!(one(&file, "SELECT count(*) FROM pairing_connections WHERE pairing > 1"), 2);
}

#[test]
fn connections_that_change_their_pairing_again_and_again_do_not_count_as_many() {
    let folder = Folder::new("changing");
    let file = folder.file();
    let mut writer = Writer::open(&file).unwrap();
    for revision in 0..60 {
        let protocol = if revision % 2 == 0 { "redis" } else { "mqtt" };
        let one = ConnectionRecord { revision, protocol: protocol.into(), ..full(1) };
        writer.write(&[record(&one)]).unwrap();
    }
    let apart = (2..40).map(|number| {
        writer.write(&[record(&full(number))]).unwrap();
        one(&file, "SELECT count(*) FROM pairing_recent")
    });
    assert_eq!(apart.max(), Some(15));
}
