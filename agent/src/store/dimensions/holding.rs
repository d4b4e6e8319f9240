//! Who held sockets, when, and of which pairings.

use rusqlite::{Connection, params};

use super::{Dimensions, execute, find, hashed, insert, json};
use crate::record::{EndpointRecord, ProcessRecord};
use crate::store::StoreError;
use crate::store::repeated::Holding;

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;
const NANOSECONDS_PER_HOUR: i64 = 3_600 * NANOSECONDS_PER_SECOND;

impl Dimensions {
    /// The number of those who held the socket of an end; `None` for nobody.
    pub fn held(
        &mut self,
        database: &Connection,
        end: &EndpointRecord,
        seen: i64,
    ) -> Result<Option<i64>, StoreError> {
        if end.process.is_none() && end.processes.is_empty() {
            return Ok(None);
        }
        let key = self.keys.of(&Holding(end));
        let number = match self.holders.get(&key) {
            Some(known) => known,
            None => {
                let number = self.all_held(database, end, seen)?;
                self.holders.remember(key, number)
            }
        };
        if self.seen.get(&number).is_none_or(|[from, until]| seen < from || seen > until) {
            // Beyond what was seen, so that those who hold many sockets are not written anew for each.
            let sql = "UPDATE holders SET first_seen = min(first_seen, ?2), \
                       seen_until = max(seen_until, ?2 + min(max(?2 - first_seen, ?3), ?4)) WHERE id = ?1 \
                       RETURNING first_seen, seen_until";
            let known = database
                .prepare_cached(sql)?
                .query_row(params![number, seen, NANOSECONDS_PER_SECOND, NANOSECONDS_PER_HOUR], |row| {
                    Ok([row.get(0)?, row.get(1)?])
                })?;
            self.seen.remember(number, known);
        }
        Ok(Some(number))
    }

    /// Notes that these held a socket of a connection of that pairing.
    pub fn hold(&mut self, database: &Connection, holders: i64, pairing: i64) -> Result<(), StoreError> {
        if self.held.get(&(holders, pairing)).is_none() {
            execute(
                database,
                "INSERT OR IGNORE INTO held (holders, pairing) VALUES (?1, ?2)",
                [holders, pairing],
            )?;
            self.held.remember((holders, pairing), ());
        }
        Ok(())
    }

    fn all_held(
        &mut self,
        database: &Connection,
        end: &EndpointRecord,
        seen: i64,
    ) -> Result<i64, StoreError> {
        let mut all: Vec<(i64, i64, Option<&str>, Option<&str>)> = Vec::new();
        if let Some(owner) = &end.process {
            all.push((0, self.process(database, owner)?, None, None));
        }
        for (position, holder) in (1..).zip(&end.processes) {
            let process = self.process(database, &holder.process)?;
            all.push((position, process, Some(&holder.role), Some(&holder.source)));
        }
        let digest = hashed(&mut self.buffer, &all)?;
        if let Some(found) = find(database, "SELECT id FROM holders WHERE digest = ?1", [&digest[..]])? {
            return Ok(found);
        }
        let number = insert(
            database,
            "INSERT INTO holders (digest, first_seen, seen_until) VALUES (?1, ?2, ?3)",
            params![digest, seen, seen + NANOSECONDS_PER_SECOND],
        )?;
        self.seen.remember(number, [seen, seen + NANOSECONDS_PER_SECOND]);
        for (position, process, role, source) in all {
            insert(
                database,
                "INSERT INTO holder (holders, position, process, role, source) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![number, position, process, role, source],
            )?;
        }
        Ok(number)
    }

    fn process(&mut self, database: &Connection, process: &ProcessRecord) -> Result<i64, StoreError> {
        let program =
            ProcessRecord { pid: 0, start_time: 0, started: None, namespace_pid: None, ..process.clone() };
        let program = self.program(database, &program)?;
        let started = process.started.map(|time| time.0);
        let (pid, start_time, namespace_pid) = (process.pid, process.start_time, process.namespace_pid);
        Self::number(
            &mut self.processes,
            (pid, start_time, started, namespace_pid, program),
            || {
                find(
                    database,
                    "SELECT id FROM process WHERE pid = ?1 AND start_time = ?2 AND started IS ?3 AND namespace_pid IS ?4 \
                     AND program = ?5",
                    params![pid, start_time as i64, started, namespace_pid, program],
                )
            },
            || {
                insert(
                    database,
                    "INSERT INTO process (pid, start_time, started, namespace_pid, program) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![pid, start_time as i64, started, namespace_pid, program],
                )
            },
        )
    }

    fn program(&mut self, database: &Connection, program: &ProcessRecord) -> Result<i64, StoreError> {
        let key = self.keys.of(program);
        if let Some(known) = self.programs.get(&key) {
            return Ok(known);
        }
        let digest = hashed(&mut self.buffer, program)?;
        let text = &self.buffer;
        Self::number(
            &mut self.programs,
            key,
            || find(database, "SELECT id FROM program WHERE digest = ?1", [&digest[..]]),
            || {
                insert(
                    database,
                    "INSERT INTO program (digest, executable, comm, record) VALUES (?1, ?2, ?3, ?4)",
                    params![digest, program.executable, program.comm, json(text)],
                )
            },
        )
    }
}
