//! Pages of an answer: so many records, and where the next ones begin.

use std::fmt::Display;

use serde::Serialize;

use super::{Answering, DEFAULT_LIMIT, End, MAX_LIMIT, QuestionError};

/// The bounds of a page: `limit`, else [`DEFAULT_LIMIT`].
pub(super) fn limit(asked: Option<u32>) -> Result<usize, QuestionError> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit as usize),
        limit => Err(QuestionError::Refused(format!("limit: {limit} is not from 1 to {MAX_LIMIT}"))),
    }
}

/// Refuses what does not say where a page begins.
pub(super) fn no_place() -> QuestionError {
    QuestionError::Refused("after: it is not the `next` of a page".to_owned())
}

/// Hands the records over that stand at these places, in this order, at most `limit`. `record` makes each of them, `None` if
/// it turns out not to be wanted.
pub(super) fn page<P: Display, R: Serialize>(
    answering: &mut Answering<'_>,
    limit: usize,
    places: &[P],
    mut record: impl FnMut(&mut Answering<'_>, &P) -> Result<Option<R>, QuestionError>,
) -> Result<End, QuestionError> {
    let (mut taken, mut last) = (0, None);
    for (done, place) in places.iter().enumerate() {
        let is_over = answering.progress(done as f64 / places.len() as f64).is_break();
        if is_over {
            return Ok(End { next: last, interrupted: true });
        }
        if let Some(record) = record(answering, place)? {
            if taken == limit {
                return Ok(End { next: last, interrupted: false });
            }
            taken += 1;
            if answering.record(&record)?.is_break() {
                return Ok(End { next: Some(place.to_string()), interrupted: true });
            }
        }
        last = Some(place.to_string());
    }
    Ok(End::default())
}
