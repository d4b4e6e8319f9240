//! From the newest connection back, over those that are wanted.
//!
//! Two ways lead there. The connections of each pairing stand together: of few of them the newest are found at once. What is
//! frequent is soon met when all connections are looked at from the newest on. The cheaper way is taken.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use rustc_hash::FxHashSet;

use super::selection::{Ends, Open, Own, Pairing, Selection};
use super::{Answering, QuestionError, Range};

/// Pairings, or times of them, that are walked one by one; of more something is met soon.
const MAX_CANDIDATES: usize = 65_536;
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

/// A pairing some of whose connections are wanted, or one of the times in which there can be such.
struct Candidate {
    of: Pairing,
    range: Range,
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
        return by_pairing(answering, selection, limit, candidates, take);
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
        let Counted { of, last_seen, open, .. } = pairing;
        for range in selection.narrowed(&of, open, range).into_iter().filter(|range| pairing.is_in(*range)) {
            wanted += pairing.connections_within(range);
            if candidates.len() <= MAX_CANDIDATES {
                candidates.push(Candidate { of, range, last_seen: last_seen.min(range.to), open });
            }
        }
        Ok(())
    })?;
    if candidates.len() > MAX_CANDIDATES {
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
    pub edge: i64,
    pub of: Pairing,
    pub connections: u64,
    pub first_seen: i64,
    pub last_seen: i64,
    pub bytes: [u64; 2],
    pub open: Open,
}

impl Counted {
    /// From the columns that begin a row.
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Counted> {
        let bytes = [row.get::<_, i64>(3)?, row.get(4)?].map(i64::unsigned_abs);
        let connections = row.get::<_, i64>(0)?.max(0).unsigned_abs();
        Ok(Counted {
            connections,
            first_seen: row.get(1)?,
            last_seen: row.get(2)?,
            bytes,
            ..Counted::default()
        })
    }

    /// Whether some may have been opened in this time.
    fn is_in(&self, range: Range) -> bool {
        self.connections > 0 && self.last_seen >= range.from && self.first_seen < range.to
    }

    /// About how many were opened in this time.
    fn connections_within(&self, range: Range) -> u64 {
        let all = Range { from: self.first_seen, to: self.last_seen.saturating_add(1) };
        let within = all.and(range);
        let length = |range: Range| range.to.saturating_sub(range.from).max(0) as f64;
        (self.connections as f64 * length(within) / length(all).max(1.0)).ceil() as u64
    }
}

/// All pairings that may have connections that are wanted, or what of them is of the visitors that are.
pub(super) fn each_pairing(
    answering: &mut Answering<'_>,
    selection: &Selection,
    range: Range,
    take: &mut dyn FnMut(Counted) -> Result<(), QuestionError>,
) -> Result<(), QuestionError> {
    const COLUMNS: &str = "SELECT p.connections, p.first_seen, p.last_seen, p.client_bytes, p.server_bytes, \
                           p.id, p.edge, p.client, p.server, p.answer FROM pairing p";
    let Answering { reader, asker, .. } = answering;
    let database = reader.database();
    let visitors: BTreeSet<i64> = selection.visitors().collect();
    let mut visit = database.prepare_cached(
        "SELECT connections, first_seen, last_seen, client_bytes, server_bytes FROM visit \
         WHERE visitor = ?1 AND pairing = ?2",
    )?;
    let mut read = 0_u64;
    let mut each = |row: &rusqlite::Row<'_>| -> Result<(), QuestionError> {
        read += 1;
        if read.is_multiple_of(STEP as u64) && asker.progress(0.0).is_break() {
            return Err(QuestionError::interrupted());
        }
        let of = Pairing {
            id: row.get(5)?,
            client: row.get(7)?,
            server: row.get(8)?,
            answer: row.get(9)?,
            visitor: None,
        };
        let counted = Counted { edge: row.get(6)?, of, ..Counted::of(row)? };
        if !counted.is_in(range) {
            return Ok(());
        }
        if let Some(open) = selection.open(&of) {
            return take(Counted { open, ..counted });
        }
        for visitor in &visitors {
            let of = Pairing { visitor: Some(*visitor), ..of };
            let Some(open) = selection.open(&of) else { continue };
            let visit = visit.query_row([*visitor, of.id], Counted::of).optional()?;
            if let Some(visit) = visit.filter(|visit| visit.is_in(range)) {
                take(Counted { edge: counted.edge, of, open, ..visit })?;
            }
        }
        Ok(())
    };
    let Some(Ends { clients, servers, visitors }) = selection.few_ends() else {
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
            if !clients.contains(&row.get(7)?) {
                each(row)?;
            }
        }
    }
    let mut visited = FxHashSet::default();
    let mut by_visitor = database
        .prepare_cached(&format!("{COLUMNS} JOIN visit v ON v.pairing = p.id WHERE v.visitor = ?1"))?;
    for visitor in visitors {
        let mut rows = by_visitor.query([visitor])?;
        while let Some(row) = rows.next()? {
            let came = clients.contains(&row.get(7)?) || servers.contains(&row.get(8)?);
            if !came && visited.insert(row.get::<_, i64>(5)?) {
                each(row)?;
            }
        }
    }
    Ok(())
}

/// The newest of each candidate, merged.
fn by_pairing(
    answering: &mut Answering<'_>,
    selection: &Selection,
    limit: usize,
    mut candidates: Vec<Candidate>,
    take: Take<'_>,
) -> Result<(Walked, Option<i64>), QuestionError> {
    candidates.sort_unstable_by_key(|candidate| Reverse(candidate.last_seen));
    let own = format!("SELECT {} FROM connection WHERE opened = ?1", Own::COLUMNS);
    let mut newest = BinaryHeap::new();
    for (done, candidate) in candidates.iter().enumerate() {
        let full = newest.len() > limit;
        let oldest = newest.peek().filter(|_| full).map_or(i64::MIN, |Reverse(oldest)| *oldest);
        // Those behind it are older still.
        if candidate.last_seen < oldest {
            break;
        }
        let floor = oldest.max(candidate.range.from);
        answering.go_on(done as f64 / candidates.len() as f64)?;
        let (table, which) = match candidate.of.visitor {
            None => ("pairing_connections", ""),
            Some(_) => ("connection", " AND visitor = ?4"),
        };
        let sql = format!(
            "SELECT opened FROM {table} WHERE pairing = ?1 AND opened >= ?2 AND opened < ?3{which} ORDER BY opened DESC"
        );
        let database = answering.reader.database();
        let (mut statement, mut own) = (database.prepare_cached(&sql)?, database.prepare_cached(&own)?);
        let Candidate { of, range, .. } = candidate;
        let values = [of.id, floor, range.to].into_iter().chain(of.visitor);
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let opened: i64 = row.get(0)?;
            if newest.len() > limit && newest.peek().is_some_and(|Reverse(oldest)| opened < *oldest) {
                break;
            }
            let wanted = candidate.open == 0 || {
                let own = own.query_row([opened], |row| Own::of(row, 0))?;
                selection.open_for_record(candidate.open, &own).is_some()
            };
            if wanted {
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
    let Some((first, last)) = ends(answering.reader.database(), range)? else {
        return Ok((Walked::All, None));
    };
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

/// When the first and the last of the connections of this time were opened.
pub(super) fn ends(database: &Connection, range: Range) -> Result<Option<(i64, i64)>, QuestionError> {
    // One at a time: asked for both at once SQLite reads all rows.
    let end = |which| {
        let sql = format!("SELECT {which}(opened) FROM connection WHERE opened >= ?1 AND opened < ?2");
        database.prepare_cached(&sql)?.query_row([range.from, range.to], |row| row.get::<_, Option<i64>>(0))
    };
    Ok(end("min")?.zip(end("max")?))
}

/// Those of the next [`STEP`] connections that are wanted, with what their record must still tell, and the oldest that was
/// looked at, if there are more.
type Step = (Vec<(i64, Open)>, Option<i64>);

fn step(answering: &Answering<'_>, selection: &Selection, range: Range) -> Result<Step, QuestionError> {
    const ALL: &str =
        "SELECT opened FROM connection WHERE opened >= ?1 AND opened < ?2 ORDER BY opened DESC LIMIT ?3";
    let with_pairing = format!(
        "SELECT opened, {}, p.id, p.client, p.server, p.answer FROM connection c CROSS JOIN pairing p ON p.id = c.pairing \
         WHERE opened >= ?1 AND opened < ?2 ORDER BY opened DESC LIMIT ?3",
        Own::COLUMNS
    );
    let sql = if selection.is_everything() { ALL } else { &with_pairing };
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
        let own = Own::of(row, 1)?;
        let pairing = Pairing {
            id: row.get(6)?,
            client: row.get(7)?,
            server: row.get(8)?,
            answer: row.get(9)?,
            visitor: own.visitor,
        };
        let Some(open) = selection.open(&pairing) else { continue };
        let open = if open == 0 { Some(0) } else { selection.open_for_record(open, &own) };
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
