//! Small histories made by hand, in which the order of time matters.

use rusqlite::params;

use super::tests::Everything;
use super::*;
use crate::record::sample::{connection, unit};
use crate::record::*;
use crate::store::Writer;
use crate::store::sample::{Folder, id};

/// Noon of a day; the histories tell minutes from it.
pub(crate) const NOON: i64 =
    1_790_000_000_000_000_000 / 86_400_000_000_000 * 86_400_000_000_000 + 43_200_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;

pub(crate) fn minute(minutes: i64) -> WallTime {
    WallTime(NOON + minutes * MINUTE)
}

/// A connection of a second between two workloads, opened so many minutes after noon; mutual.
pub(crate) fn from_to(client: &str, server: &str, minutes: i64) -> ConnectionRecord {
    let opened = NOON + minutes * MINUTE;
    let number = client
        .bytes()
        .chain(server.bytes())
        .fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let end = |name: &str, port| EndpointRecord {
        address: "10.0.0.1".to_owned(),
        port,
        workload: Some(unit(name).into()),
        ..EndpointRecord::default()
    };
    ConnectionRecord {
        id: id(opened, number),
        revision: 0,
        r#final: true,
        opened: WallTime(opened),
        decided: Some(WallTime(opened + MINUTE / 600)),
        closed: Some(WallTime(opened + SECOND)),
        close_reason: Some(CloseReasonName::Fin),
        scope: Scope::EastWest,
        client: end(client, 40_000),
        server: end(server, 443),
        protocol: "tls".into(),
        encryption: Encryption::Tls,
        authentication: Authentication::Mutual,
        ..connection(0)
    }
}

/// The fingerprint of a made certificate.
pub(crate) fn sha256(name: &str) -> String {
    let byte = name.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    format!("{byte:02x}").repeat(32)
}

/// An end that presents this certificate, and is known by this identity.
pub(crate) fn presents(end: &mut EndpointRecord, certificate: &str, identity: &str) {
    end.certificates = vec![sha256(certificate)];
    end.identity = Some(identity.to_owned());
}

/// What is known of a made certificate: from `from` on, for a thousand minutes.
pub(crate) fn certificate(name: &str, identity: &str, issuer: &str, from: i64) -> Record {
    Record::Certificate(std::sync::Arc::new(CertificateRecord {
        schema: CERTIFICATE_SCHEMA.to_owned(),
        sha256: sha256(name),
        spki_sha256: Some(sha256(&format!("key of {name}"))),
        subject: Some(format!("CN={identity}")),
        issuer: Some(issuer.to_owned()),
        not_before: Some(minute(from)),
        not_after: Some(minute(from + 1_000)),
        spiffe_id: Some(identity.to_owned()),
        first_seen: Some(minute(from)),
        ..CertificateRecord::default()
    }))
}

/// A file with these.
pub(crate) struct History {
    pub folder: Folder,
}

impl History {
    pub fn of(name: &str, connections: Vec<ConnectionRecord>, certificates: Vec<Record>) -> History {
        let folder = Folder::new(name);
        let mut records: Vec<Record> =
            connections.into_iter().map(|connection| Record::Connection(connection.into())).collect();
        records.extend(certificates);
        Writer::open(&folder.file()).unwrap().write(&records).unwrap();
        History { folder }
    }

    /// Folds all connections that were opened before this minute, as the daemon does.
    pub fn fold_before(&self, minutes: i64) {
        let database = rusqlite::Connection::open(self.folder.file()).unwrap();
        let hour = 3_600 * SECOND;
        let sql = "INSERT INTO folded SELECT pairing, opened / ?2, coalesce(visitor, 0), count(*), min(opened), max(opened), \
                   0, 0 FROM connection WHERE opened < ?1 GROUP BY 1, 2, 3";
        database.execute(sql, params![minute(minutes).0, hour]).unwrap();
        for table in ["pairing_connection", "pairing_recent", "connection"] {
            let sql = format!("DELETE FROM {table} WHERE opened < ?1");
            database.execute(&sql, [minute(minutes).0]).unwrap();
        }
    }

    /// The lines of an answer, asked a day later, without the last one.
    pub fn ask(&self, question: impl Into<Question>) -> Vec<serde_json::Value> {
        let mut reader = Reader::open(&self.folder.file()).unwrap();
        let mut all = Everything::default();
        question.into().answer(&mut reader, minute(1_440), &mut all).unwrap();
        all.0.pop();
        all.0
    }
}
