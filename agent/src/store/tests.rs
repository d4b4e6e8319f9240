use std::sync::Arc;

use super::*;
use crate::record::sample::{connection, tls, unit};
use crate::record::*;

const OPENED: i64 = 1_790_000_000_123_456_789;

pub(super) struct Folder(std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn file(&self) -> std::path::PathBuf {
        self.0.join(FILE_NAME)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn id(opened: i64, number: u64) -> String {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&number.to_be_bytes());
    let id = uuid::Builder::from_unix_timestamp_millis((opened / 1_000_000).cast_unsigned(), &chance);
    id.into_uuid().hyphenated().to_string()
}

/// A connection of which something is known in every field.
pub(super) fn full(number: u64) -> ConnectionRecord {
    let process = |pid| {
        Arc::new(ProcessRecord {
            pid,
            start_time: 77,
            started: Some(WallTime(OPENED - 5)),
            executable: Some("/usr/sbin/nginx".to_owned()),
            comm: "nginx".to_owned(),
            uid: 33,
            user: Some("www-data".to_owned()),
            parents: vec![ParentRecord { pid: 1, comm: "systemd".to_owned(), ..ParentRecord::default() }],
            namespace_pid: Some(pid + 1),
            pid_namespace: Some(4_026_531_836),
            ..ProcessRecord::default()
        })
    };
    let holder = |pid, role: &'static str| HolderRecord {
        process: process(pid),
        role: role.into(),
        source: "getpeername".into(),
    };
    let opened = OPENED + number as i64;
    ConnectionRecord {
        id: id(opened, number),
        revision: 0,
        session_id: Some("00112233445566778899aabbccddeeff".to_owned()),
        host: Some("host".to_owned()),
        opened: WallTime(opened),
        decided: Some(WallTime(opened + 3_000_000)),
        closed: Some(WallTime(opened + 9_000_000)),
        close_reason: Some(CloseReasonName::Reset),
        client: EndpointRecord {
            address: "10.0.0.1".to_owned(),
            port: 40_000,
            translated: vec!["10.9.0.1:1234".to_owned()],
            process: Some(process(900)),
            processes: vec![holder(900, "connect"), holder(901, "use")],
            workload: Some(Arc::new(unit("client.service"))),
            certificates: vec!["ab".repeat(32), "cd".repeat(32)],
            identity: Some("spiffe://test/client".to_owned()),
            inherited_from: Some(id(OPENED - 1, 7)),
            verification: Some(VerificationName::Verified),
            ..EndpointRecord::default()
        },
        server: EndpointRecord {
            address: "10.0.0.2".to_owned(),
            port: 8443,
            process_unknown: Some("other_host".into()),
            ..EndpointRecord::default()
        },
        tls: Some(Arc::new(tls())),
        findings: vec!["unauthenticated_east_west".into()],
        cleartext_examined: DirectionBytes { client: 12, server: 0 },
        bytes: Some(ByteCounts { client_to_server: 100, server_to_client: 2_000 }),
        ..connection(1)
    }
}

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

#[test]
fn connections_of_the_same_nanosecond_are_all_kept() {
    let folder = Folder::new("shift");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let same: Vec<ConnectionRecord> = (0..20)
        .map(|number| ConnectionRecord { id: id(OPENED, number), opened: WallTime(OPENED), ..full(0) })
        .collect();
    writer.write(&same.iter().map(record).collect::<Vec<_>>()).unwrap();
    let last = ConnectionRecord { revision: 3, ..same[19].clone() };
    writer.write(&[record(&last)]).unwrap();
    let mut reader = Reader::open(&folder.file()).unwrap();
    for record in same[..19].iter().chain([&last]) {
        assert_eq!(reader.connection_by_id(&record.id).unwrap().as_ref(), Some(record));
    }
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
