//! How much there is, and what is lacking.

use rusqlite::Connection;

use super::StoreError;
use super::writer::Writer;
use crate::record::WallTime;

/// How much a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pages in use, in bytes; those that are free for reuse do not count.
    pub bytes: u64,
    /// When its oldest connection was opened; `None` if it has none.
    pub oldest: Option<WallTime>,
}

impl Writer {
    /// How much the file holds.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn size(&self) -> Result<Size, StoreError> {
        let database = self.database();
        let oldest = database
            .prepare_cached("SELECT min(opened) FROM connection")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?;
        Ok(Size { bytes: bytes_in_use(database)?, oldest: oldest.map(WallTime) })
    }

    /// SHA-256 of certificates that connections showed and of which nothing else is known here, at most so many.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unknown_certificates(&self, limit: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        let sql = "SELECT sha256 FROM certificate WHERE record IS NULL ORDER BY id DESC LIMIT ?1";
        let mut statement = self.database().prepare_cached(sql)?;
        let found = statement.query_map([limit as i64], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

pub(super) fn bytes_in_use(database: &Connection) -> Result<u64, StoreError> {
    let pages = pragma(database, "page_count")?.saturating_sub(pragma(database, "freelist_count")?);
    Ok(pages.saturating_mul(pragma(database, "page_size")?).max(0).cast_unsigned())
}

pub(super) fn pragma(database: &Connection, name: &str) -> Result<i64, StoreError> {
    Ok(database.pragma_query_value(None, name, |row| row.get(0))?)
}
