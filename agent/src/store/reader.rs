//! Reading: rows become records again.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};
use rustc_hash::FxHashMap;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::database::open_to_read;
use super::parts::{ConnectionId, Held, MAX_SHIFT, Parts, Row};
use crate::record::{
    ByteCounts, CloseReasonName, ConnectionRecord, DirectionBytes, EndpointRecord, HolderRecord,
    ProcessRecord, WallTime,
};

/// Repeated parts of each kind that a reader keeps at hand, some kilobytes each.
const MAX_REMEMBERED: usize = 1_024;

/// Steps of SQLite's machine between two looks at whether it is to end.
const STEPS: i32 = 10_000;

/// Columns of `connection` that [`Reader::connection`] reads, in order.
const COLUMNS: &str = "c.opened, c.chance, c.revision, c.client_port, c.client_holders, c.server_holders, c.decided, \
                       c.closed, c.close_reason, c.session_id, c.client_bytes, c.server_bytes, c.client_examined, \
                       c.server_examined, c.shift, c.rest, p.client, p.server, p.answer, v.address";

/// Reads one file; it sees what was committed when each of its questions began.
#[derive(Debug)]
pub struct Reader {
    database: Connection,
    answers: FxHashMap<i64, ConnectionRecord>,
    endpoints: FxHashMap<i64, EndpointRecord>,
    holders: FxHashMap<i64, Held>,
}

impl Reader {
    /// Opens the file; it need not be the one that a daemon writes.
    ///
    /// # Errors
    /// If it is missing, is no history, or is a later program's.
    pub fn open(path: &Path) -> Result<Reader, StoreError> {
        Ok(Reader {
            database: open_to_read(path)?,
            answers: FxHashMap::default(),
            endpoints: FxHashMap::default(),
            holders: FxHashMap::default(),
        })
    }

    /// The file, for questions of later rooms.
    pub fn database(&self) -> &Connection {
        &self.database
    }

    /// Ends statements with [`rusqlite::ErrorCode::OperationInterrupted`] once `over` says so; it is asked every few
    /// tenths of a millisecond.
    ///
    /// # Errors
    /// If the file was closed.
    pub fn end_when(&mut self, over: impl FnMut() -> bool + Send + 'static) -> Result<(), StoreError> {
        Ok(self.database.progress_handler(STEPS, Some(over))?)
    }

    /// The connection with this id; `None` if it is not there, or only counted any more.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn connection_by_id(&mut self, id: &str) -> Result<Option<ConnectionRecord>, StoreError> {
        let Some(id) = ConnectionId::parse(id) else { return Ok(None) };
        let (from, to) = id.opened();
        let row = self
            .database
            .prepare_cached("SELECT opened FROM connection WHERE opened BETWEEN ?1 AND ?2 AND chance = ?3")?
            .query_row(params![from, to + MAX_SHIFT, id.chance], |row| row.get(0))
            .optional()?;
        match row {
            Some(row) => self.connection(row),
            None => Ok(None),
        }
    }

    /// The edge of the connection with this id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn edge_of(&self, id: &str) -> Result<Option<i64>, StoreError> {
        ConnectionId::parse(id).map_or(Ok(None), |id| edge_of(&self.database, id))
    }

    /// The id of the connection in this row (`connection.opened`), if it is one of this pairing.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn connection_id(&self, opened: i64, pairing: i64) -> Result<Option<String>, StoreError> {
        let sql =
            "SELECT opened - coalesce(shift, 0), chance FROM connection WHERE opened = ?1 AND pairing = ?2";
        let id = self
            .database
            .prepare_cached(sql)?
            .query_row([opened, pairing], |row| Ok(ConnectionId::of(row.get(0)?, row.get(1)?).to_string()))
            .optional()?;
        Ok(id)
    }

    /// The connection in this row (`connection.opened`).
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn connection(&mut self, opened: i64) -> Result<Option<ConnectionRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM connection c JOIN pairing p ON p.id = c.pairing \
             LEFT JOIN visitor v ON v.id = c.visitor WHERE c.opened = ?1"
        );
        let found =
            self.database.prepare_cached(&sql)?.query_row([opened], |row| Ok((values(row)?, numbers(row)?)));
        let Some((row, numbers)) = found.optional()? else { return Ok(None) };
        let parts = Parts {
            visitor: numbers.visitor,
            row,
            answer: self.answer(numbers.answer)?,
            client: self.endpoint(numbers.client)?,
            server: self.endpoint(numbers.server)?,
            held: [self.held(numbers.client_holders)?, self.held(numbers.server_holders)?],
        };
        Ok(Some(parts.join()?))
    }

    fn answer(&mut self, number: i64) -> Result<ConnectionRecord, StoreError> {
        let sql = "SELECT record FROM answer WHERE id = ?1";
        part(&self.database, &mut self.answers, sql, number)
    }

    /// An end, without its processes, a client's port, and a visitor's address.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn endpoint(&mut self, number: i64) -> Result<EndpointRecord, StoreError> {
        let sql = "SELECT record FROM endpoint WHERE id = ?1";
        part(&self.database, &mut self.endpoints, sql, number)
    }

    fn held(&mut self, number: Option<i64>) -> Result<Held, StoreError> {
        let Some(number) = number else { return Ok(Held::default()) };
        if let Some(known) = self.holders.get(&number) {
            return Ok(known.clone());
        }
        let sql = "SELECT h.position, h.role, h.source, s.pid, s.start_time, s.started, s.namespace_pid, p.record \
                   FROM holder h JOIN process s ON s.id = h.process JOIN program p ON p.id = s.program \
                   WHERE h.holders = ?1 ORDER BY h.position";
        let mut held = Held::default();
        let mut statement = self.database.prepare_cached(sql)?;
        let mut rows = statement.query([number])?;
        while let Some(row) = rows.next()? {
            let program: ProcessRecord = serde_json::from_str(row.get_ref(7)?.as_str().map_err(not_text)?)?;
            let process = Arc::new(ProcessRecord {
                pid: row.get(3)?,
                start_time: row.get::<_, i64>(4)?.cast_unsigned(),
                started: row.get::<_, Option<i64>>(5)?.map(WallTime),
                namespace_pid: row.get(6)?,
                ..program
            });
            match row.get::<_, i64>(0)? {
                0 => held.owner = Some(process),
                _ => held.holders.push(HolderRecord {
                    process,
                    role: row.get::<_, String>(1)?.into(),
                    source: row.get::<_, String>(2)?.into(),
                }),
            }
        }
        if self.holders.len() >= MAX_REMEMBERED {
            self.holders.clear();
        }
        self.holders.insert(number, held.clone());
        Ok(held)
    }
}

/// The edge of a connection, if it is in the file.
pub(super) fn edge_of(database: &Connection, id: ConnectionId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT edge FROM connection JOIN pairing ON pairing.id = connection.pairing \
               WHERE opened BETWEEN ?1 AND ?2 AND chance = ?3";
    let (from, to) = id.opened();
    let edge = database
        .prepare_cached(sql)?
        .query_row(params![from, to + MAX_SHIFT, id.chance], |row| row.get(0))
        .optional()?;
    Ok(edge)
}

/// Where the parts of a connection are.
struct Numbers {
    client: i64,
    server: i64,
    answer: i64,
    client_holders: Option<i64>,
    server_holders: Option<i64>,
    /// The address of a client whose end has none.
    visitor: Option<String>,
}

fn numbers(row: &SqlRow<'_>) -> rusqlite::Result<Numbers> {
    Ok(Numbers {
        client: row.get(16)?,
        server: row.get(17)?,
        answer: row.get(18)?,
        client_holders: row.get(4)?,
        server_holders: row.get(5)?,
        visitor: row.get(19)?,
    })
}

fn values(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let opened = row.get::<_, i64>(0)? - row.get::<_, Option<i64>>(14)?.unwrap_or(0);
    let revision: i64 = row.get(2)?;
    let count = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned));
    let bytes = match (count(10)?, count(11)?) {
        (Some(client_to_server), Some(server_to_client)) => {
            Some(ByteCounts { client_to_server, server_to_client })
        }
        _ => None,
    };
    let reason = row.get::<_, Option<u8>>(8)?.map(usize::from);
    Ok(Row {
        id: ConnectionId::of(opened, row.get(1)?),
        opened,
        revision: u32::try_from(revision / 2).unwrap_or_default(),
        r#final: revision % 2 == 1,
        client_port: row.get(3)?,
        decided: row.get(6)?,
        closed: row.get(7)?,
        close_reason: reason.and_then(|reason| CloseReasonName::ALL.get(reason).copied()),
        session_id: row.get(9)?,
        bytes,
        examined: DirectionBytes { client: count(12)?.unwrap_or(0), server: count(13)?.unwrap_or(0) },
        rest: row.get(15)?,
    })
}

fn part<T: DeserializeOwned + Clone>(
    database: &Connection,
    known: &mut FxHashMap<i64, T>,
    sql: &str,
    number: i64,
) -> Result<T, StoreError> {
    if let Some(known) = known.get(&number) {
        return Ok(known.clone());
    }
    let mut statement = database.prepare_cached(sql)?;
    let mut rows = statement.query([number])?;
    let Some(row) = rows.next()? else { return Err(rusqlite::Error::QueryReturnedNoRows.into()) };
    let part: T = serde_json::from_str(row.get_ref(0)?.as_str().map_err(not_text)?)?;
    if known.len() >= MAX_REMEMBERED {
        known.clear();
    }
    known.insert(number, part.clone());
    Ok(part)
}

fn not_text(error: rusqlite::types::FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}
