//! Writing: the records of a batch in one transaction, all or none of them.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{
    CachedStatement, Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params,
    params_from_iter,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::StoreError;
use super::database::open_to_write;
use super::dimensions::{Belonging, Dimensions};
use super::parts::{ConnectionId, MAX_TRIES, Row};
use super::reader::edge_of;
use super::recent::{self, Recent};
use crate::record::{ByteCounts, CloseReasonName, ConnectionRecord, FindingRecord, GapRecord, Record};

const INSERT: &str = "INSERT INTO connection (opened, chance, pairing, revision, client_port, client_holders, server_holders, visitor, \
                      decided, closed, close_reason, session_id, client_bytes, server_bytes, client_examined, \
                      server_examined, shift, rest) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

/// The one writer of a file.
#[derive(Debug)]
pub struct Writer {
    database: Connection,
    dimensions: Dimensions,
    recent: Recent,
    progress: Progress,
}

/// How far retention has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Connections that were opened before have been looked at for folding, in nanoseconds.
    pub folded_until: i64,
    /// Certificates up to this number have been looked at for use.
    pub swept_to: i64,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Connections that were not in the file.
    pub connections: u64,
    /// Later revisions of connections that were.
    pub revisions: u64,
    /// Records that no agent makes: their id is not one of their time.
    pub refused: u64,
}

impl Writer {
    /// Opens the file, makes it if it is missing, and brings an older one to this version of the schema.
    ///
    /// # Errors
    /// If it cannot be opened, is no history, or is a later program's.
    pub fn open(path: &Path) -> Result<Writer, StoreError> {
        Ok(Writer {
            database: open_to_write(path)?,
            dimensions: Dimensions::default(),
            recent: Recent::default(),
            progress: Progress { folded_until: i64::MIN, swept_to: 0 },
        })
    }

    /// Writes records, of each connection only the last revision among them.
    ///
    /// # Errors
    /// If the file does not take them: then it has none of them, and they may be written again.
    pub fn write(&mut self, records: &[Record]) -> Result<Written, StoreError> {
        let written = self.write_all(records);
        if written.is_err() {
            // The numbers given in this transaction are void.
            self.forget_numbers();
        }
        written
    }

    pub(super) fn parts(&mut self) -> (&mut Connection, &mut Dimensions, &mut Progress) {
        (&mut self.database, &mut self.dimensions, &mut self.progress)
    }

    pub(super) fn forget_numbers(&mut self) {
        self.dimensions = Dimensions::default();
        self.recent = Recent::default();
    }

    pub(super) fn database(&self) -> &Connection {
        &self.database
    }

    fn write_all(&mut self, records: &[Record]) -> Result<Written, StoreError> {
        // Who else writes is noticed here, not in the middle.
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch {
            database: &transaction,
            insert: transaction.prepare_cached(INSERT)?,
            dimensions: &mut self.dimensions,
            recent: &mut self.recent,
            added: FxHashMap::default(),
            added_of_visitors: FxHashMap::default(),
            written: Written::default(),
        };
        for connection in latest(records) {
            batch.connection(connection)?;
        }
        for record in records {
            match record {
                Record::Connection(_) => {}
                Record::Certificate(certificate) => {
                    batch.dimensions.certificate(&transaction, certificate)?
                }
                Record::Finding(finding) => batch.finding(finding)?,
                Record::Gap(gap) => batch.gap(gap)?,
            }
        }
        batch.count()?;
        batch.recent.settle(&transaction)?;
        let written = batch.written;
        drop(batch);
        transaction.commit()?;
        Ok(written)
    }
}

/// The last revision of each connection, in the order in which the connections came.
fn latest(records: &[Record]) -> Vec<&Arc<ConnectionRecord>> {
    let mut met = FxHashSet::default();
    let connections = records.iter().rev().filter_map(|record| match record {
        Record::Connection(connection) => Some(connection),
        _ => None,
    });
    let mut latest: Vec<_> = connections.filter(|connection| met.insert(&connection.id)).collect();
    latest.reverse();
    latest
}

/// A transaction.
struct Batch<'a> {
    database: &'a Connection,
    /// [`INSERT`], at hand for every connection.
    insert: CachedStatement<'a>,
    dimensions: &'a mut Dimensions,
    recent: &'a mut Recent,
    /// What each pairing gets.
    added: FxHashMap<i64, Added>,
    /// The same of each visitor.
    added_of_visitors: FxHashMap<(i64, i64), Added>,
    written: Written,
}

/// What a batch adds to a count.
#[derive(Debug, Clone, Copy)]
struct Added {
    connections: i64,
    first_seen: i64,
    last_seen: i64,
    client_bytes: i64,
    server_bytes: i64,
}

impl Default for Added {
    fn default() -> Self {
        Added { connections: 0, first_seen: i64::MAX, last_seen: i64::MIN, client_bytes: 0, server_bytes: 0 }
    }
}

impl Added {
    fn add(&mut self, other: &Added) {
        self.connections += other.connections;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.client_bytes += other.client_bytes;
        self.server_bytes += other.server_bytes;
    }

    /// As columns have it, in order.
    fn values(&self) -> [i64; 5] {
        [self.connections, self.first_seen, self.last_seen, self.client_bytes, self.server_bytes]
    }
}

/// A connection as the file has it.
struct Stored {
    opened: i64,
    belonging: Belonging,
    revision: i64,
    bytes: ByteCounts,
}

impl Batch<'_> {
    fn connection(&mut self, record: &ConnectionRecord) -> Result<(), StoreError> {
        let Some(row) = Row::of(record) else {
            self.written.refused += 1;
            return Ok(());
        };
        // The first revision is in no file yet.
        let stored = if row.revision == 0 { None } else { self.stored(&row)? };
        let revision = i64::from(row.revision) * 2 + i64::from(row.r#final);
        if stored.as_ref().is_some_and(|stored| stored.revision >= revision) {
            return Ok(());
        }
        let belonging = self.dimensions.belonging(self.database, record)?;
        let held = [
            self.dimensions.held(self.database, &record.client, row.opened)?,
            self.dimensions.held(self.database, &record.server, row.opened)?,
        ];
        for holders in held.into_iter().flatten() {
            self.dimensions.hold(self.database, holders, belonging.pairing)?;
        }
        if let Some(stored) = stored {
            self.written.revisions += 1;
            self.add(stored.belonging, -1, &row, Some(stored.bytes));
            self.replace(&stored, &row, belonging, revision, held)?;
        } else {
            self.written.connections += 1;
            self.insert(&row, belonging, revision, held)?;
        }
        self.add(belonging, 1, &row, row.bytes);
        Ok(())
    }

    /// The row of the connection, if an earlier revision is in the file.
    fn stored(&self, row: &Row) -> Result<Option<Stored>, StoreError> {
        let sql = "SELECT opened, pairing, revision, coalesce(client_bytes, 0), coalesce(server_bytes, 0), visitor \
                   FROM connection WHERE (opened = ?1 OR opened BETWEEN ?2 AND ?3) AND chance = ?4";
        let moved = row.opened + row.id.spread();
        let stored = self
            .database
            .prepare_cached(sql)?
            .query_row(params![row.opened, moved, moved + MAX_TRIES, row.id.chance], |found| {
                Ok(Stored {
                    opened: found.get(0)?,
                    belonging: Belonging { pairing: found.get(1)?, visitor: found.get(5)? },
                    revision: found.get(2)?,
                    bytes: ByteCounts {
                        client_to_server: found.get::<_, i64>(3)?.cast_unsigned(),
                        server_to_client: found.get::<_, i64>(4)?.cast_unsigned(),
                    },
                })
            })
            .optional()?;
        Ok(stored)
    }

    fn insert(
        &mut self,
        row: &Row,
        belonging: Belonging,
        revision: i64,
        held: [Option<i64>; 2],
    ) -> Result<(), StoreError> {
        let tries = std::iter::once(0).chain((row.id.spread()..).take(MAX_TRIES as usize));
        let mut taken = None;
        for shift in tries {
            let values = Values::of(row);
            let inserted = self.insert.execute(params![
                row.opened + shift,
                row.id.chance,
                belonging.pairing,
                revision,
                row.client_port,
                held[0],
                held[1],
                belonging.visitor,
                row.decided,
                row.closed,
                values.close_reason,
                row.session_id,
                values.client_bytes,
                values.server_bytes,
                values.client_examined,
                values.server_examined,
                (shift != 0).then_some(shift),
                row.rest,
            ]);
            match inserted {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    taken = Some(error);
                }
                other => {
                    other?;
                    return self.recent.add(self.database, belonging.pairing, row.opened + shift);
                }
            }
        }
        taken.map_or(Ok(()), |error| Err(error.into()))
    }

    fn replace(
        &mut self,
        stored: &Stored,
        row: &Row,
        belonging: Belonging,
        revision: i64,
        held: [Option<i64>; 2],
    ) -> Result<(), StoreError> {
        let sql = "UPDATE connection SET pairing = ?2, revision = ?3, client_port = ?4, client_holders = ?5, \
                   server_holders = ?6, decided = ?7, closed = ?8, close_reason = ?9, session_id = ?10, \
                   client_bytes = ?11, server_bytes = ?12, client_examined = ?13, server_examined = ?14, rest = ?15, \
                   visitor = ?16 WHERE opened = ?1";
        if stored.belonging.pairing != belonging.pairing {
            recent::remove(self.database, stored.belonging.pairing, stored.opened)?;
            self.recent.add(self.database, belonging.pairing, stored.opened)?;
        }
        let values = Values::of(row);
        self.database.prepare_cached(sql)?.execute(params![
            stored.opened,
            belonging.pairing,
            revision,
            row.client_port,
            held[0],
            held[1],
            row.decided,
            row.closed,
            values.close_reason,
            row.session_id,
            values.client_bytes,
            values.server_bytes,
            values.client_examined,
            values.server_examined,
            row.rest,
            belonging.visitor,
        ])?;
        Ok(())
    }

    /// Notes that there is a connection more, or one less.
    fn add(&mut self, to: Belonging, connections: i64, row: &Row, bytes: Option<ByteCounts>) {
        let last = [row.decided, row.closed].into_iter().flatten().max().unwrap_or(0).max(0);
        let bytes = bytes.unwrap_or_default();
        let one = Added {
            connections,
            first_seen: row.opened,
            last_seen: row.opened.saturating_add(last),
            client_bytes: connections * bytes.client_to_server.cast_signed(),
            server_bytes: connections * bytes.server_to_client.cast_signed(),
        };
        self.added.entry(to.pairing).or_default().add(&one);
        if let Some(visitor) = to.visitor {
            self.added_of_visitors.entry((visitor, to.pairing)).or_default().add(&one);
        }
    }

    /// Adds what the batch brought to the counts. What no connection has any more was a mistake.
    fn count(&mut self) -> Result<(), StoreError> {
        let sql = "UPDATE pairing SET connections = connections + ?2, first_seen = min(first_seen, ?3), \
                   last_seen = max(last_seen, ?4), client_bytes = client_bytes + ?5, server_bytes = server_bytes + ?6 \
                   WHERE id = ?1";
        let mut statement = self.database.prepare_cached(sql)?;
        for (pairing, added) in self.added.drain() {
            statement.execute(params_from_iter([pairing].into_iter().chain(added.values())))?;
        }
        let sql = "INSERT INTO visit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (visitor, pairing) DO UPDATE SET \
                   connections = connections + excluded.connections, first_seen = min(first_seen, excluded.first_seen), \
                   last_seen = max(last_seen, excluded.last_seen), client_bytes = client_bytes + excluded.client_bytes, \
                   server_bytes = server_bytes + excluded.server_bytes";
        let mut statement = self.database.prepare_cached(sql)?;
        for ((visitor, pairing), added) in self.added_of_visitors.drain() {
            statement.execute(params_from_iter([visitor, pairing].into_iter().chain(added.values())))?;
        }
        Ok(())
    }

    fn finding(&mut self, finding: &FindingRecord) -> Result<(), StoreError> {
        let edge = match finding.connection.as_deref().and_then(ConnectionId::parse) {
            Some(id) => edge_of(self.database, id)?,
            None => None,
        };
        let sql = "INSERT INTO finding (id, code, severity, edge, first_seen, last_seen, record) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                   ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, edge = coalesce(excluded.edge, edge), \
                   first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen), \
                   record = excluded.record";
        self.database.prepare_cached(sql)?.execute(params![
            finding.id,
            &*finding.code,
            name(finding.severity)?,
            edge,
            finding.first_seen.0,
            finding.last_seen.0,
            serde_json::to_string(finding)?,
        ])?;
        Ok(())
    }

    fn gap(&mut self, gap: &GapRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO gap (began, ended, cause, lost) VALUES (?1, ?2, ?3, ?4)";
        self.database.prepare_cached(sql)?.execute(params![
            gap.from.map(|time| time.0),
            gap.to.0,
            gap.cause,
            gap.lost.map(u64::cast_signed),
        ])?;
        Ok(())
    }
}

/// Values of a row as the columns have them.
struct Values {
    close_reason: Option<i64>,
    client_bytes: Option<i64>,
    server_bytes: Option<i64>,
    client_examined: Option<i64>,
    server_examined: Option<i64>,
}

impl Values {
    fn of(row: &Row) -> Values {
        let examined = |bytes: u64| (bytes != 0).then_some(bytes.cast_signed());
        Values {
            close_reason: row.close_reason.map(close_reason),
            client_bytes: row.bytes.map(|bytes| bytes.client_to_server.cast_signed()),
            server_bytes: row.bytes.map(|bytes| bytes.server_to_client.cast_signed()),
            client_examined: examined(row.examined.client),
            server_examined: examined(row.examined.server),
        }
    }
}

/// As `connection.close_reason` has it.
fn close_reason(reason: CloseReasonName) -> i64 {
    CloseReasonName::ALL.iter().zip(0..).find(|(name, _)| **name == reason).map_or(3, |(_, number)| number)
}

/// The name of the contract.
fn name(value: impl serde::Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(name) => Ok(name),
        other => Ok(other.to_string()),
    }
}
