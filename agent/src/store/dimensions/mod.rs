//! What repeats: written once, known by a number.

mod holding;
mod numbers;

use std::hash::Hash;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::StoreError;
use super::keys::{Key, Keys};
use super::node::{is_visitor, node_key};
use super::parts::from_hex;
use super::repeated::{Answer, End};
use crate::record::{
    CertificateRecord, ConnectionRecord, EndpointRecord, Scope, SideName, SubjectAlternativeNames,
    WorkloadRecord,
};
use numbers::Numbers;

/// First bytes of the SHA-256 of what is kept, by which the file is searched: nobody finds two records with the same.
type Hashed = [u8; 16];

/// Tables of what repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Dimension {
    Program,
    Process,
    Holders,
    Workload,
    Certificate,
    Endpoint,
    Answer,
    Node,
    Edge,
    Pairing,
    Visitor,
}

impl Dimension {
    pub fn table(self) -> &'static str {
        match self {
            Dimension::Program => "program",
            Dimension::Process => "process",
            Dimension::Holders => "holders",
            Dimension::Workload => "workload",
            Dimension::Certificate => "certificate",
            Dimension::Endpoint => "endpoint",
            Dimension::Answer => "answer",
            Dimension::Node => "node",
            Dimension::Edge => "edge",
            Dimension::Pairing => "pairing",
            Dimension::Visitor => "visitor",
        }
    }

    /// Deletes what belongs to a row and is found by it alone.
    pub fn delete_parts(self) -> Option<&'static str> {
        match self {
            Dimension::Certificate => Some("DELETE FROM alternative_name WHERE certificate = ?1"),
            Dimension::Endpoint => Some("DELETE FROM endpoint_name WHERE endpoint = ?1"),
            Dimension::Holders => Some("DELETE FROM held WHERE holders = ?1"),
            Dimension::Pairing => Some("DELETE FROM held WHERE pairing = ?1"),
            _ => None,
        }
    }
}

/// Where a connection belongs: rows of `pairing` and `visitor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Belonging {
    pub pairing: i64,
    /// `None` if its client is more than an address from elsewhere.
    pub visitor: Option<i64>,
}

/// A row of `process`.
type Process = (u32, u64, Option<i64>, Option<u32>, i64);

/// Gives numbers to what repeats. What it remembers is true only while its transaction can still be committed.
#[derive(Debug, Default)]
pub(super) struct Dimensions {
    keys: Keys,
    programs: Numbers<Key>,
    processes: Numbers<Process>,
    holders: Numbers<Key>,
    /// When holders are known to have been seen: from, until.
    seen: Numbers<i64, [i64; 2]>,
    /// Which holders are known to have held sockets of which pairings.
    held: Numbers<(i64, i64), ()>,
    workloads: Numbers<Key>,
    certificates: Numbers<[u8; 32]>,
    endpoints: Numbers<Key>,
    answers: Numbers<Key>,
    nodes: Numbers<String>,
    edges: Numbers<(i64, i64, u16)>,
    pairings: Numbers<(i64, i64, i64)>,
    visitors: Numbers<Key>,
    /// JSON of what is looked up, used again.
    buffer: Vec<u8>,
}

impl Dimensions {
    /// These rows were deleted.
    pub fn forget(&mut self, dimension: Dimension, mut gone: Vec<i64>) {
        gone.sort_unstable();
        match dimension {
            Dimension::Program => self.programs.forget(&gone),
            Dimension::Process => self.processes.forget(&gone),
            Dimension::Holders => self.holders.forget(&gone),
            Dimension::Workload => self.workloads.forget(&gone),
            Dimension::Certificate => self.certificates.forget(&gone),
            Dimension::Endpoint => self.endpoints.forget(&gone),
            Dimension::Answer => self.answers.forget(&gone),
            Dimension::Node => self.nodes.forget(&gone),
            Dimension::Edge => self.edges.forget(&gone),
            Dimension::Pairing => self.pairings.forget(&gone),
            Dimension::Visitor => self.visitors.forget(&gone),
        }
    }

    /// Its number, from memory, from the file, or a new one.
    fn number<K: Eq + Hash>(
        numbers: &mut Numbers<K>,
        key: K,
        find: impl FnOnce() -> Result<Option<i64>, StoreError>,
        insert: impl FnOnce() -> Result<i64, StoreError>,
    ) -> Result<i64, StoreError> {
        if let Some(known) = numbers.get(&key) {
            return Ok(known);
        }
        let number = match find()? {
            Some(number) => number,
            None => insert()?,
        };
        Ok(numbers.remember(key, number))
    }

    /// The number of what was said of a connection.
    fn answer(&mut self, database: &Connection, answer: &Answer<'_>) -> Result<i64, StoreError> {
        let key = self.keys.of(answer);
        if let Some(known) = self.answers.get(&key) {
            return Ok(known);
        }
        let answer = answer.copy();
        let digest = hashed(&mut self.buffer, &answer)?;
        let (text, tls) = (&self.buffer, answer.tls.as_deref());
        Self::number(
            &mut self.answers,
            key,
            || find(database, "SELECT id FROM answer WHERE digest = ?1", [&digest[..]]),
            || {
                insert(
                    database,
                    "INSERT INTO answer (digest, authentication, encryption, protocol, scope, server_name, \
                     client_public_key_sha256, server_public_key_sha256, record) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    params![
                        digest,
                        answer.authentication.as_str(),
                        answer.encryption.as_str(),
                        &*answer.protocol,
                        answer.scope.as_str(),
                        tls.and_then(|tls| tls.server_name.as_deref()),
                        tls.and_then(|tls| tls.client_public_key_sha256.as_deref()),
                        tls.and_then(|tls| tls.server_public_key_sha256.as_deref()),
                        json(text),
                    ],
                )
            },
        )
    }

    /// The number of an end; `seen` is when it was seen.
    fn endpoint(&mut self, database: &Connection, endpoint: &End<'_>, seen: i64) -> Result<i64, StoreError> {
        let key = self.keys.of(endpoint);
        if let Some(known) = self.endpoints.get(&key) {
            return Ok(known);
        }
        let endpoint = endpoint.copy();
        let digest = hashed(&mut self.buffer, &endpoint)?;
        if let Some(found) = find(database, "SELECT id FROM endpoint WHERE digest = ?1", [&digest[..]])? {
            return Ok(self.endpoints.remember(key, found));
        }
        let record = std::mem::take(&mut self.buffer);
        // A visitor's is with its connections.
        let address = Some(&endpoint.address).filter(|address| !address.is_empty());
        let workload = match &endpoint.workload {
            Some(workload) => Some(self.workload(database, workload)?),
            None => None,
        };
        let number = insert(
            database,
            "INSERT INTO endpoint (digest, address, workload, identity, record) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![digest, address, workload, endpoint.identity, json(&record)],
        )?;
        self.buffer = record;
        if let Some(workload) = &endpoint.workload {
            let key = workload.key();
            for name in workload.names().chain([key.as_str()]) {
                execute(
                    database,
                    "INSERT OR IGNORE INTO endpoint_name (name, endpoint) VALUES (?1, ?2)",
                    params![name, number],
                )?;
            }
        }
        for (position, fingerprint) in endpoint.certificates.iter().enumerate() {
            // Fingerprints are our own, of this length.
            let Some(sha256) = from_hex::<32>(fingerprint) else { continue };
            let certificate = self.fingerprint(database, sha256, seen)?;
            insert(
                database,
                "INSERT INTO endpoint_certificate (endpoint, position, certificate) VALUES (?1, ?2, ?3)",
                params![number, position as i64, certificate],
            )?;
        }
        Ok(self.endpoints.remember(key, number))
    }

    fn workload(&mut self, database: &Connection, workload: &WorkloadRecord) -> Result<i64, StoreError> {
        let memory = self.keys.of(workload);
        if let Some(known) = self.workloads.get(&memory) {
            return Ok(known);
        }
        hashed(&mut self.buffer, workload)?;
        // The latest names of a key are the ones that are kept; endpoints have their own.
        let number = query(
            database,
            "INSERT INTO workload (key, kind, name, record) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (key) DO UPDATE SET name = excluded.name, record = excluded.record RETURNING id",
            params![workload.key(), &*workload.kind, workload.name, json(&self.buffer)],
        )?;
        Ok(self.workloads.remember(memory, number))
    }

    /// The number of a certificate of which perhaps only this is known.
    fn fingerprint(&mut self, database: &Connection, sha256: [u8; 32], seen: i64) -> Result<i64, StoreError> {
        Self::number(
            &mut self.certificates,
            sha256,
            || find(database, "SELECT id FROM certificate WHERE sha256 = ?1", [&sha256[..]]),
            || {
                insert(
                    database,
                    "INSERT INTO certificate (sha256, first_seen) VALUES (?1, ?2)",
                    params![sha256, seen],
                )
            },
        )
    }

    /// Writes what is known of a certificate.
    pub fn certificate(
        &mut self,
        database: &Connection,
        record: &CertificateRecord,
    ) -> Result<(), StoreError> {
        let Some(sha256) = from_hex::<32>(&record.sha256) else { return Ok(()) };
        let seen = record.first_seen.map_or(0, |time| time.0);
        let number = self.fingerprint(database, sha256, seen)?;
        hashed(&mut self.buffer, record)?;
        execute(
            database,
            "UPDATE certificate SET spki_sha256 = ?2, identity = ?3, subject = ?4, issuer = ?5, serial = ?6, \
             not_before = ?7, not_after = ?8, first_seen = min(first_seen, ?9), record = ?10 WHERE id = ?1",
            params![
                number,
                record.spki_sha256.as_deref().and_then(from_hex::<32>),
                crate::certificate::identity(record),
                record.subject,
                record.issuer,
                record.serial,
                record.not_before.map(|time| time.0),
                record.not_after.map(|time| time.0),
                seen,
                json(&self.buffer),
            ],
        )?;
        let SubjectAlternativeNames { dns, uri, ip, email, unread: _ } = &record.san;
        for name in [dns, uri, ip, email].into_iter().flatten() {
            execute(
                database,
                "INSERT OR IGNORE INTO alternative_name (name, certificate) VALUES (?1, ?2)",
                params![name, number],
            )?;
        }
        Ok(())
    }

    /// Where a connection belongs.
    pub fn belonging(
        &mut self,
        database: &Connection,
        record: &ConnectionRecord,
    ) -> Result<Belonging, StoreError> {
        if !is_visitor(&record.client, record.scope) {
            let pairing = self.pairing(database, record, &End::client(&record.client))?;
            return Ok(Belonging { pairing, visitor: None });
        }
        let pairing = self.pairing(database, record, &End::visitor(&record.client))?;
        let visitor = self.visitor(database, &record.client.address)?;
        Ok(Belonging { pairing, visitor: Some(visitor) })
    }

    fn visitor(&mut self, database: &Connection, address: &str) -> Result<i64, StoreError> {
        let key = self.keys.of(&address);
        Self::number(
            &mut self.visitors,
            key,
            || find(database, "SELECT id FROM visitor WHERE address = ?1", [address]),
            || insert(database, "INSERT INTO visitor (address) VALUES (?1)", [address]),
        )
    }

    /// The number of connections with these ends and this answer.
    fn pairing(
        &mut self,
        database: &Connection,
        record: &ConnectionRecord,
        client: &End<'_>,
    ) -> Result<i64, StoreError> {
        let seen = record.opened.0;
        let answer = self.answer(database, &Answer(record))?;
        let client = self.endpoint(database, client, seen)?;
        let server = self.endpoint(database, &End::server(&record.server), seen)?;
        let numbers = (client, server, answer);
        if let Some(known) = self.pairings.get(&numbers) {
            return Ok(known);
        }
        let found = find(
            database,
            "SELECT id FROM pairing WHERE client = ?1 AND server = ?2 AND answer = ?3",
            params![client, server, answer],
        )?;
        let number = match found {
            Some(number) => number,
            None => {
                let edge = self.edge(database, [&record.client, &record.server], record.scope)?;
                insert(
                    database,
                    "INSERT INTO pairing (edge, client, server, answer, connections, first_seen, last_seen, \
                     client_bytes, server_bytes) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, 0, 0)",
                    params![edge, client, server, answer, i64::MAX, i64::MIN],
                )?
            }
        };
        Ok(self.pairings.remember(numbers, number))
    }

    fn edge(
        &mut self,
        database: &Connection,
        ends: [&EndpointRecord; 2],
        scope: Scope,
    ) -> Result<i64, StoreError> {
        let client = self.node(database, ends[0], SideName::Client, scope)?;
        let server = self.node(database, ends[1], SideName::Server, scope)?;
        let port = ends[1].port;
        Self::number(
            &mut self.edges,
            (client, server, port),
            || {
                find(
                    database,
                    "SELECT id FROM edge WHERE client = ?1 AND server = ?2 AND port = ?3",
                    params![client, server, port],
                )
            },
            || {
                insert(
                    database,
                    "INSERT INTO edge (client, server, port) VALUES (?1, ?2, ?3)",
                    params![client, server, port],
                )
            },
        )
    }

    fn node(
        &mut self,
        database: &Connection,
        endpoint: &EndpointRecord,
        side: SideName,
        scope: Scope,
    ) -> Result<i64, StoreError> {
        let key = node_key(endpoint, side, scope);
        if let Some(known) = self.nodes.get(&key) {
            return Ok(known);
        }
        if let Some(found) = find(database, "SELECT id FROM node WHERE key = ?1", [&key])? {
            return Ok(self.nodes.remember(key, found));
        }
        let workload = match &endpoint.workload {
            Some(workload) => Some(self.workload(database, workload)?),
            None => None,
        };
        let number =
            insert(database, "INSERT INTO node (key, workload) VALUES (?1, ?2)", params![key, workload])?;
        Ok(self.nodes.remember(key, number))
    }
}

/// Writes the JSON of a value into the buffer.
fn hashed(buffer: &mut Vec<u8>, value: &impl Serialize) -> Result<Hashed, StoreError> {
    buffer.clear();
    serde_json::to_writer(&mut *buffer, value)?;
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(&*buffer)[..16]);
    Ok(key)
}

/// JSON is text: what serde_json writes is UTF-8.
fn json(buffer: &[u8]) -> &str {
    std::str::from_utf8(buffer).unwrap_or_default()
}

fn find(
    database: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Option<i64>, StoreError> {
    Ok(database.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?)
}

fn query(database: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<i64, StoreError> {
    Ok(database.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
}

fn insert(database: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<i64, StoreError> {
    Ok(database.prepare_cached(sql)?.insert(parameters)?)
}

fn execute(database: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<(), StoreError> {
    database.prepare_cached(sql)?.execute(parameters)?;
    Ok(())
}
