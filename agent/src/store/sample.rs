//! Histories for tests.

use std::sync::Arc;

use super::FILE_NAME;
use crate::record::sample::{connection, tls, unit};
use crate::record::*;

/// When the first of them was opened.
pub(crate) const OPENED: i64 = 1_790_000_000_123_456_789;

/// A folder of its own, gone at the end.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Where the history is.
    pub fn file(&self) -> std::path::PathBuf {
        self.0.join(FILE_NAME)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An id of this time.
pub(crate) fn id(opened: i64, number: u64) -> String {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&number.to_be_bytes());
    let id = uuid::Builder::from_unix_timestamp_millis((opened / 1_000_000).cast_unsigned(), &chance);
    id.into_uuid().hyphenated().to_string()
}

/// A connection of which something is known in every field.
pub(crate) fn full(number: u64) -> ConnectionRecord {
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
            mount_namespace: Some(4_026_531_841),
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
