//! From the newest connection back, over those that are wanted.
//!
//! Two ways lead there. Each pairing has its connections in an index: of few of them the newest are found at once. What is
//! frequent is soon met when all connections are looked at from the newest on. The cheaper way is taken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use rusqlite::params;

use super::selection::{Open, Own, Pairing, Selection};
use super::{Answering, QuestionError, Range};

/// Pairings that are walked one by one; of more something is met soon.
const MAX_PAIRINGS: usize = 65_536;
/// Connections that are looked at between two words on how far it is.
const STEP: i64 = 4_096;
/// How much dearer it is to look a connection up than to come past it.
const LOOK_UP: u64 = 4;

/// Where a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// There is no further one.
    All,
    /// There is at least one further one.
    Enough,
    /// Whoever asked wants no more.
    Interrupted,
}

/// Takes `connection.opened` of one that is wanted; `Break` ends the walk behind it.
pub(super) type Take<'a> =
    &'a mut dyn FnMut(&mut Answering<'_>, i64) -> Result<ControlFlow<()>, QuestionError>;

/// A pairing some of whose connections are wanted.
struct Candidate {
    pairing: i64,
    last_seen: i64,
    open: Open,
}

/// Hands at most `limit` of the connections that are wanted over, the newest first, and says where it ended.
pub(super) fn newest(
    answering: &mut Answering<'_>,
    selection: &Selection,
    range: Range,
    limit: usize,
    take: Take<'_>,
) -> Result<(Walked, Option<i64>), QuestionError> {
    if selection.is_nothing() || range.from >= range.to {
        return Ok((Walked::All, None));
    }
    if !selection.is_everything()
        && !selection.needs_records()
        && let Some(candidates) = candidates(answering, selection, range, limit)?
    {
        return by_pairing(answering, selection, range, limit, candidates, take);
    }
    by_time(answering, selection, range, limit, take)
}

/// The pairings to walk; `None` if it is better to look at all connections.
fn candidates(
    answering: &mut Answering<'_>,
    selection: &Selection,
    range: Range,
    limit: usize,
) -> Result<Option<Vec<Candidate>>, QuestionError> {
    let (mut candidates, mut wanted) = (Vec::new(), 0_u64);
    each_pairing(answering, selection, range, &mut |pairing| {
        wanted += pairing.connections;
        if candidates.len() <= MAX_PAIRINGS {
            let Counted { pairing, last_seen, open, .. } = pairing;
            candidates.push(Candidate { pairing, last_seen, open });
        }
        Ok(())
    })?;
    if candidates.len() > MAX_PAIRINGS {
        return Ok(None);
    }
    let sql = "SELECT coalesce(sum(connections), 0) FROM pairing";
    let all: i64 = answering.reader.database().prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let (all, limit) = (all.unsigned_abs().max(1), limit as u64 + 1);
    let (walked, passed) = match selection.needs_rows() {
        true => (wanted * LOOK_UP, all),
        false => {
            let newest_of_each = limit.saturating_mul(candidates.len() as u64);
            (wanted.min(newest_of_each), limit.saturating_mul(all) / wanted.max(1))
        }
    };
    Ok((walked <= passed.min(all)).then_some(candidates))
}

/// A pairing with what is counted of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub pairing: i64,
    pub edge: i64,
    pub of: Pairing,
    pub connections: u64,
    pub first_seen: i64,
    pub last_seen: i64,
    pub bytes: [u64; 2],
    pub open: Open,
}

/// All pairings that may have connections that are wanted.
pub(super) fn each_pairing(
    answering: &mut Answering<'_>,
    selection: &Selection,
    range: Range,
    take: &mut dyn FnMut(Counted) -> Result<(), QuestionError>,
) -> Result<(), QuestionError> {
    const COLUMNS: &str = "SELECT id, edge, client, server, answer, connections, first_seen, last_seen, client_bytes, \
                           server_bytes FROM pairing";
    let Answering { reader, asker, .. } = answering;
    let database = reader.database();
    let mut read = 0_u64;
    let mut each = |row: &rusqlite::Row<'_>| -> Result<(), QuestionError> {
        read += 1;
        if read.is_multiple_of(STEP as u64) && asker.progress(0.0).is_break() {
            return Err(QuestionError::interrupted());
        }
        let of = Pairing { client: row.get(2)?, server: row.get(3)?, answer: row.get(4)? };
        let (connections, first_seen, last_seen) = (row.get::<_, i64>(5)?, row.get(6)?, row.get(7)?);
        if connections <= 0 || last_seen < range.from || first_seen >= range.to {
            return Ok(());
        }
        let Some(open) = selection.open(&of) else { return Ok(()) };
        let bytes = [row.get::<_, i64>(8)?, row.get(9)?].map(i64::unsigned_abs);
        let (pairing, edge) = (row.get(0)?, row.get(1)?);
        let connections = connections.unsigned_abs();
        take(Counted { pairing, edge, of, connections, first_seen, last_seen, bytes, open })
    };
    let Some((clients, servers)) = selection.few_ends() else {
        let mut statement = database.prepare_cached(COLUMNS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        return Ok(());
    };
    let mut by_client = database.prepare_cached(&format!("{COLUMNS} WHERE client = ?1"))?;
    for client in clients {
        let mut rows = by_client.query([client])?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
    }
    let mut by_server = database.prepare_cached(&format!("{COLUMNS} WHERE server = ?1"))?;
    for server in servers {
        let mut rows = by_server.query([server])?;
        while let Some(row) = rows.next()? {
            // Those came already.
            if !clients.contains(&row.get(2)?) {
                each(row)?;
            }
        }
    }
    Ok(())
}

/// The newest of each pairing, merged.
fn by_pairing(
    answering: &mut Answering<'_>,
    selection: &Selection,
    range: Range,
    limit: usize,
    mut candidates: Vec<Candidate>,
    take: Take<'_>,
) -> Result<(Walked, Option<i64>), QuestionError> {
    candidates.sort_unstable_by_key(|candidate| Reverse(candidate.last_seen));
    let mut newest = BinaryHeap::new();
    for (done, candidate) in candidates.iter().enumerate() {
        let full = newest.len() > limit;
        let floor = newest.peek().filter(|_| full).map_or(range.from, |Reverse(oldest)| *oldest);
        if full && candidate.last_seen < floor {
            break;
        }
        answering.go_on(done as f64 / candidates.len() as f64)?;
        let columns = match candidate.open {
            // These are in the index.
            0 => "NULL, NULL, 0, NULL",
            _ => "client_holders, server_holders, client_port, session_id",
        };
        let sql = format!(
            "SELECT opened, {columns} FROM connection WHERE pairing = ?1 AND opened >= ?2 AND opened < ?3 \
             ORDER BY opened DESC"
        );
        let mut statement = answering.reader.database().prepare_cached(&sql)?;
        let mut rows = statement.query(params![candidate.pairing, floor, range.to])?;
        while let Some(row) = rows.next()? {
            let opened: i64 = row.get(0)?;
            if newest.len() > limit && newest.peek().is_some_and(|Reverse(oldest)| opened < *oldest) {
                break;
            }
            if candidate.open == 0 || selection.open_for_record(candidate.open, &Own::of(row, 1)?).is_some() {
                newest.push(Reverse(opened));
                // One more than is wanted, to know whether there is more.
                if newest.len() > limit + 1 {
                    newest.pop();
                }
            }
        }
    }
    let newest = newest.into_sorted_vec();
    for Reverse(opened) in newest.iter().take(limit) {
        if take(answering, *opened)?.is_break() {
            return Ok((Walked::Interrupted, Some(*opened)));
        }
    }
    let last = newest.get(limit.wrapping_sub(1)).map(|Reverse(opened)| *opened);
    Ok(if newest.len() > limit { (Walked::Enough, last) } else { (Walked::All, last) })
}

/// All connections, from the newest on.
fn by_time(
    answering: &mut Answering<'_>,
    selection: &Selection,
    range: Range,
    limit: usize,
    take: Take<'_>,
) -> Result<(Walked, Option<i64>), QuestionError> {
    let sql = "SELECT min(opened), max(opened) FROM connection WHERE opened >= ?1 AND opened < ?2";
    let ends: (Option<i64>, Option<i64>) = answering
        .reader
        .database()
        .prepare_cached(sql)?
        .query_row([range.from, range.to], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = ends else { return Ok((Walked::All, None)) };
    let (mut before, mut taken, mut place) = (range.to, 0, None);
    loop {
        let (found, oldest) = step(answering, selection, Range { from: range.from, to: before })?;
        for (opened, open) in found {
            if open != 0 && !holds(answering, selection, opened, open)? {
                continue;
            }
            if taken == limit {
                return Ok((Walked::Enough, place));
            }
            (taken, place) = (taken + 1, Some(opened));
            if take(answering, opened)?.is_break() {
                return Ok((Walked::Interrupted, place));
            }
        }
        let Some(oldest) = oldest else { return Ok((Walked::All, place)) };
        before = oldest;
        let done = (last - oldest) as f64 / (last - first).max(1) as f64;
        if answering.progress(done).is_break() {
            return Ok((Walked::Interrupted, Some(oldest)));
        }
    }
}

/// Those of the next [`STEP`] connections that are wanted, with what their record must still tell, and the oldest that was
/// looked at, if there are more.
type Step = (Vec<(i64, Open)>, Option<i64>);

fn step(answering: &Answering<'_>, selection: &Selection, range: Range) -> Result<Step, QuestionError> {
    const ALL: &str =
        "SELECT opened FROM connection WHERE opened >= ?1 AND opened < ?2 ORDER BY opened DESC LIMIT ?3";
    const WITH_PAIRING: &str = "SELECT c.opened, c.client_holders, c.server_holders, c.client_port, c.session_id, \
                                p.client, p.server, p.answer \
                                FROM connection c CROSS JOIN pairing p ON p.id = c.pairing \
                                WHERE c.opened >= ?1 AND c.opened < ?2 ORDER BY c.opened DESC LIMIT ?3";
    let sql = if selection.is_everything() { ALL } else { WITH_PAIRING };
    let mut statement = answering.reader.database().prepare_cached(sql)?;
    let mut rows = statement.query([range.from, range.to, STEP])?;
    let (mut found, mut oldest, mut looked_at) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let opened: i64 = row.get(0)?;
        oldest = Some(opened);
        if selection.is_everything() {
            found.push((opened, 0));
            continue;
        }
        let pairing = Pairing { client: row.get(5)?, server: row.get(6)?, answer: row.get(7)? };
        let Some(open) = selection.open(&pairing) else { continue };
        let open = if open == 0 { Some(0) } else { selection.open_for_record(open, &Own::of(row, 1)?) };
        found.extend(open.map(|open| (opened, open)));
    }
    Ok((found, oldest.filter(|_| looked_at == STEP)))
}

fn holds(
    answering: &mut Answering<'_>,
    selection: &Selection,
    opened: i64,
    open: Open,
) -> Result<bool, QuestionError> {
    let Some(record) = answering.reader.connection(opened)? else { return Ok(false) };
    let value = serde_json::to_value(&record).map_err(crate::store::StoreError::Record)?;
    Ok(selection.holds_record(open, &value))
}
