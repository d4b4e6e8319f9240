//! When connections of one kind were in use: out of their rows, out of hours in which they are only counted any more,
//! and out of what is counted of all there ever were.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::QuestionError;

const NANOSECONDS_PER_HOUR: i64 = 3_600_000_000_000;

/// Connections before a moment that are looked at to see whether one of them was still open then: a seek finds them, and
/// each costs a page of the file. A connection that outlives so many later ones of the same ends is taken to be unused.
const LOOK_BACK: i64 = 4;

/// A row of `pairing`, and how far its connections reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub pairing: i64,
    pub first_seen: i64,
    pub last_seen: i64,
}

/// When a connection was in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub at: i64,
    /// Known to the hour only.
    pub to_the_hour: bool,
}

impl Use {
    fn exactly(at: i64) -> Use {
        Use { at, to_the_hour: false }
    }
}

/// The first moment from `from` on, and before `until`, at which one of the connections was open.
pub(crate) fn earliest_use(
    database: &Connection,
    span: Span,
    from: i64,
    until: i64,
) -> Result<Option<Use>, QuestionError> {
    if span.first_seen >= from {
        return Ok((span.first_seen < until).then_some(Use::exactly(span.first_seen)));
    }
    if from >= until {
        return Ok(None);
    }
    if last_end(database, span.pairing, from)?.is_some_and(|end| end >= from) {
        return Ok(Some(Use::exactly(from)));
    }
    let row = earliest_opened(database, span.pairing, from)?;
    // It ended later, and was opened before by none of the rows: by one that is not kept.
    let counted = (row.is_none() && span.last_seen >= from).then_some(Use::exactly(from));
    Ok(row.or(counted).filter(|found| found.at < until))
}

/// The last moment up to `to`, and from `since` on, at which one of the connections was open.
pub(crate) fn latest_use(
    database: &Connection,
    span: Span,
    to: i64,
    since: i64,
) -> Result<Option<Use>, QuestionError> {
    if span.first_seen > to {
        return Ok(None);
    }
    let end = last_end(database, span.pairing, to.saturating_add(1))?.map(|end| Use::exactly(end.min(to)));
    let folded = latest_folded(database, span.pairing, to)?;
    let seen = if span.last_seen <= to { span.last_seen } else { span.first_seen };
    let latest = [end, folded].into_iter().flatten().max_by_key(|found| found.at);
    let latest = latest.filter(|found| found.at >= seen).unwrap_or(Use::exactly(seen));
    Ok((latest.at >= since).then_some(latest))
}

/// The first moment from `from` on at which one of the connections was opened.
pub(crate) fn earliest_opened(
    database: &Connection,
    pairing: i64,
    from: i64,
) -> Result<Option<Use>, QuestionError> {
    let sql = "SELECT min(opened) FROM connection WHERE pairing = ?1 AND opened >= ?2";
    let row: Option<i64> = database.prepare_cached(sql)?.query_row([pairing, from], |row| row.get(0))?;
    let sql = "SELECT first_opened FROM folded WHERE pairing = ?1 AND hour >= ?2 AND last_opened >= ?3 \
               ORDER BY hour LIMIT 1";
    let folded: Option<i64> = database
        .prepare_cached(sql)?
        .query_row(params![pairing, from.div_euclid(NANOSECONDS_PER_HOUR), from], |row| row.get(0))
        .optional()?;
    let folded = folded.map(|first| Use { at: first.max(from), to_the_hour: first < from });
    Ok([row.map(Use::exactly), folded].into_iter().flatten().min_by_key(|found| found.at))
}

/// The last end of connections that were opened before `before`; of one that has not ended, as late as can be.
fn last_end(database: &Connection, pairing: i64, before: i64) -> Result<Option<i64>, QuestionError> {
    let sql = "SELECT opened, closed, decided, revision FROM connection WHERE pairing = ?1 AND opened < ?2 \
               ORDER BY opened DESC LIMIT ?3";
    let mut statement = database.prepare_cached(sql)?;
    let ends = statement.query_map(params![pairing, before, LOOK_BACK], |row| {
        let opened: i64 = row.get(0)?;
        let closed: Option<i64> = row.get(1)?;
        let decided: Option<i64> = row.get(2)?;
        let is_final = row.get::<_, i64>(3)? % 2 == 1;
        Ok(match closed {
            Some(closed) => opened.saturating_add(closed),
            None if !is_final => i64::MAX,
            None => opened.saturating_add(decided.unwrap_or(0)),
        })
    })?;
    let mut last = None;
    for end in ends {
        last = last.max(Some(end?));
    }
    Ok(last)
}

fn latest_folded(database: &Connection, pairing: i64, to: i64) -> Result<Option<Use>, QuestionError> {
    let sql = "SELECT last_opened FROM folded WHERE pairing = ?1 AND hour <= ?2 AND first_opened <= ?3 \
               ORDER BY hour DESC LIMIT 1";
    let last: Option<i64> = database
        .prepare_cached(sql)?
        .query_row(params![pairing, to.div_euclid(NANOSECONDS_PER_HOUR), to], |row| row.get(0))
        .optional()?;
    Ok(last.map(|last| Use { at: last.min(to), to_the_hour: last > to }))
}
