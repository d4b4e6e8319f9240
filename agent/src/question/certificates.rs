//! `certificates`: what was presented, by whom, since when and until when it is valid.

use std::collections::BTreeSet;

use rusqlite::params;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::connections::fingerprint;
use super::paging::{limit, no_place, page};
use super::selection::{Selection, fingerprints};
use super::walk::each_pairing;
use super::{Answering, Condition, End, Moment, QuestionError, Range, Span, fields};
use crate::record::{CERTIFICATE_SCHEMA, CertificateRecord, SideName, WallTime};
use crate::store::{StoreError, to_hex};

/// Which certificates, those that expire first at the beginning. Values of one kind are alternatives, different kinds must all match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct CertificatesQuestion {
    /// Only those that were presented at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only those that were presented before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only valid ones that expire within this time (14d)
    #[arg(long, value_name = "SPAN")]
    pub expiring: Option<Span>,
    /// Only expired ones
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// Only those that were not presented for this time (30d)
    #[arg(long, value_name = "SPAN")]
    pub unused: Option<Span>,
    /// Only those whose issuer's name has this text in it
    #[arg(long, value_name = "TEXT")]
    pub issuer: Vec<String>,
    /// Only those of this identity
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Vec<String>,
    /// Only the one with this SHA-256, or those that begin so (8 digits at least)
    #[arg(long, value_name = "SHA256")]
    pub certificate: Vec<String>,
    /// Only those that the workload of this name or key presented
    #[arg(long, value_name = "NAME")]
    pub workload: Vec<String>,
    /// Only those that were presented in this role
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub role: Vec<SideName>,
    /// Only those of which a field of countersign.certificate/1 has this value; `null` where it is missing; all of several must hold
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub r#where: Vec<Condition>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

/// How a certificate was used.
#[derive(Debug, Clone)]
pub(super) struct Use {
    first_seen: i64,
    last_seen: i64,
    roles: [bool; 2],
    workloads: Vec<i64>,
    connections: u64,
}

impl Default for Use {
    fn default() -> Self {
        let (first_seen, last_seen) = (i64::MAX, i64::MIN);
        Use { first_seen, last_seen, roles: [false; 2], workloads: Vec::new(), connections: 0 }
    }
}

/// How certificates were used, by number.
pub(super) type Uses = FxHashMap<i64, Use>;

/// A certificate that is wanted, and where it stands.
struct Found {
    /// Those of which nothing is known come last.
    not_after: i64,
    number: i64,
}

impl CertificatesQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        fields::check(&self.r#where, fields::certificate())?;
        let uses = uses(answering)?;
        let workloads = self.workloads(answering)?;
        let mut found = Vec::new();
        let sql = "SELECT id, sha256, identity, issuer, coalesce(not_after, ?1), first_seen FROM certificate";
        let prefixes =
            self.certificate.iter().map(|text| fingerprint(text)).collect::<Result<Vec<_>, _>>()?;
        let prefixes: Vec<_> = prefixes.iter().filter_map(|prefix| fingerprints(prefix)).collect();
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let mut rows = statement.query([i64::MAX])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let unused = Use::default();
            let used = uses.get(&number).unwrap_or(&unused);
            let (sha256, not_after, first): ([u8; 32], i64, i64) = (row.get(1)?, row.get(4)?, row.get(5)?);
            let (identity, issuer): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
            let by_name = any(&prefixes, |(from, to)| (*from..=*to).contains(&sha256))
                && any(&self.identity, |wanted| identity.as_ref() == Some(wanted))
                && any(&self.issuer, |text| {
                    issuer.as_ref().is_some_and(|issuer| issuer.contains(text.as_str()))
                })
                && any(&self.role, |role| used.roles[usize::from(*role == SideName::Server)])
                && (self.workload.is_empty() || used.workloads.iter().any(|one| workloads.contains(one)));
            if by_name && self.is_of_time(answering.now.0, not_after, first, used) {
                found.push(Found { not_after, number });
            }
        }
        drop(rows);
        drop(statement);
        found.sort_unstable_by_key(|found| (found.not_after, found.number));
        if let Some(after) = &self.after {
            let after = place(after)?;
            found.retain(|found| (found.not_after, found.number) > after);
        }
        page(answering, limit, &found, |answering, one| {
            let record = record(answering, one.number, uses.get(&one.number))?;
            Ok(fields::holds(&self.r#where, &record)?.then_some(record))
        })
    }

    fn is_of_time(&self, now: i64, not_after: i64, first: i64, used: &Use) -> bool {
        let range = Range::of(self.since, self.until, WallTime(now));
        let (first, last) = (first.min(used.first_seen), used.last_seen.max(first));
        let until = |span: Span| now.saturating_add(span.nanoseconds());
        last >= range.from
            && first < range.to
            && self.expiring.is_none_or(|span| (now..=until(span)).contains(&not_after))
            && (!self.expired || not_after < now)
            && self.unused.is_none_or(|span| last < now.saturating_sub(span.nanoseconds()))
    }

    /// Numbers of the workloads that are asked for.
    fn workloads(&self, answering: &Answering<'_>) -> Result<Vec<i64>, QuestionError> {
        let sql = "SELECT id FROM workload WHERE key = ?1 OR name = ?1";
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let mut all = Vec::new();
        for name in &self.workload {
            for number in statement.query_map([name], |row| row.get(0))? {
                all.push(number?);
            }
        }
        Ok(all)
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.not_after, self.number)
    }
}

fn place(text: &str) -> Result<(i64, i64), QuestionError> {
    let place =
        text.split_once('.').and_then(|(time, number)| Some((time.parse().ok()?, number.parse().ok()?)));
    place.ok_or_else(no_place)
}

fn any<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(is)
}

impl Use {
    /// By connections of one pairing, at its client (0) or its server (1).
    fn add(
        &mut self,
        role: usize,
        [first_seen, last_seen]: [i64; 2],
        connections: u64,
        workload: Option<i64>,
    ) {
        self.first_seen = self.first_seen.min(first_seen);
        self.last_seen = self.last_seen.max(last_seen);
        self.roles[role] = true;
        self.connections += connections;
        if let Some(workload) = workload
            && !self.workloads.contains(&workload)
            && self.workloads.len() < CertificateRecord::MAX_WORKLOADS
        {
            self.workloads.push(workload);
        }
    }
}

/// How each certificate that ends presented was used.
fn uses(answering: &mut Answering<'_>) -> Result<Uses, QuestionError> {
    let mut ends: FxHashMap<i64, (Option<i64>, Vec<i64>)> = FxHashMap::default();
    {
        let sql = "SELECT c.endpoint, c.certificate, e.workload FROM endpoint_certificate c \
                   JOIN endpoint e ON e.id = c.endpoint";
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let end = ends.entry(row.get(0)?).or_insert((row.get(2)?, Vec::new()));
            end.1.push(row.get(1)?);
        }
    }
    let mut uses = Uses::default();
    each_pairing(answering, &Selection::default(), Range::ALL, &mut |pairing| {
        for (role, end) in [pairing.of.client, pairing.of.server].into_iter().enumerate() {
            let Some((workload, certificates)) = ends.get(&end) else { continue };
            for certificate in certificates {
                let seen = [pairing.first_seen, pairing.last_seen];
                uses.entry(*certificate).or_default().add(role, seen, pairing.connections, *workload);
            }
        }
        Ok(())
    })?;
    Ok(uses)
}

/// The same of these certificates, without reading all the others.
pub(super) fn uses_of(
    answering: &Answering<'_>,
    certificates: &BTreeSet<i64>,
) -> Result<Uses, QuestionError> {
    const PAIRINGS: [&str; 2] = [
        "SELECT first_seen, last_seen, connections FROM pairing WHERE client = ?1 AND connections > 0",
        "SELECT first_seen, last_seen, connections FROM pairing WHERE server = ?1 AND connections > 0",
    ];
    let database = answering.reader.database();
    let sql = "SELECT c.endpoint, e.workload FROM endpoint_certificate c JOIN endpoint e ON e.id = c.endpoint \
               WHERE c.certificate = ?1";
    let mut presented = database.prepare_cached(sql)?;
    let mut uses = Uses::default();
    for certificate in certificates {
        let mut ends = presented.query([certificate])?;
        while let Some(end) = ends.next()? {
            let (end, workload): (i64, Option<i64>) = (end.get(0)?, end.get(1)?);
            for (role, sql) in PAIRINGS.into_iter().enumerate() {
                let mut statement = database.prepare_cached(sql)?;
                let mut pairings = statement.query([end])?;
                while let Some(pairing) = pairings.next()? {
                    let seen = [pairing.get(0)?, pairing.get(1)?];
                    let connections = pairing.get::<_, i64>(2)?.unsigned_abs();
                    uses.entry(*certificate).or_default().add(role, seen, connections, workload);
                }
            }
        }
    }
    Ok(uses)
}

/// What is known of a certificate.
pub(super) fn record(
    answering: &Answering<'_>,
    number: i64,
    used: Option<&Use>,
) -> Result<CertificateRecord, QuestionError> {
    let database = answering.reader.database();
    let sql = "SELECT sha256, first_seen, record FROM certificate WHERE id = ?1";
    let (sha256, first, text): ([u8; 32], i64, Option<String>) = database
        .prepare_cached(sql)?
        .query_row(params![number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut record = match text {
        Some(text) => serde_json::from_str(&text).map_err(StoreError::Record)?,
        None => CertificateRecord {
            schema: CERTIFICATE_SCHEMA.to_owned(),
            sha256: to_hex(&sha256),
            parse_error: Some("only its fingerprint is known".to_owned()),
            ..CertificateRecord::default()
        },
    };
    record.first_seen = Some(WallTime(used.map_or(first, |used| used.first_seen.min(first))));
    record.last_seen = used.map(|used| WallTime(used.last_seen));
    record.connections = Some(used.map_or(0, |used| used.connections));
    let Some(used) = used else { return Ok(record) };
    let roles = SideName::ALL.iter().zip(used.roles).filter(|(_, was)| *was);
    record.roles = roles.map(|(role, _)| role.as_str().to_owned()).collect();
    let mut statement = database.prepare_cached("SELECT key FROM workload WHERE id = ?1")?;
    for workload in &used.workloads {
        record.workloads.push(statement.query_row([workload], |row| row.get(0))?);
    }
    record.workloads.sort_unstable();
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::tests::{ask, history};
    use crate::record::{ConnectionRecord, Record, sample};
    use crate::store::Writer;
    use crate::store::sample::{OPENED, full};

    const DAY: i64 = 86_400_000_000_000;

    fn certificate(byte: &str, not_after: i64) -> Record {
        let record = CertificateRecord {
            schema: CERTIFICATE_SCHEMA.to_owned(),
            sha256: byte.repeat(32),
            subject: Some(format!("CN={byte}")),
            issuer: Some("CN=issuing,O=test".to_owned()),
            not_after: Some(WallTime(not_after)),
            first_seen: Some(WallTime(OPENED)),
            ..CertificateRecord::default()
        };
        Record::Certificate(record.into())
    }

    #[test]
    fn certificates_come_with_who_used_them_since_when_and_in_which_role() {
        let mut other: ConnectionRecord = full(9);
        other.server.certificates = vec!["ab".repeat(32)];
        other.server.workload = Some(sample::unit("server.service").into());
        let (folder, mut reader) = history("certificates", [full(0), other]);
        let known = [certificate("ab", OPENED + 10 * DAY), certificate("11", OPENED - DAY)];
        Writer::open(&folder.file()).unwrap().write(&known).unwrap();
        let mut fingerprints = |query: &str| {
            let (lines, _) = ask(&mut reader, "certificates", query);
            lines.iter().map(|line| line["sha256"].as_str().unwrap()[..2].to_owned()).collect::<Vec<_>>()
        };
        for (query, expected) in [
            ("", &["11", "ab", "cd"][..]),
            ("expiring=14d", &["ab"]),
            ("expiring=2d", &[]),
            ("expired=true", &["11"]),
            ("issuer=issuing", &["11", "ab"]),
            ("identity=CN%3D11", &["11"]),
            ("certificate=abababab&certificate=CD:CD:CD:CD", &["ab", "cd"]),
            ("workload=server.service", &["ab"]),
            ("workload=systemd:client.service", &["ab", "cd"]),
            ("role=server", &["ab"]),
            ("where=issuer%3DCN%3Dissuing,O%3Dtest", &["11", "ab"]),
            ("where=workloads%3Dsystemd:server.service&where=parse_error%3Dnull", &["ab"]),
            ("where=connections%3D0", &["11"]),
            ("unused=1w", &[]),
        ] {
            assert_eq!(fingerprints(query), expected, "{query}");
        }
        let (lines, page) = ask(&mut reader, "certificates", "limit=2");
        let used = &lines[1];
        assert_eq!(used["roles"], serde_json::json!(["client", "server"]));
        assert_eq!(
            used["workloads"],
            serde_json::json!(["systemd:client.service", "systemd:server.service"])
        );
        assert_eq!(
            (&used["connections"], &used["first_seen"]),
            (&3.into(), &WallTime(OPENED).to_string().into())
        );
        let after = format!("limit=2&after={}", page.next.unwrap());
        let (lines, page) = ask(&mut reader, "certificates", &after);
        assert_eq!((lines.len(), page.next), (1, None));
        assert_eq!(lines[0]["parse_error"], "only its fingerprint is known");
    }
}
