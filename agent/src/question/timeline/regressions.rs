//! When an edge established less than before, and whether it came back.

use rusqlite::Connection;

use crate::question::QuestionError;
use crate::question::strength::strength;
use crate::question::times::{Span, Use, earliest_opened};
use crate::record::Authentication;

/// Changes of one edge that are followed: an edge whose clients differ goes back and forth all the time, and says so with these.
const MAX_CHANGES: usize = 32;

/// An edge established less than before.
#[derive(Debug, Clone)]
pub(super) struct Regression {
    pub used: Use,
    pub from: Authentication,
    pub to: Authentication,
    pub back: Option<i64>,
    pub is_cut: bool,
}

/// Connections of an edge with one answer.
struct Answered {
    span: Span,
    authentication: Authentication,
    strength: u8,
}

/// All of an edge, in the order of time.
pub(super) fn of_edge(database: &Connection, edge: i64) -> Result<Vec<Regression>, QuestionError> {
    let answered = answered(database, edge)?;
    let Some(first) = answered.iter().min_by_key(|one| one.span.first_seen) else { return Ok(Vec::new()) };
    let weakest = answered.iter().map(|one| one.strength).min();
    let strongest = answered.iter().map(|one| one.strength).max();
    if weakest == strongest {
        return Ok(Vec::new());
    }
    let (mut now, mut held) = (first.span.first_seen, first);
    let mut regressions: Vec<Regression> = Vec::new();
    for change in 0..=MAX_CHANGES {
        let Some((used, next)) = next(database, &answered, held.strength, now)? else { break };
        if change == MAX_CHANGES {
            if let Some(last) = regressions.last_mut() {
                last.is_cut = true;
            }
            break;
        }
        if next.strength < held.strength {
            let (from, to) = (held.authentication, next.authentication);
            regressions.push(Regression { used, from, to, back: None, is_cut: false });
        }
        for regression in &mut regressions {
            if regression.back.is_none() && strength(regression.from) <= Some(next.strength) {
                regression.back = Some(used.at);
            }
        }
        (now, held) = (used.at, next);
    }
    Ok(regressions)
}

fn answered(database: &Connection, edge: i64) -> Result<Vec<Answered>, QuestionError> {
    let sql = "SELECT p.id, p.first_seen, p.last_seen, a.authentication FROM pairing p JOIN answer a ON a.id = p.answer \
               WHERE p.edge = ?1 ORDER BY p.id";
    let mut statement = database.prepare_cached(sql)?;
    let mut rows = statement.query([edge])?;
    let mut answered = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(3)?;
        let authentication = name.parse().unwrap_or(Authentication::Unknown);
        let span = Span { pairing: row.get(0)?, first_seen: row.get(1)?, last_seen: row.get(2)? };
        if let Some(strength) = strength(authentication) {
            answered.push(Answered { span, authentication, strength });
        }
    }
    Ok(answered)
}

/// The first connection after `now` that establishes more or less than `held`.
fn next<'a>(
    database: &Connection,
    answered: &'a [Answered],
    held: u8,
    now: i64,
) -> Result<Option<(Use, &'a Answered)>, QuestionError> {
    let mut first: Option<(Use, &Answered)> = None;
    for one in answered.iter().filter(|one| one.strength != held && one.span.last_seen > now) {
        if first.is_some_and(|(used, _)| used.at <= one.span.first_seen) {
            continue;
        }
        let opened = match one.span.first_seen > now {
            true => Some(Use { at: one.span.first_seen, to_the_hour: false }),
            false => earliest_opened(database, one.span.pairing, now.saturating_add(1))?,
        };
        if let Some(used) = opened.filter(|used| first.is_none_or(|(first, _)| used.at < first.at)) {
            first = Some((used, one));
        }
    }
    Ok(first)
}
