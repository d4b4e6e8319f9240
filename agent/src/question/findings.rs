//! `findings`: what is wrong, the worst first.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::paging::{limit, no_place, page};
use super::{Answering, Condition, End, Moment, QuestionError, Range, fields};
use crate::record::{FindingRecord, Severity};
use crate::store::StoreError;

/// Which findings. Values of one kind are alternatives, different kinds must all match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct FindingsQuestion {
    /// Only those that were there at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only those that were there before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only of this code
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub code: Vec<String>,
    /// Only those that are this bad, or worse
    #[arg(long, value_name = "SEVERITY")]
    pub severity: Option<Severity>,
    /// Only about this workload
    #[arg(long, value_name = "NAME")]
    pub workload: Vec<String>,
    /// Only about the certificate with this SHA-256
    #[arg(long, value_name = "SHA256")]
    pub certificate: Vec<String>,
    /// Also those that are set apart by an exception
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub excepted: bool,
    /// Only those of which a field of countersign.finding/1 has this value; `null` where it is missing; all of several must hold
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub r#where: Vec<Condition>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

/// A finding that is wanted, where it stands: the worst first, then the newest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    severity: Reverse<Severity>,
    first_seen: Reverse<i64>,
    id: String,
}

impl FindingsQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        fields::check(&self.r#where, fields::finding())?;
        let range = Range::of(self.since, self.until, answering.now);
        let mut places: Vec<Place> = Vec::new();
        let after = self.after.as_deref().map(str::parse::<Place>).transpose()?;
        let sql = "SELECT record FROM finding WHERE last_seen >= ?1 AND first_seen < ?2";
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let mut rows = statement.query([range.from, range.to])?;
        while let Some(row) = rows.next()? {
            let finding = parsed(row.get_ref(0)?.as_str().map_err(|_| rusqlite::Error::InvalidQuery)?)?;
            let place = Place {
                severity: Reverse(finding.severity),
                first_seen: Reverse(finding.first_seen.0),
                id: finding.id.clone(),
            };
            if self.wants(&finding) && after.as_ref().is_none_or(|after| place > *after) {
                places.push(place);
            }
        }
        drop(rows);
        drop(statement);
        places.sort_unstable();
        page(answering, limit, &places, |answering, place| {
            let record = record(answering, &place.id)?;
            Ok(fields::holds(&self.r#where, &record)?.then_some(record))
        })
    }

    fn wants(&self, finding: &FindingRecord) -> bool {
        let is = |wanted: &[String], value: Option<&str>| {
            wanted.is_empty() || value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value))
        };
        is(&self.code, Some(&finding.code))
            && is(&self.workload, finding.workload.as_deref())
            && is(&self.certificate, finding.certificate.as_deref())
            && self.severity.is_none_or(|least| finding.severity >= least)
            && (self.excepted || finding.exception.is_none())
    }
}

fn parsed(text: &str) -> Result<FindingRecord, StoreError> {
    Ok(serde_json::from_str(text)?)
}

/// The finding, counted by the connections of its edge that have it, where that is more than it says.
fn record(answering: &Answering<'_>, id: &str) -> Result<FindingRecord, QuestionError> {
    let sql = "SELECT record, edge, first_seen, last_seen FROM finding WHERE id = ?1";
    let database = answering.reader.database();
    let (text, edge, first, last): (String, Option<i64>, i64, i64) = database
        .prepare_cached(sql)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let mut finding = parsed(&text)?;
    (finding.first_seen.0, finding.last_seen.0) = (first, last);
    let Some(edge) = edge else { return Ok(finding) };
    let sql = "SELECT coalesce(sum(p.connections), 0), max(p.last_seen) FROM pairing p JOIN answer a ON a.id = p.answer \
               WHERE p.edge = ?1 AND EXISTS (SELECT 1 FROM json_each(a.record, '$.findings') WHERE value = ?2)";
    let (connections, latest): (i64, Option<i64>) = database
        .prepare_cached(sql)?
        .query_row(rusqlite::params![edge, &*finding.code], |row| Ok((row.get(0)?, row.get(1)?)))?;
    finding.count = finding.count.max(connections.unsigned_abs());
    finding.last_seen.0 = latest.unwrap_or(last).max(last);
    Ok(finding)
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.severity.0, self.first_seen.0, self.id)
    }
}

impl std::str::FromStr for Place {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let mut parts = text.splitn(3, '.');
        let place = (|| {
            let severity = Reverse(parts.next()?.parse().ok()?);
            let first_seen = Reverse(parts.next()?.parse().ok()?);
            Some(Place { severity, first_seen, id: parts.next()?.to_owned() })
        })();
        place.ok_or_else(no_place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::tests::{ask, history};
    use crate::record::{FINDING_SCHEMA, Record, WallTime};
    use crate::store::Writer;
    use crate::store::sample::{OPENED, full};

    fn finding(id: &str, severity: Severity, first_seen: i64) -> FindingRecord {
        FindingRecord {
            schema: FINDING_SCHEMA.into(),
            id: id.to_owned(),
            code: "unauthenticated_east_west".into(),
            severity,
            host: None,
            connection: Some(full(0).id),
            certificate: None,
            workload: Some("client.service".to_owned()),
            edge: None,
            first_seen: WallTime(first_seen),
            last_seen: WallTime(first_seen),
            resolved: None,
            count: 1,
            summary: String::new(),
            remedy: "".into(),
            controls: vec![],
            exception: None,
        }
    }

    #[test]
    fn findings_come_worst_first_and_are_counted_by_connections() {
        let (folder, mut reader) = history("findings", (0..7).map(full));
        let mut excepted = finding("d", Severity::Critical, OPENED);
        excepted.exception = Some(crate::record::ExceptionRecord {
            owner: "a".to_owned(),
            reason: "b".to_owned(),
            expires: "2027-01-01".to_owned(),
        });
        let other = FindingRecord { code: "other".into(), ..finding("b", Severity::Low, OPENED) };
        let all =
            [finding("a", Severity::High, OPENED), other, finding("c", Severity::High, OPENED + 5), excepted];
        let all = all.map(|finding| Record::Finding(finding.into()));
        Writer::open(&folder.file()).unwrap().write(&all).unwrap();
        let mut ids = |query: &str| {
            let (lines, page) = ask(&mut reader, "findings", query);
            (lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), page.next)
        };
        for (query, expected) in [
            ("", &["c", "a", "b"][..]),
            ("severity=medium", &["c", "a"]),
            ("code=other", &["b"]),
            ("workload=client.service&code=other", &["b"]),
            ("workload=other", &[]),
            ("excepted=true", &["d", "c", "a", "b"]),
            ("since=2030-01-01", &[]),
            ("where=exception.owner%3Da&excepted=true", &["d"]),
            ("where=count%3D7", &["c", "a"]),
            ("where=count%3D7&where=certificate%3Dnull&limit=1", &["c"]),
        ] {
            assert_eq!(ids(query).0, expected, "{query}");
        }
        let (first, next) = ids("limit=2");
        assert_eq!(first, ["c", "a"]);
        assert_eq!(ids(&format!("limit=2&after={}", next.unwrap())), (vec!["b".to_owned()], None));
        let counts: Vec<_> =
            ask(&mut reader, "findings", "").0.iter().map(|line| line["count"].clone()).collect();
        assert_eq!(counts, [7, 7, 1]);
    }
}
