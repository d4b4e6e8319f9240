//! Retention: what is too old, or has no room, is deleted, the oldest first; what repeats is folded.
//!
//! It happens in slices, each one transaction of bounded work, so that writing waits for some tens of milliseconds at most.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use rustc_hash::FxHashMap;

use super::StoreError;
use super::dimensions::Belonging;
use super::folding::{self, NANOSECONDS_PER_HOUR};
use super::recent;
use super::size::{bytes_in_use, pragma};
use super::unused::{Gone, remove_holders, remove_unused, remove_visits, sweep_certificates};
use super::writer::Writer;
use crate::record::WallTime;

/// Connections deleted, or looked at for folding, in one slice.
pub(super) const ROWS: i64 = 1_000;
/// Pairings, holders, folded hours, findings and gaps deleted in one slice, and certificates looked at.
pub(super) const OTHERS: i64 = 200;
/// Free pages that are kept for what comes: a file at its bound would otherwise shrink and grow all the time.
const SPARE_PAGES: i64 = 4_096;
/// Pages given back to the file system in one slice.
const GIVEN_BACK: i64 = 256;

/// What is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Connections that were opened before are deleted.
    pub oldest: WallTime,
    /// Bytes in use; beyond it the oldest connections are deleted.
    pub max_bytes: u64,
    /// Short connections that were opened before are only counted; `None`: all are kept.
    pub fold_before: Option<WallTime>,
}

/// What a slice did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tidied {
    /// Connections deleted for their age, those that were only counted included.
    pub aged: u64,
    /// The same for want of room.
    pub displaced: u64,
    /// Connections that are only counted from now on.
    pub folded: u64,
    /// There is more to do.
    pub more: bool,
}

/// What was deleted of a pairing, or of a visitor's part of it.
#[derive(Debug, Clone, Copy, Default)]
struct Removed {
    connections: i64,
    client_bytes: i64,
    server_bytes: i64,
}

impl Writer {
    /// Deletes and folds a slice of what is not to be kept.
    ///
    /// # Errors
    /// If the file does not take it: then nothing was changed.
    pub fn tidy(&mut self, keep: &Retention) -> Result<Tidied, StoreError> {
        let tidied = self.tidy_all(keep);
        if tidied.is_err() {
            self.forget_numbers();
        }
        tidied
    }

    fn tidy_all(&mut self, keep: &Retention) -> Result<Tidied, StoreError> {
        let mut tidied = Tidied::default();
        let (database, dimensions, progress) = self.parts();
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tidied.aged = remove_before(&transaction, keep.oldest.0)?;
        if bytes_in_use(&transaction)? > keep.max_bytes {
            tidied.displaced = remove_oldest(&transaction)?;
        }
        let mut reached = *progress;
        if let Some(before) = keep.fold_before {
            let slice = folding::fold(&transaction, reached.folded_until, before.0)?;
            tidied.folded = slice.folded;
            tidied.more |= slice.more;
            reached.folded_until = slice.until;
        }
        let mut gone = Gone::default();
        tidied.more |= remove_visits(&transaction, &mut gone)?;
        tidied.more |= remove_unused(&transaction, &mut gone)?;
        tidied.more |= remove_holders(&transaction, &mut gone)?;
        reached.swept_to = sweep_certificates(&transaction, &mut gone, keep.oldest.0, reached.swept_to)?;
        tidied.more |= remove_notes(&transaction, keep.oldest.0)?;
        tidied.more |= tidied.aged + tidied.displaced > 0;
        transaction.commit()?;
        *progress = reached;
        for (dimension, numbers) in gone.0 {
            dimensions.forget(dimension, numbers);
        }
        give_back(database)?;
        Ok(tidied)
    }
}

/// Deletes connections that were opened before, and hours of folded ones that ended before.
fn remove_before(transaction: &Transaction<'_>, oldest: i64) -> Result<u64, StoreError> {
    let hours = remove_hours(transaction, oldest.div_euclid(NANOSECONDS_PER_HOUR))?;
    Ok(hours + remove_rows(transaction, oldest)?)
}

/// Deletes the oldest, whatever their age.
fn remove_oldest(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    let minimum = |sql| transaction.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let hour = minimum("SELECT min(hour) FROM folded")?;
    let opened = minimum("SELECT min(opened) FROM connection")?;
    let hours = match (hour, opened) {
        (Some(hour), Some(opened)) if hour > opened.div_euclid(NANOSECONDS_PER_HOUR) => 0,
        (Some(hour), _) => remove_hours(transaction, hour + 1)?,
        (None, _) => 0,
    };
    Ok(hours + remove_rows(transaction, i64::MAX)?)
}

fn remove_rows(transaction: &Transaction<'_>, before: i64) -> Result<u64, StoreError> {
    let sql = "SELECT opened, pairing, coalesce(client_bytes, 0), coalesce(server_bytes, 0), visitor FROM connection \
               WHERE opened < ?1 ORDER BY opened LIMIT ?2";
    let mut removed = FxHashMap::default();
    let mut places = Vec::new();
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([before, ROWS])?;
    while let Some(row) = rows.next()? {
        let (opened, pairing): (i64, i64) = (row.get(0)?, row.get(1)?);
        places.push((pairing, opened));
        add(
            &mut removed,
            Belonging { pairing, visitor: row.get(4)? },
            Removed { connections: 1, client_bytes: row.get(2)?, server_bytes: row.get(3)? },
        );
    }
    let Some((_, last)) = places.last() else { return Ok(0) };
    transaction.prepare_cached("DELETE FROM connection WHERE opened <= ?1")?.execute([last])?;
    // Neighbours in the file one after another.
    places.sort_unstable();
    for (pairing, opened) in &places {
        recent::remove(transaction, *pairing, *opened)?;
    }
    take_off(transaction, removed)?;
    Ok(places.len() as u64)
}

fn remove_hours(transaction: &Transaction<'_>, before: i64) -> Result<u64, StoreError> {
    let sql = "SELECT pairing, hour, connections, client_bytes, server_bytes, visitor FROM folded WHERE hour < ?1 \
               ORDER BY hour LIMIT ?2";
    let mut removed = FxHashMap::default();
    let mut hours = Vec::new();
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([before, OTHERS])?;
    while let Some(row) = rows.next()? {
        let (pairing, hour, visitor): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(5)?);
        hours.push([pairing, hour, visitor]);
        add(
            &mut removed,
            Belonging { pairing, visitor: Some(visitor).filter(|visitor| *visitor != 0) },
            Removed { connections: row.get(2)?, client_bytes: row.get(3)?, server_bytes: row.get(4)? },
        );
    }
    let mut delete =
        transaction.prepare_cached("DELETE FROM folded WHERE pairing = ?1 AND hour = ?2 AND visitor = ?3")?;
    for hour in hours {
        delete.execute(hour)?;
    }
    let count = removed.values().map(|removed| removed.connections).sum::<i64>();
    take_off(transaction, removed)?;
    Ok(count.max(0).cast_unsigned())
}

fn add(all: &mut FxHashMap<Belonging, Removed>, of: Belonging, one: Removed) {
    let sum = all.entry(of).or_default();
    sum.connections += one.connections;
    sum.client_bytes = sum.client_bytes.saturating_add(one.client_bytes);
    sum.server_bytes = sum.server_bytes.saturating_add(one.server_bytes);
}

/// The counts are of what is kept.
fn take_off(transaction: &Transaction<'_>, removed: FxHashMap<Belonging, Removed>) -> Result<(), StoreError> {
    const LESS: &str = "connections = connections - ?2, client_bytes = client_bytes - ?3, \
                        server_bytes = server_bytes - ?4";
    let mut pairing = transaction.prepare_cached(&format!("UPDATE pairing SET {LESS} WHERE id = ?1"))?;
    let mut visit = transaction
        .prepare_cached(&format!("UPDATE visit SET {LESS} WHERE pairing = ?1 AND visitor = ?5"))?;
    for (of, one) in removed {
        let Removed { connections, client_bytes, server_bytes } = one;
        pairing.execute(params![of.pairing, connections, client_bytes, server_bytes])?;
        if let Some(visitor) = of.visitor {
            visit.execute(params![of.pairing, connections, client_bytes, server_bytes, visitor])?;
        }
    }
    Ok(())
}

/// Deletes findings and gaps of a time that is not kept any more.
fn remove_notes(database: &Connection, oldest: i64) -> Result<bool, StoreError> {
    let findings = "DELETE FROM finding WHERE id IN (SELECT id FROM finding WHERE last_seen < ?1 LIMIT ?2)";
    let gaps = "DELETE FROM gap WHERE id IN (SELECT id FROM gap WHERE ended < ?1 LIMIT ?2)";
    let mut deleted = 0;
    for sql in [findings, gaps] {
        deleted += database.prepare_cached(sql)?.execute([oldest, OTHERS])?;
    }
    Ok(deleted > 0)
}

/// Gives pages back to the file system, if many are free.
fn give_back(database: &Connection) -> Result<(), StoreError> {
    let (free, all) = (pragma(database, "freelist_count")?, pragma(database, "page_count")?);
    if free > SPARE_PAGES.max(all / 8) {
        database.execute_batch(&format!("PRAGMA incremental_vacuum({GIVEN_BACK})"))?;
    }
    Ok(())
}
