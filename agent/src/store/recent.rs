//! Which connections a pairing has.
//!
//! They stand by pairing and time, so that those of one pairing are found at once. But a new one belongs at the end of those of
//! its pairing, which for nearly each connection of a batch is another page of the file. So the latest stand apart, in few pages,
//! and are put among the others many at a time, in order; whoever reads finds both in `pairing_connections`.

use rusqlite::{Connection, params};

use super::StoreError;

/// Connections that stand apart before they are put among the others: about a hundred pages. Few in tests, which so meet both.
const MANY: i64 = if cfg!(test) { 16 } else { 32_768 };

/// The latest connections, by pairing.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// How many, or more; `None` if that is not known.
    count: Option<i64>,
}

impl Recent {
    pub fn add(&mut self, database: &Connection, pairing: i64, opened: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO pairing_recent (pairing, opened) VALUES (?1, ?2)";
        database.prepare_cached(sql)?.execute([pairing, opened])?;
        self.count = self.count.map(|count| count + 1);
        Ok(())
    }

    /// Puts them among the others once they are many.
    pub fn settle(&mut self, database: &Connection) -> Result<(), StoreError> {
        let count = match self.count {
            Some(count) => count,
            None => database.query_row("SELECT count(*) FROM pairing_recent", [], |row| row.get(0))?,
        };
        self.count = Some(count);
        if count < MANY {
            return Ok(());
        }
        database.execute_batch(
            "INSERT INTO pairing_connection SELECT pairing, opened FROM pairing_recent ORDER BY pairing, opened; \
             DELETE FROM pairing_recent",
        )?;
        self.count = Some(0);
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
