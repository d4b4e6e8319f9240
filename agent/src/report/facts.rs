//! What the page tells, out of what is counted of the history: nothing here reads single connections.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::ReportError;
use crate::record::{Authentication, FindingRecord, GAP_SCHEMA, GapRecord, Scope, WallTime};
use crate::store::StoreError;

/// Findings that are told as examples of a code.
const EXAMPLES: i64 = 5;
/// Gaps that are listed, the latest first.
pub(super) const MAX_GAPS: usize = 20;
/// Hosts that are named: a file is of one, replays and renamings make a few.
const MAX_HOSTS: i64 = 5;
/// Reasons of one kind that are listed, the most frequent first.
const MAX_REASONS: i64 = 12;

/// Everything on the page.
#[derive(Debug)]
pub(super) struct Facts {
    pub now: WallTime,
    pub hosts: Vec<String>,
    /// First and last sight of anything.
    pub period: Option<(WallTime, WallTime)>,
    pub totals: BTreeMap<(Authentication, Scope), u64>,
    pub workloads: u64,
    pub edges: Vec<Edge>,
    pub leaves: Vec<Leaf>,
    pub findings: Vec<Findings>,
    pub gaps: Vec<GapRecord>,
    pub gap_count: u64,
    pub unknown: Unknown,
}

/// Who connected to whom.
#[derive(Debug)]
pub(super) struct Edge {
    pub client: String,
    pub server: String,
    pub port: u16,
    /// Connections by what they established.
    pub authentication: BTreeMap<Authentication, u64>,
    pub last_seen: WallTime,
}

impl Edge {
    pub fn connections(&self) -> u64 {
        self.authentication.values().sum()
    }

    /// The weakest answer: one connection without authentication is what somebody has to look at.
    pub fn weakest(&self) -> Authentication {
        let weakest = self.authentication.keys().copied().min_by_key(|one| super::text::weakness(*one));
        weakest.unwrap_or(Authentication::Unknown)
    }
}

/// A certificate that somebody presented as its own.
#[derive(Debug)]
pub(super) struct Leaf {
    pub sha256: String,
    pub name: Option<String>,
    pub issuer: Option<String>,
    pub not_after: Option<WallTime>,
    pub last_seen: WallTime,
}

/// Findings with one code.
#[derive(Debug)]
pub(super) struct Findings {
    pub code: String,
    /// Subjects that it was found of.
    pub subjects: u64,
    /// Connections that are kept and have it.
    pub connections: u64,
    /// The latest ones.
    pub examples: Vec<FindingRecord>,
}

/// What is not known, and why: names and counts.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    pub authentication: Vec<(String, u64)>,
    pub client_side: Vec<(String, u64)>,
    pub processes: Vec<(String, u64)>,
    pub captures: Vec<(String, u64)>,
    /// Connections that are only counted any more.
    pub folded: u64,
    /// Certificates of which only the fingerprint is known.
    pub certificates: u64,
}

impl Facts {
    /// Reads them all.
    pub fn of(database: &Connection, now: WallTime) -> Result<Facts, ReportError> {
        let count = |sql: &str| {
            Ok::<_, ReportError>(database.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
        };
        let seen: (Option<i64>, Option<i64>) = database.query_row(
            "SELECT min(first_seen), max(last_seen) FROM pairing WHERE connections > 0",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (gaps, gap_count) = gaps(database)?;
        Ok(Facts {
            now,
            hosts: hosts(database)?,
            period: seen.0.zip(seen.1).map(|(first, last)| (WallTime(first), WallTime(last))),
            totals: totals(database)?,
            workloads: count("SELECT count(*) FROM workload")?,
            edges: edges(database)?,
            leaves: leaves(database)?,
            findings: findings(database)?,
            gaps,
            gap_count,
            unknown: Unknown {
                authentication: reasons(database, "'$.evidence.reason'", "a.authentication = 'unknown'")?,
                client_side: reasons(
                    database,
                    "'$.evidence.reason'",
                    "a.authentication <> 'unknown' AND a.record ->> '$.evidence.client' = 'unknown'",
                )?,
                processes: processes(database)?,
                captures: reasons(database, "'$.capture_reason'", "a.record ->> '$.capture_complete' = 0")?,
                folded: count("SELECT coalesce(sum(connections), 0) FROM folded")?,
                certificates: count("SELECT count(*) FROM certificate WHERE record IS NULL")?,
            },
        })
    }

    /// Connections with this answer, wherever.
    pub fn established(&self, authentication: Authentication) -> u64 {
        let of =
            |((one, _), count): (&(Authentication, Scope), &u64)| (*one == authentication).then_some(*count);
        self.totals.iter().filter_map(of).sum()
    }

    pub fn connections(&self) -> u64 {
        self.totals.values().sum()
    }
}

fn hosts(database: &Connection) -> Result<Vec<String>, ReportError> {
    let sql =
        "SELECT DISTINCT record ->> '$.host' FROM answer WHERE record ->> '$.host' IS NOT NULL LIMIT ?1";
    let mut statement = database.prepare(sql)?;
    Ok(statement.query_map([MAX_HOSTS], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn totals(database: &Connection) -> Result<BTreeMap<(Authentication, Scope), u64>, ReportError> {
    let sql = "SELECT a.authentication, a.scope, sum(p.connections) FROM pairing p JOIN answer a ON a.id = p.answer \
               WHERE p.connections > 0 GROUP BY 1, 2";
    let mut statement = database.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut totals = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let authentication = answer(&row.get::<_, String>(0)?);
        let scope = row.get::<_, String>(1)?.parse().unwrap_or(Scope::NorthSouth);
        *totals.entry((authentication, scope)).or_default() += row.get::<_, i64>(2)?.cast_unsigned();
    }
    Ok(totals)
}

fn edges(database: &Connection) -> Result<Vec<Edge>, ReportError> {
    let sql = "SELECT e.id, c.key, s.key, e.port, a.authentication, sum(p.connections), max(p.last_seen) FROM pairing p \
               JOIN answer a ON a.id = p.answer JOIN edge e ON e.id = p.edge JOIN node c ON c.id = e.client \
               JOIN node s ON s.id = e.server WHERE p.connections > 0 GROUP BY e.id, a.authentication ORDER BY e.id";
    let mut statement = database.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut edges: Vec<(i64, Edge)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, seen): (i64, i64) = (row.get(0)?, row.get(6)?);
        let connections = row.get::<_, i64>(5)?.cast_unsigned();
        let authentication = answer(&row.get::<_, String>(4)?);
        match edges.last_mut().filter(|(last, _)| *last == id) {
            Some((_, edge)) => {
                edge.authentication.insert(authentication, connections);
                edge.last_seen = edge.last_seen.max(WallTime(seen));
            }
            None => edges.push((
                id,
                Edge {
                    client: row.get(1)?,
                    server: row.get(2)?,
                    port: row.get(3)?,
                    authentication: [(authentication, connections)].into(),
                    last_seen: WallTime(seen),
                },
            )),
        }
    }
    Ok(edges.into_iter().map(|(_, edge)| edge).collect())
}

/// Leaves with when they were presented last, those that end first first.
fn leaves(database: &Connection) -> Result<Vec<Leaf>, ReportError> {
    let sql = "SELECT lower(hex(c.sha256)), coalesce(c.identity, c.subject), c.issuer, c.not_after, max(u.last_seen) \
               FROM (SELECT l.certificate, p.last_seen FROM pairing p JOIN endpoint_certificate l ON l.endpoint = p.client \
                     WHERE l.position = 0 AND p.connections > 0 \
                     UNION ALL SELECT l.certificate, p.last_seen FROM pairing p \
                     JOIN endpoint_certificate l ON l.endpoint = p.server WHERE l.position = 0 AND p.connections > 0) u \
               JOIN certificate c ON c.id = u.certificate GROUP BY c.id ORDER BY c.not_after, c.id";
    let mut statement = database.prepare(sql)?;
    let leaves = statement.query_map([], |row| {
        Ok(Leaf {
            sha256: row.get(0)?,
            name: row.get(1)?,
            issuer: row.get(2)?,
            not_after: row.get::<_, Option<i64>>(3)?.map(WallTime),
            last_seen: WallTime(row.get(4)?),
        })
    })?;
    Ok(leaves.collect::<Result<_, _>>()?)
}

/// By code; the worst come first.
fn findings(database: &Connection) -> Result<Vec<Findings>, ReportError> {
    let sql = "SELECT j.value, sum(n.connections) FROM \
               (SELECT answer, sum(connections) AS connections FROM pairing GROUP BY answer) n \
               JOIN answer a ON a.id = n.answer, json_each(a.record, '$.findings') j GROUP BY 1";
    let mut connections: BTreeMap<String, u64> = BTreeMap::new();
    let mut statement = database.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        connections.insert(row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned());
    }
    let mut statement = database.prepare("SELECT code, count(*) FROM finding GROUP BY code")?;
    let mut examples = database
        .prepare("SELECT record FROM finding WHERE code = ?1 ORDER BY last_seen DESC, id LIMIT ?2")?;
    let mut rows = statement.query([])?;
    let mut findings = Vec::new();
    while let Some(row) = rows.next()? {
        let code: String = row.get(0)?;
        let records = examples
            .query_map(rusqlite::params![code, EXAMPLES], |row| row.get::<_, String>(0))?
            .collect::<Result<Vec<_>, _>>()?;
        let examples = records.iter().map(|record| serde_json::from_str(record)).collect::<Result<_, _>>();
        findings.push(Findings {
            subjects: row.get::<_, i64>(1)?.cast_unsigned(),
            connections: connections.get(&code).copied().unwrap_or(0),
            examples: examples.map_err(StoreError::Record)?,
            code,
        });
    }
    let severity = |one: &Findings| one.examples.first().map(|example| example.severity);
    findings.sort_by_key(|one| std::cmp::Reverse((severity(one), one.subjects)));
    Ok(findings)
}

fn gaps(database: &Connection) -> Result<(Vec<GapRecord>, u64), ReportError> {
    let sql = "SELECT began, ended, cause, lost FROM gap ORDER BY ended DESC LIMIT ?1";
    let mut statement = database.prepare(sql)?;
    let gaps = statement.query_map([MAX_GAPS as i64], |row| {
        Ok(GapRecord {
            schema: GAP_SCHEMA.into(),
            from: row.get::<_, Option<i64>>(0)?.map(WallTime),
            to: WallTime(row.get(1)?),
            cause: row.get(2)?,
            lost: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        })
    })?;
    let gaps = gaps.collect::<Result<_, _>>()?;
    let count: i64 = database.query_row("SELECT count(*) FROM gap", [], |row| row.get(0))?;
    Ok((gaps, count.cast_unsigned()))
}

/// Connections by a field of what was said of them, the most frequent first. Both texts are this program's own.
fn reasons(database: &Connection, field: &str, condition: &str) -> Result<Vec<(String, u64)>, ReportError> {
    let sql = format!(
        "SELECT coalesce(a.record ->> {field}, 'no reason'), sum(n.connections) FROM \
         (SELECT answer, sum(connections) AS connections FROM pairing GROUP BY answer) n \
         JOIN answer a ON a.id = n.answer WHERE n.connections > 0 AND {condition} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?1"
    );
    counts(database, &sql)
}

/// Ends of connections whose process is not known; another host's is not expected to be.
fn processes(database: &Connection) -> Result<Vec<(String, u64)>, ReportError> {
    let sql = "SELECT q.record ->> '$.process_unknown' AS reason, sum(n.connections) FROM \
               (SELECT client AS endpoint, connections FROM pairing UNION ALL SELECT server, connections FROM pairing) n \
               JOIN endpoint q ON q.id = n.endpoint WHERE n.connections > 0 AND reason IS NOT NULL AND reason <> 'other_host' \
               GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?1";
    counts(database, sql)
}

fn counts(database: &Connection, sql: &str) -> Result<Vec<(String, u64)>, ReportError> {
    let mut statement = database.prepare(sql)?;
    let counts =
        statement.query_map([MAX_REASONS], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    Ok(counts.collect::<Result<_, _>>()?)
}

fn answer(name: &str) -> Authentication {
    name.parse().unwrap_or(Authentication::Unknown)
}
