//! Connections counted by pairing: from the roll-ups, and of a time that cuts them from the connections themselves.

use std::collections::BTreeMap;

use rusqlite::{params, params_from_iter};
use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::selection::Selection;
use super::walk::{Counted, each_pairing, ends};
use super::{Answering, QuestionError, Range};
use crate::record::{Authentication, RoleRecord, Scope, Text};
use crate::store::StoreError;

const NANOSECONDS_PER_HOUR: i64 = 3_600_000_000_000;
/// Connections that are counted between two words on how far it is.
const STEP: i64 = 16_384;
/// How much dearer it is to look a connection up than to come past it.
const LOOK_UP: u64 = 4;

/// Hands over what is counted of each pairing that is wanted, of connections opened in the range. What is only counted any
/// more is taken by the hour.
pub(super) fn counted(
    answering: &mut Answering<'_>,
    selection: &Selection,
    range: Range,
    take: &mut dyn FnMut(Counted) -> Result<(), QuestionError>,
) -> Result<(), QuestionError> {
    if selection.is_nothing() || range.from >= range.to {
        return Ok(());
    }
    let (mut cut, mut in_cut) = (FxHashMap::default(), 0);
    each_pairing(answering, selection, range, &mut |pairing| {
        if pairing.first_seen >= range.from && pairing.last_seen < range.to {
            return take(pairing);
        }
        in_cut += pairing.connections;
        cut.insert((pairing.of.id, pairing.of.visitor), Tally { pairing, ..Tally::default() });
        Ok(())
    })?;
    if cut.is_empty() {
        return Ok(());
    }
    folded(answering, range, &mut cut)?;
    let sql = "SELECT coalesce(sum(connections), 0) FROM pairing";
    let all: i64 = answering.reader.database().prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if in_cut.saturating_mul(LOOK_UP) < all.unsigned_abs() {
        by_pairing(answering, range, &mut cut)?;
    } else {
        by_time(answering, range, &mut cut)?;
    }
    for tally in cut.into_values().filter(|tally| tally.connections > 0) {
        let Tally { pairing, connections, first, last, bytes } = tally;
        take(Counted { connections, first_seen: first, last_seen: last, bytes, ..pairing })?;
    }
    Ok(())
}

/// What of a pairing is in the range.
#[derive(Debug, Clone, Copy)]
struct Tally {
    pairing: Counted,
    connections: u64,
    first: i64,
    last: i64,
    bytes: [u64; 2],
}

impl Default for Tally {
    fn default() -> Self {
        Tally { pairing: Counted::default(), connections: 0, first: i64::MAX, last: i64::MIN, bytes: [0; 2] }
    }
}

impl Tally {
    fn add(&mut self, connections: u64, first: i64, last: i64, bytes: [i64; 2]) {
        self.connections += connections;
        (self.first, self.last) = (self.first.min(first), self.last.max(last));
        for (sum, bytes) in self.bytes.iter_mut().zip(bytes) {
            *sum += bytes.unsigned_abs();
        }
    }
}

/// By pairing, and visitor if only that one is wanted of it.
type Tallies = FxHashMap<(i64, Option<i64>), Tally>;

/// Columns of a connection that are counted.
const COLUMNS: &str =
    "c.opened, c.pairing, coalesce(c.client_bytes, 0), coalesce(c.server_bytes, 0), c.visitor";

fn by_time(answering: &mut Answering<'_>, range: Range, cut: &mut Tallies) -> Result<(), QuestionError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM connection c WHERE opened >= ?1 AND opened < ?2 ORDER BY opened LIMIT {STEP}"
    );
    let Some((first, last)) = ends(answering.reader.database(), range)? else { return Ok(()) };
    let mut from = first;
    loop {
        let mut statement = answering.reader.database().prepare_cached(&sql)?;
        let mut rows = statement.query([from, range.to])?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            (read, from) = (read + 1, row.get(0)?);
            let pairing: i64 = row.get(1)?;
            let of = if cut.contains_key(&(pairing, None)) { None } else { row.get(4)? };
            if let Some(tally) = cut.get_mut(&(pairing, of)) {
                tally.add(1, from, from, [row.get(2)?, row.get(3)?]);
            }
        }
        drop(rows);
        drop(statement);
        if read < STEP {
            return Ok(());
        }
        answering.go_on((from - first) as f64 / (last - first).max(1) as f64)?;
        from += 1;
    }
}

fn by_pairing(answering: &mut Answering<'_>, range: Range, cut: &mut Tallies) -> Result<(), QuestionError> {
    let whole = format!(
        "SELECT {COLUMNS} FROM pairing_connections i CROSS JOIN connection c ON c.opened = i.opened \
         WHERE i.opened >= ?1 AND i.opened < ?2 AND i.pairing = ?3"
    );
    let of_visitor = format!(
        "SELECT {COLUMNS} FROM connection c WHERE opened >= ?1 AND opened < ?2 AND pairing = ?3 AND visitor = ?4"
    );
    let all = cut.len();
    for (done, ((pairing, visitor), tally)) in cut.iter_mut().enumerate() {
        answering.go_on(done as f64 / all as f64)?;
        let sql = if visitor.is_some() { &of_visitor } else { &whole };
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let values = [range.from, range.to, *pairing].into_iter().chain(*visitor);
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let opened = row.get(0)?;
            tally.add(1, opened, opened, [row.get(2)?, row.get(3)?]);
        }
    }
    Ok(())
}

fn folded(answering: &mut Answering<'_>, range: Range, cut: &mut Tallies) -> Result<(), QuestionError> {
    let sql = "SELECT connections, first_opened, last_opened, client_bytes, server_bytes FROM folded \
               WHERE pairing = ?1 AND hour >= ?2 AND hour <= ?3 AND last_opened >= ?4 AND first_opened < ?5 \
               AND (?6 IS NULL OR visitor = ?6)";
    let hours = [range.from, range.to].map(|time| time.div_euclid(NANOSECONDS_PER_HOUR));
    for ((pairing, visitor), tally) in cut.iter_mut() {
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let mut rows =
            statement.query(params![pairing, hours[0], hours[1], range.from, range.to, visitor])?;
        while let Some(row) = rows.next()? {
            let bytes = [row.get(3)?, row.get(4)?];
            tally.add(row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, row.get(2)?, bytes);
        }
    }
    Ok(())
}

/// What an answer says that is counted.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Said {
    pub authentication: Authentication,
    pub scope: Scope,
    pub findings: Vec<Text>,
    evidence: SaidEvidence,
}

#[derive(Debug, Clone, Deserialize)]
struct SaidEvidence {
    reason: Option<Text>,
}

impl Said {
    /// Counts connections with this answer in a role.
    pub fn count(&self, role: &mut RoleRecord, connections: u64) {
        role.connections += connections;
        add(&mut role.authentication, self.authentication, connections);
        if let Some(reason) = &self.evidence.reason {
            add(&mut role.unknown, reason.clone(), connections);
        }
    }
}

/// What answers say, read once.
#[derive(Debug, Default)]
pub(super) struct Answers(FxHashMap<i64, Said>);

impl Answers {
    /// What this one says.
    pub fn said(&mut self, answering: &Answering<'_>, answer: i64) -> Result<&Said, QuestionError> {
        match self.0.entry(answer) {
            std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => {
                let sql = "SELECT record FROM answer WHERE id = ?1";
                let text: String =
                    answering.reader.database().prepare_cached(sql)?.query_row([answer], |row| row.get(0))?;
                Ok(place.insert(serde_json::from_str(&text).map_err(StoreError::Record)?))
            }
        }
    }
}

/// Connections by some name.
pub(super) fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, connections: u64) {
    *counts.entry(key).or_default() += connections;
}
