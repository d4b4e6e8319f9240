//! Folding: old connections that repeat become a count of their hour, so that a busy edge does not fill the disk.
//!
//! Folded are connections that ended within [`SHORT`] and have nothing of their own but times, ports, processes and
//! session. The first one of each pairing, visitor and hour stays as an example, and what the pairing says stays true of all of
//! them: their ends, certificates, answer and findings.

use rusqlite::{Transaction, params};
use rustc_hash::FxHashMap;

use super::StoreError;
use super::dimensions::Belonging;
use super::recent;
use super::retention::ROWS;

pub(super) const NANOSECONDS_PER_HOUR: i64 = 3_600_000_000_000;

/// Longer ones are kept: how long they lasted is worth knowing. In nanoseconds.
const SHORT: i64 = 60_000_000_000;

/// What a slice did.
pub(super) struct Slice {
    pub folded: u64,
    /// Connections that were opened before have been looked at.
    pub until: i64,
    pub more: bool,
}

/// Connections of a pairing, a visitor and an hour that are only counted from now on.
struct Hour {
    connections: i64,
    first: i64,
    last: i64,
    client_bytes: i64,
    server_bytes: i64,
}

/// Folds a slice of the connections that were opened in this time.
pub(super) fn fold(transaction: &Transaction<'_>, from: i64, before: i64) -> Result<Slice, StoreError> {
    let sql = "SELECT opened, pairing, coalesce(client_bytes, 0), coalesce(server_bytes, 0), \
               coalesce(revision % 2 = 1 AND closed <= ?4 AND rest IS NULL, 0), visitor \
               FROM connection WHERE opened >= ?1 AND opened < ?2 ORDER BY opened LIMIT ?3";
    let mut hours = FxHashMap::<(Belonging, i64), Hour>::default();
    let mut slice = Slice { folded: 0, until: from, more: false };
    let (mut looked_at, mut folded) = (0, Vec::new());
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([from, before, ROWS, SHORT])?;
    while let Some(row) = rows.next()? {
        let opened: i64 = row.get(0)?;
        let belonging = Belonging { pairing: row.get(1)?, visitor: row.get(5)? };
        let hour = opened.div_euclid(NANOSECONDS_PER_HOUR);
        looked_at += 1;
        slice.until = opened.saturating_add(1);
        if !row.get::<_, bool>(4)? || !has_example(transaction, belonging, hour, opened)? {
            continue;
        }
        folded.push((opened, belonging.pairing));
        let (client_bytes, server_bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
        let hour = hours.entry((belonging, hour)).or_insert(Hour {
            connections: 0,
            first: opened,
            last: opened,
            client_bytes: 0,
            server_bytes: 0,
        });
        hour.connections += 1;
        hour.last = opened;
        hour.client_bytes = hour.client_bytes.saturating_add(client_bytes);
        hour.server_bytes = hour.server_bytes.saturating_add(server_bytes);
    }
    slice.more = looked_at == ROWS;
    slice.folded = folded.len() as u64;
    let mut delete = transaction.prepare_cached("DELETE FROM connection WHERE opened = ?1")?;
    for (opened, pairing) in folded {
        delete.execute([opened])?;
        recent::remove(transaction, pairing, opened)?;
    }
    count(transaction, hours)?;
    Ok(slice)
}

/// Whether an earlier connection of the pairing, the visitor and the hour is there.
fn has_example(
    transaction: &Transaction<'_>,
    of: Belonging,
    hour: i64,
    opened: i64,
) -> Result<bool, StoreError> {
    let begin = hour.saturating_mul(NANOSECONDS_PER_HOUR);
    let found = match of.visitor {
        None => transaction
            .prepare_cached("SELECT 1 FROM pairing_connections WHERE pairing = ?1 AND opened >= ?2 AND opened < ?3")?
            .exists([of.pairing, begin, opened])?,
        Some(visitor) => transaction
            .prepare_cached(
                "SELECT 1 FROM connection WHERE pairing = ?1 AND opened >= ?2 AND opened < ?3 AND visitor = ?4",
            )?
            .exists([of.pairing, begin, opened, visitor])?,
    };
    Ok(found)
}

fn count(transaction: &Transaction<'_>, hours: FxHashMap<(Belonging, i64), Hour>) -> Result<(), StoreError> {
    let sql = "INSERT INTO folded (pairing, hour, connections, first_opened, last_opened, client_bytes, server_bytes, \
               visitor) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (pairing, hour, visitor) DO UPDATE SET \
               connections = connections + excluded.connections, \
               first_opened = min(first_opened, excluded.first_opened), \
               last_opened = max(last_opened, excluded.last_opened), \
               client_bytes = client_bytes + excluded.client_bytes, \
               server_bytes = server_bytes + excluded.server_bytes";
    let mut insert = transaction.prepare_cached(sql)?;
    for ((of, hour), sum) in hours {
        insert.execute(params![
            of.pairing,
            hour,
            sum.connections,
            sum.first,
            sum.last,
            sum.client_bytes,
            sum.server_bytes,
            of.visitor.unwrap_or(0),
        ])?;
    }
    Ok(())
}
