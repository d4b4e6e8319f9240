//! Which connections a pairing has.
//!
//! They stand by pairing and time, so that those of one pairing are found at once. But a new one belongs at the end of those of
//! its pairing, which for nearly each connection of a batch is another page of the file. So the latest stand apart, in few pages,
//! and are put among the others in order, some with each batch once they are many: neighbours come to the same page together.
//! Whoever reads finds both in `pairing_connections`.

use rusqlite::{Connection, params};

use super::StoreError;

/// Connections that stand apart before they begin to be put among the others: about a hundred pages. Few in tests, which so meet
/// both.
const MANY: i64 = if cfg!(test) { 16 } else { 32_768 };
/// Connections that are put among the others at a time: more than a batch brings.
const SLICE: i64 = if cfg!(test) { 4 } else { 2_048 };

/// Pairing and time.
type Place = (i64, i64);

/// The latest connections, by pairing.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// How many, or more; `None` if that is not known.
    count: Option<i64>,
    /// While they are put among the others: how far that is.
    settled_to: Option<Place>,
}

impl Recent {
    pub fn add(&mut self, database: &Connection, pairing: i64, opened: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO pairing_recent (pairing, opened) VALUES (?1, ?2)";
        database.prepare_cached(sql)?.execute([pairing, opened])?;
        self.count = self.count.map(|count| count + 1);
        Ok(())
    }

    /// Puts the next of them among the others, once they are many, until all had their turn.
    pub fn settle(&mut self, database: &Connection) -> Result<(), StoreError> {
        let count = match self.count {
            Some(count) => count,
            None => database.query_row("SELECT count(*) FROM pairing_recent", [], |row| row.get(0))?,
        };
        self.count = Some(count);
        let from = match self.settled_to {
            Some(place) => place,
            None if count < MANY => return Ok(()),
            None => (i64::MIN, i64::MIN),
        };
        let slice: Vec<Place> = database
            .prepare_cached(
                "SELECT pairing, opened FROM pairing_recent WHERE (pairing, opened) > (?1, ?2) \
                 ORDER BY pairing, opened LIMIT ?3",
            )?
            .query_map(params![from.0, from.1, SLICE], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut insert =
            database.prepare_cached("INSERT INTO pairing_connection (pairing, opened) VALUES (?1, ?2)")?;
        let mut delete =
            database.prepare_cached("DELETE FROM pairing_recent WHERE pairing = ?1 AND opened = ?2")?;
        for place in &slice {
            insert.execute(*place)?;
            delete.execute(*place)?;
        }
        let settled = slice.len() as i64;
        self.settled_to = slice.last().copied().filter(|_| settled == SLICE);
        // Those that were removed are still in the count: it begins anew with each round.
        self.count = self.settled_to.map(|_| count - settled);
        Ok(())
    }
}

/// Takes a connection away from a pairing.
pub(super) fn remove(database: &Connection, pairing: i64, opened: i64) -> Result<(), StoreError> {
    for table in ["pairing_connection", "pairing_recent"] {
        let sql = format!("DELETE FROM {table} WHERE pairing = ?1 AND opened = ?2");
        if database.prepare_cached(&sql)?.execute(params![pairing, opened])? > 0 {
            break;
        }
    }
    Ok(())
}
