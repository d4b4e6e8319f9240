//! When connections of one kind were in use: out of their rows, out of hours in which they are only counted any more,
//! and out of what is counted of all there ever were.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::QuestionError;

const NANOSECONDS_PER_HOUR: i64 = 3_600_000_000_000;

/// Connections of a pairing before a moment that are always looked at to see whether one of them was still open then: a seek finds
/// them, and each costs a page of the file.
const LOOK_BACK: u64 = 4;
/// Further ones, of all pairings of a question together, a tenth of a second. A connection that outlives more later ones
/// of the same ends than that is not met.
const MAX_LOOK_BACK: u64 = 32_768;

/// How much may still be looked at to find connections that outlived later ones.
#[derive(Debug)]
pub(crate) struct LookBack {
    rows: u64,
    /// Looks that ended before the first connection, with none that was still open.
    pub cut: u64,
}

impl Default for LookBack {
    fn default() -> Self {
        LookBack { rows: MAX_LOOK_BACK, cut: 0 }
    }
}

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
    look_back: &mut LookBack,
) -> Result<Option<Use>, QuestionError> {
    if span.first_seen >= from {
        return Ok((span.first_seen < until).then_some(Use::exactly(span.first_seen)));
    }
    if from >= until {
        return Ok(None);
    }
    if last_end(database, span.pairing, from, from, look_back)?.is_some_and(|end| end >= from) {
        return Ok(Some(Use::exactly(from)));
    }
    let row = earliest_opened(database, span.pairing, from)?;
    // It ended later, and was opened before by none of the rows: by one that is not kept.
    let counted = (row.is_none() && span.last_seen >= from).then_some(Use::exactly(from));
    Ok(row.or(counted).filter(|found| found.at < until))
}

/// The last moment up to `to`, and from `since` on, at which one of the connections was open; where one was open at `enough` or later
/// it need not be the very last.
pub(crate) fn latest_use(
    database: &Connection,
    span: Span,
    to: i64,
    since: i64,
    enough: i64,
    look_back: &mut LookBack,
) -> Result<Option<Use>, QuestionError> {
    if span.first_seen > to {
        return Ok(None);
    }
    let end = last_end(database, span.pairing, to.saturating_add(1), enough, look_back)?;
    let end = end.map(|end| Use::exactly(end.min(to)));
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
    let sql =
        "SELECT opened FROM pairing_connections WHERE pairing = ?1 AND opened >= ?2 ORDER BY opened LIMIT 1";
    let row: Option<i64> =
        database.prepare_cached(sql)?.query_row([pairing, from], |row| row.get(0)).optional()?;
    let sql = "SELECT min(first_opened) FROM folded WHERE pairing = ?1 AND last_opened >= ?3 AND hour = \
               (SELECT hour FROM folded WHERE pairing = ?1 AND hour >= ?2 AND last_opened >= ?3 ORDER BY hour LIMIT 1)";
    let folded: Option<i64> = database
        .prepare_cached(sql)?
        .query_row(params![pairing, from.div_euclid(NANOSECONDS_PER_HOUR), from], |row| row.get(0))?;
    let folded = folded.map(|first| Use { at: first.max(from), to_the_hour: first < from });
    Ok([row.map(Use::exactly), folded].into_iter().flatten().min_by_key(|found| found.at))
}

/// The last end of connections that were opened before `before`; of one that has not ended, as late as can be. Once one ended at
/// `enough` or later no more are looked at.
fn last_end(
    database: &Connection,
    pairing: i64,
    before: i64,
    enough: i64,
    look_back: &mut LookBack,
) -> Result<Option<i64>, QuestionError> {
    let sql =
        "SELECT opened FROM pairing_connections WHERE pairing = ?1 AND opened < ?2 ORDER BY opened DESC";
    let mut statement = database.prepare_cached(sql)?;
    let mut rows = statement.query([pairing, before])?;
    let sql = "SELECT closed, decided, revision % 2 FROM connection WHERE opened = ?1";
    let mut connection = database.prepare_cached(sql)?;
    let (mut last, mut looked_at) = (None, 0);
    while let Some(row) = rows.next()? {
        if looked_at >= LOOK_BACK {
            if look_back.rows == 0 {
                look_back.cut += 1;
                break;
            }
            look_back.rows -= 1;
        }
        looked_at += 1;
        let opened: i64 = row.get(0)?;
        let (closed, decided, is_final): (Option<i64>, Option<i64>, bool) =
            connection.query_row([opened], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let end = match closed {
            Some(closed) => opened.saturating_add(closed),
            None if !is_final => i64::MAX,
            None => opened.saturating_add(decided.unwrap_or(0)),
        };
        last = last.max(Some(end));
        if end >= enough {
            break;
        }
    }
    Ok(last)
}

fn latest_folded(database: &Connection, pairing: i64, to: i64) -> Result<Option<Use>, QuestionError> {
    let sql = "SELECT max(last_opened) FROM folded WHERE pairing = ?1 AND first_opened <= ?3 AND hour = \
               (SELECT hour FROM folded WHERE pairing = ?1 AND hour <= ?2 AND first_opened <= ?3 \
               ORDER BY hour DESC LIMIT 1)";
    let last: Option<i64> = database
        .prepare_cached(sql)?
        .query_row(params![pairing, to.div_euclid(NANOSECONDS_PER_HOUR), to], |row| row.get(0))?;
    Ok(last.map(|last| Use { at: last.min(to), to_the_hour: last > to }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::made::{History, SECOND, from_to, minute};
    use crate::record::ConnectionRecord;
    use crate::store::Reader;

    /// One that lasts from minute 1 to 30, and seven of a second behind it.
    fn outlived(name: &str) -> (History, Span) {
        let long = ConnectionRecord { closed: Some(minute(30)), ..from_to("a", "b", 1) };
        let connections = [long].into_iter().chain((2..9).map(|minutes| from_to("a", "b", minutes)));
        let history = History::of(name, connections.chain([from_to("a", "b", 40)]).collect(), vec![]);
        (history, Span { pairing: 1, first_seen: minute(1).0, last_seen: minute(40).0 + SECOND })
    }

    #[test]
    fn a_connection_that_outlives_later_ones_is_found() {
        let (history, span) = outlived("times-outlived");
        let reader = Reader::open(&history.folder.file()).unwrap();
        let mut look_back = LookBack::default();
        let found = earliest_use(reader.database(), span, minute(20).0, i64::MAX, &mut look_back).unwrap();
        assert_eq!(found, Some(Use::exactly(minute(20).0)));
        let to = minute(35).0;
        let found = latest_use(reader.database(), span, to, i64::MIN, to, &mut look_back).unwrap();
        assert_eq!((found, look_back.cut), (Some(Use::exactly(minute(30).0)), 0));
    }

    #[test]
    fn a_look_that_ends_too_soon_is_counted() {
        let (history, span) = outlived("times-bound");
        let reader = Reader::open(&history.folder.file()).unwrap();
        let mut look_back = LookBack { rows: 3, cut: 0 };
        let from = |from, look_back: &mut _| {
            earliest_use(reader.database(), span, minute(from).0, i64::MAX, look_back).unwrap()
        };
        assert_eq!(from(20, &mut look_back), Some(Use::exactly(minute(40).0)), "the next that was opened");
        assert_eq!((look_back.rows, look_back.cut), (0, 1));
        from(3, &mut look_back);
        assert_eq!(look_back.cut, 1, "few were opened before that: all are looked at");
    }
}
