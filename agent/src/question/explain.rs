//! `explain`: the evidence of one connection, in order, in words.

use std::ops::ControlFlow;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::words;
use super::{Answering, End, QuestionError};
use crate::record::{
    CertificateRecord, ConnectionRecord, EXPLANATION_SCHEMA, ExplanationRecord, ExplanationStepRecord,
    FindingRecord, WallTime,
};
use crate::store::StoreError;

const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;
const MILLISECONDS_PER_HOUR: i64 = 3_600_000;
/// Gaps that are told: more say no more.
const MAX_GAPS: i64 = 8;

/// Which connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ExplainQuestion {
    /// Id of the connection
    #[arg(value_name = "ID")]
    pub id: String,
}

impl ExplainQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let id = uuid::Uuid::try_parse(&self.id).ok().filter(|id| id.get_version_num() == 7);
        let Some(id) = id else {
            let message =
                "id: it is not the id of a connection, a UUID of version 7: `connections --json` shows them";
            return Err(QuestionError::Refused(message.to_owned()));
        };
        let explanation = match answering.reader.connection_by_id(&self.id)? {
            Some(record) => Some(whole(answering, &record)?),
            None => counted_only(answering, id)?,
        };
        let taken = match explanation {
            Some(explanation) => answering.record(&explanation)?,
            None => ControlFlow::Continue(()),
        };
        Ok(End { next: None, interrupted: taken.is_break() })
    }
}

fn explanation(id: String, kept: &'static str, steps: Vec<ExplanationStepRecord>) -> ExplanationRecord {
    ExplanationRecord { schema: EXPLANATION_SCHEMA.into(), id, kept: kept.into(), steps }
}

/// It may be one of those that were counted in its hour.
fn counted_only(
    answering: &Answering<'_>,
    id: uuid::Uuid,
) -> Result<Option<ExplanationRecord>, QuestionError> {
    let milliseconds = id.as_u128() >> 80;
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    let opened = milliseconds.saturating_mul(NANOSECONDS_PER_MILLISECOND);
    let sql = "SELECT coalesce(sum(connections), 0) FROM folded WHERE hour = ?1 AND first_opened <= ?3 AND last_opened >= ?2";
    let last = opened.saturating_add(NANOSECONDS_PER_MILLISECOND - 1);
    let counted: i64 = answering
        .reader
        .database()
        .prepare_cached(sql)?
        .query_row([milliseconds / MILLISECONDS_PER_HOUR, opened, last], |row| row.get(0))?;
    if counted == 0 {
        return Ok(None);
    }
    let text = format!(
        "It is not kept by itself. {counted} connections opened around {} are only counted any more, and it may be one of \
         them: `edges` has them by who reached whom, their ids and times are gone.",
        WallTime(opened)
    );
    let step = ExplanationStepRecord { topic: "observation".into(), at: Some(WallTime(opened)), text };
    Ok(Some(explanation(id.hyphenated().to_string(), "counted", vec![step])))
}

fn whole(answering: &Answering<'_>, record: &ConnectionRecord) -> Result<ExplanationRecord, QuestionError> {
    let mut steps = words::observation(record);
    steps.extend(words::ends(record));
    steps.extend(words::protocol(record));
    steps.extend(words::authentication(record));
    for (side, end, peer) in
        [("client", &record.client, &record.server), ("server", &record.server, &record.client)]
    {
        let mut certificates = Vec::new();
        for fingerprint in &end.certificates {
            certificates.push((fingerprint.as_str(), certificate(answering, fingerprint)?));
        }
        steps.extend(words::certificates(side, end, peer, &certificates, record));
    }
    for code in &record.findings {
        steps.push(words::finding(code, found(answering, record, code)?.as_ref()));
    }
    steps.extend(gaps(answering, record)?);
    steps.push(words::not_evaluated(record));
    Ok(explanation(record.id.clone(), "whole", steps))
}

fn certificate(
    answering: &Answering<'_>,
    fingerprint: &str,
) -> Result<Option<CertificateRecord>, QuestionError> {
    let Some(sha256) = crate::store::from_hex::<32>(fingerprint) else { return Ok(None) };
    let sql = "SELECT record FROM certificate WHERE sha256 = ?1 AND record IS NOT NULL";
    let mut statement = answering.reader.database().prepare_cached(sql)?;
    let mut rows = statement.query([sha256])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let text: String = row.get(0)?;
    Ok(Some(serde_json::from_str(&text).map_err(StoreError::Record)?))
}

/// The finding of this code on the edge of the connection.
fn found(
    answering: &Answering<'_>,
    record: &ConnectionRecord,
    code: &str,
) -> Result<Option<FindingRecord>, QuestionError> {
    let edge = answering.reader.edge_of(&record.id)?;
    let sql = "SELECT record FROM finding WHERE code = ?1 AND edge = ?2 ORDER BY last_seen DESC LIMIT 1";
    let mut statement = answering.reader.database().prepare_cached(sql)?;
    let mut rows = statement.query(params![code, edge])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let text: String = row.get(0)?;
    Ok(Some(serde_json::from_str(&text).map_err(StoreError::Record)?))
}

/// What was not seen while it lasted.
fn gaps(
    answering: &Answering<'_>,
    record: &ConnectionRecord,
) -> Result<Vec<ExplanationStepRecord>, QuestionError> {
    let until = record.closed.map_or(i64::MAX, |closed| closed.0);
    let sql = "SELECT began, ended, cause, lost FROM gap WHERE ended >= ?1 AND coalesce(began, ended) <= ?2 \
               ORDER BY ended LIMIT ?3";
    let mut statement = answering.reader.database().prepare_cached(sql)?;
    let mut rows = statement.query([record.opened.0, until, MAX_GAPS])?;
    let mut steps = Vec::new();
    while let Some(row) = rows.next()? {
        let (began, ended): (Option<i64>, i64) = (row.get(0)?, row.get(1)?);
        let (cause, lost): (String, Option<i64>) = (row.get(2)?, row.get(3)?);
        let since = began.map_or_else(|| "an unknown time".to_owned(), |began| WallTime(began).to_string());
        let lost = lost.map_or_else(|| "an unknown number of".to_owned(), |lost| lost.to_string());
        let text =
            format!("From {since} to {} {lost} events were not seen or not kept: {cause}.", WallTime(ended));
        steps.push(ExplanationStepRecord { topic: "gap".into(), at: Some(WallTime(ended)), text });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::tests::{ask, history};
    use crate::record::{Authentication, EvidenceName, GAP_SCHEMA, GapRecord, Record};
    use crate::store::Writer;
    use crate::store::sample::{OPENED, full, id};

    fn text(lines: &[serde_json::Value]) -> String {
        let steps = lines[0]["steps"].as_array().unwrap();
        steps
            .iter()
            .map(|step| format!("{}: {}\n", step["topic"].as_str().unwrap(), step["text"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn an_explanation_tells_what_is_known_how_and_what_is_not() {
        let mut unknown = full(3);
        unknown.authentication = Authentication::Unknown;
        unknown.evidence.client = EvidenceName::Unknown;
        unknown.evidence.reason = Some("mid_stream".into());
        let (folder, mut reader) = history("explain", [full(0), unknown]);
        let gap = GapRecord {
            schema: GAP_SCHEMA.into(),
            from: Some(WallTime(OPENED + 1)),
            to: WallTime(OPENED + 2),
            cause: "ring_full".to_owned(),
            lost: Some(7),
        };
        Writer::open(&folder.file()).unwrap().write(&[Record::Gap(gap.into())]).unwrap();
        let (lines, _) = ask(&mut reader, "explain", &format!("id={}", full(0).id));
        let told = text(&lines);
        for part in [
            "10.0.0.1:40000",
            "nginx[900]",
            "getpeername",
            "client.service",
            "other_host",
            "spiffe://test/client",
            "abababab",
            "was verified",
            "unauthenticated_east_west",
            "mutual TLS",
            "ring_full",
            "7 events",
            "reset",
            "2000 bytes",
            "trust",
            "resumes",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert_eq!(lines[0]["kept"], "whole");
        let steps = lines[0]["steps"].as_array().unwrap();
        let mut topics: Vec<&str> = steps.iter().map(|step| step["topic"].as_str().unwrap()).collect();
        topics.dedup();
        let in_order = ["observation", "client", "server", "protocol", "authentication", "certificate"];
        assert_eq!(topics, [&in_order[..], &["finding", "gap", "not_evaluated"]].concat());
        let (lines, _) = ask(&mut reader, "explain", &format!("id={}", full(3).id));
        assert!(text(&lines).contains("mid_stream"), "{}", text(&lines));
    }

    #[test]
    fn what_is_only_counted_is_said_to_be_and_what_never_was_is_not_explained() {
        let (folder, mut reader) = history("explain-folded", [full(0)]);
        let database = rusqlite::Connection::open(folder.file()).unwrap();
        let sql = "INSERT INTO folded VALUES (1, ?1, 0, 12, ?2, ?3, 0, 0)";
        let later = OPENED + 1_000_000_000;
        database.execute(sql, [later / 3_600_000_000_000, later, later + 5_000_000]).unwrap();
        let (lines, _) = ask(&mut reader, "explain", &format!("id={}", id(later + 1_000_000, 5)));
        assert_eq!(lines[0]["kept"], "counted");
        assert!(text(&lines).contains("12 connections"), "{lines:#?}");
        let (lines, page) = ask(&mut reader, "explain", &format!("id={}", id(OPENED - 1_000_000_000, 5)));
        assert_eq!((lines.len(), page.count), (0, 0));
        let question = crate::question::Question::parse("explain", "id=7").unwrap();
        let mut all = crate::question::tests::Everything::default();
        assert!(question.answer(&mut reader, WallTime(0), &mut all).is_err());
    }
}
