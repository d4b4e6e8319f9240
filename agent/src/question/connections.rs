//! `connections`: records as they were published, the newest first.

use serde::{Deserialize, Serialize};

use super::{Answering, End, Moment, QuestionError, limit};

/// Which connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionsQuestion {
    /// Opened at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Opened before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

impl ConnectionsQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        let from = self.since.map_or(i64::MIN, |since| since.resolve(answering.now).0);
        let mut to = self.until.map_or(i64::MAX, |until| until.resolve(answering.now).0);
        if let Some(after) = &self.after {
            let last: i64 = after
                .parse()
                .map_err(|_| QuestionError::Refused("after: it is not the `next` of a page".to_owned()))?;
            to = to.min(last);
        }
        let sql =
            "SELECT opened FROM connection WHERE opened >= ?1 AND opened < ?2 ORDER BY opened DESC LIMIT ?3";
        let opened: Vec<i64> = answering
            .reader
            .database()
            .prepare_cached(sql)?
            .query_map([from, to, i64::from(limit) + 1], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let page = opened.len().min(limit as usize);
        for (done, opened) in opened[..page].iter().enumerate() {
            let Some(record) = answering.reader.connection(*opened)? else { continue };
            let taken = answering.record(&record)?;
            if taken.is_break() || answering.progress(done as f64 / page as f64).is_break() {
                return Ok(End { next: Some(opened.to_string()), interrupted: true });
            }
        }
        let next = (opened.len() > page).then(|| opened[page - 1].to_string());
        Ok(End { next, interrupted: false })
    }
}
