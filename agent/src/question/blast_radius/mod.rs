//! `blast-radius`: whom an identity, a certificate, a key or an issuer reached, and who could reach what through it, in the order
//! of time: whoever was reached passes on only what comes later.

use rusqlite::Connection;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::names::Names;
use super::subject::Subject;
use super::{Answering, End, Moment, QuestionError};
use crate::record::{
    BLAST_RADIUS_SCHEMA, BLAST_RADIUS_SUMMARY_SCHEMA, BlastRadiusRecord, BlastRadiusSummaryRecord,
    DirectRecord, RelationName, StepRecord, VerificationName, WallTime,
};
use crate::store::EXTERNAL;

mod spread;
#[cfg(test)]
mod tests;

use spread::{Bounds, Direction, LINKS, Link, Spread, Way, link};

/// Connections of a way if nothing else is asked for: more than any architecture has tiers.
const DEFAULT_DEPTH: u32 = 16;
const MAX_DEPTH: u32 = 64;
/// Nodes in either direction if nothing else is asked for.
const DEFAULT_NODES: u32 = 1_000;
/// Most that may be asked for: ways to each of them are kept in memory, some hundred bytes each.
const MAX_NODES: u32 = 20_000;

/// Whose blast radius.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct BlastRadiusQuestion {
    /// Identity, subject or issuer (RFC 4514), fingerprint of a certificate or of a key (or its first 8 digits or more)
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// Connections that were open at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Connections that were open before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Ways of so many connections at most [default: 16]
    #[arg(long, value_name = "N")]
    pub depth: Option<u32>,
    /// So many in either direction at most [default: 1000]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
}

impl BlastRadiusQuestion {
    fn bounds(&self, now: WallTime, database: &Connection) -> Result<Bounds, QuestionError> {
        let within = |name: &str, value: u32, most: u32| match value {
            value if (1..=most).contains(&value) => Ok(value),
            value => Err(QuestionError::Refused(format!("{name}: {value} is not from 1 to {most}"))),
        };
        // What was open when the history ends is not known to have been open later.
        let last: Option<i64> =
            database.query_row("SELECT max(last_seen) FROM pairing", [], |row| row.get(0))?;
        let until = self.until.map_or(i64::MAX, |until| until.resolve(now).0);
        Ok(Bounds {
            since: self.since.map_or(i64::MIN, |since| since.resolve(now).0),
            until: until.min(last.unwrap_or(now.0).saturating_add(1)),
            depth: within("depth", self.depth.unwrap_or(DEFAULT_DEPTH), MAX_DEPTH)?,
            nodes: within("limit", self.limit.unwrap_or(DEFAULT_NODES), MAX_NODES)? as usize,
        })
    }

    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        if self.subject.is_empty() {
            return Err(QuestionError::Refused("subject: whose blast radius?".to_owned()));
        }
        let interrupted = Ok(End { next: None, interrupted: true });
        let bounds = self.bounds(answering.now, answering.reader.database())?;
        let subject = Subject::find(answering.reader.database(), &self.subject)?;
        let direct = Direct::of(answering.reader.database(), &subject)?;
        if direct.as_client.is_empty() && direct.as_server.is_empty() && direct.refused == 0 {
            return Ok(End::default());
        }
        let database = answering.reader.database();
        let mut reached = Spread::new(database, Direction::Reached, bounds);
        let mut reached_by = Spread::new(database, Direction::ReachedBy, bounds);
        let asker = &mut *answering.asker;
        if reached.run(&direct.as_client, &mut || asker.progress(0.3))?.is_break()
            || reached_by.run(&direct.as_server, &mut || asker.progress(0.6))?.is_break()
        {
            return interrupted;
        }
        let mut names = Names::new(answering.reader);
        let mut records = direct.holders(&mut names, bounds)?;
        let holders = records.len() as u64;
        for (spread, relation) in [(&reached, RelationName::Reached), (&reached_by, RelationName::ReachedBy)]
        {
            records.extend(all_records(&mut names, spread, relation, &direct)?);
        }
        let mut summary = self.summary(database, &subject, &direct, bounds)?;
        summary.holders = holders;
        summary.looked_back_in_part = reached.look_back.cut + reached_by.look_back.cut;
        let count = |relation, direct| {
            let counted = records
                .iter()
                .filter(|record| record.relation == relation && record.direct.is_some() == direct);
            counted.count() as u64
        };
        summary.reached_directly = count(RelationName::Reached, true);
        summary.reached_onwards = count(RelationName::Reached, false);
        summary.reached_by_directly = count(RelationName::ReachedBy, true);
        summary.reached_by_onwards = count(RelationName::ReachedBy, false);
        let cuts = [
            ("certificates", subject.is_cut),
            ("depth", reached.goes_on || reached_by.goes_on),
            ("nodes", reached.is_full || reached_by.is_full),
        ];
        summary.cut = cuts.into_iter().filter(|(_, is_cut)| *is_cut).map(|(name, _)| name.into()).collect();
        if answering.record(&summary)?.is_break() {
            return interrupted;
        }
        for record in &records {
            if answering.record(record)?.is_break() {
                return interrupted;
            }
        }
        Ok(End::default())
    }

    fn summary(
        &self,
        database: &Connection,
        subject: &Subject,
        direct: &Direct,
        bounds: Bounds,
    ) -> Result<BlastRadiusSummaryRecord, QuestionError> {
        let mut statement =
            database.prepare_cached("SELECT lower(hex(sha256)) FROM certificate WHERE id = ?1")?;
        let named = subject.certificates.iter().take(BlastRadiusSummaryRecord::MAX_CERTIFICATES);
        let certificates =
            named.map(|id| statement.query_row([id], |row| row.get(0))).collect::<Result<_, _>>()?;
        let gaps: i64 = database.query_row(
            "SELECT count(*) FROM gap WHERE ended >= ?1 AND coalesce(began, ended) < ?2",
            [bounds.since, bounds.until],
            |row| row.get(0),
        )?;
        Ok(BlastRadiusSummaryRecord {
            schema: BLAST_RADIUS_SUMMARY_SCHEMA.into(),
            subject: self.subject.clone(),
            understood_as: subject.understood_as.clone(),
            certificates,
            certificate_count: subject.certificates.len() as u64,
            holders: 0,
            reached_directly: 0,
            reached_onwards: 0,
            reached_by_directly: 0,
            reached_by_onwards: 0,
            refused: direct.refused,
            since: self.since.map(|_| WallTime(bounds.since)),
            until: self.until.map(|_| WallTime(bounds.until)),
            gaps: gaps.cast_unsigned(),
            depth: bounds.depth,
            looked_back_in_part: 0,
            cut: Vec::new(),
        })
    }
}

/// Connections on which the subject was presented.
#[derive(Debug, Default)]
struct Direct {
    as_client: Vec<Link>,
    as_server: Vec<Link>,
    /// Connections that established nothing.
    refused: u64,
    /// By relation and node.
    counts: FxHashMap<(RelationName, i64), DirectRecord>,
}

impl Direct {
    fn of(database: &Connection, subject: &Subject) -> Result<Direct, QuestionError> {
        let mut direct = Direct::default();
        let mut endpoints: Vec<i64> = subject.endpoints.iter().copied().collect();
        endpoints.sort_unstable();
        for endpoint in endpoints {
            for (side, peer, relation) in
                [("client", "server", RelationName::Reached), ("server", "client", RelationName::ReachedBy)]
            {
                direct.side(database, endpoint, side, peer, relation)?;
            }
        }
        Ok(direct)
    }

    fn side(
        &mut self,
        database: &Connection,
        endpoint: i64,
        side: &str,
        peer: &str,
        relation: RelationName,
    ) -> Result<(), QuestionError> {
        let sql = format!("{LINKS} p.{side} = ?1 ORDER BY p.id");
        let mut statement = database.prepare_cached(&sql)?;
        let links: Vec<Link> = statement.query_map([endpoint], link)?.collect::<Result<_, _>>()?;
        let sql = format!(
            "SELECT p.connections, q.record ->> 'verification' FROM pairing p JOIN endpoint q ON q.id = p.{peer} \
             WHERE p.id = ?1"
        );
        let mut statement = database.prepare_cached(&sql)?;
        for link in &links {
            let (connections, verification): (i64, Option<String>) =
                statement.query_row([link.span.pairing], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let connections = connections.cast_unsigned();
            let (holder, far) = match relation {
                RelationName::Reached => (link.client, link.server),
                _ => (link.server, link.client),
            };
            for key in [(relation, far), (RelationName::Holds, holder)] {
                let counted = self.counts.entry(key).or_default();
                *counted.authentication.entry(link.authentication).or_default() += connections;
                let known = verification.as_deref().and_then(|name| name.parse::<VerificationName>().ok());
                if let Some(verification) = known {
                    *counted.verification.entry(verification).or_default() += connections;
                }
            }
        }
        let sql = format!(
            "SELECT coalesce(sum(p.connections), 0) FROM pairing p JOIN answer a ON a.id = p.answer \
             WHERE p.{side} = ?1 AND a.authentication = 'not_established'"
        );
        let refused: i64 = database.prepare_cached(&sql)?.query_row([endpoint], |row| row.get(0))?;
        self.refused += refused.cast_unsigned();
        match relation {
            RelationName::Reached => self.as_client.extend(links),
            _ => self.as_server.extend(links),
        }
        Ok(())
    }

    /// Who presented it, and since when.
    fn holders(
        &self,
        names: &mut Names<'_>,
        bounds: Bounds,
    ) -> Result<Vec<BlastRadiusRecord>, QuestionError> {
        let mut first: FxHashMap<i64, i64> = FxHashMap::default();
        let clients = self.as_client.iter().map(|link| (link.client, link.span));
        let servers = self.as_server.iter().map(|link| (link.server, link.span));
        for (node, span) in clients.chain(servers) {
            if span.first_seen < bounds.until && span.last_seen >= bounds.since {
                let seen = first.entry(node).or_insert(i64::MAX);
                *seen = (*seen).min(span.first_seen.max(bounds.since));
            }
        }
        let mut first: Vec<_> = first.into_iter().collect();
        first.sort_unstable_by_key(|(node, seen)| (*seen, *node));
        let mut record = |(node, seen): (i64, i64)| {
            let name = names.of(node)?;
            Ok(BlastRadiusRecord {
                schema: BLAST_RADIUS_SCHEMA.into(),
                relation: RelationName::Holds,
                external: name == EXTERNAL,
                node: name,
                distance: 0,
                arrival: Some(WallTime(seen)),
                departure: None,
                to_the_hour: false,
                authentication: None,
                path: Vec::new(),
                direct: self.counts.get(&(RelationName::Holds, node)).cloned(),
            })
        };
        first.into_iter().map(&mut record).collect()
    }
}

/// Everybody that was found, the nearest first, then the soonest.
fn all_records(
    names: &mut Names<'_>,
    spread: &Spread<'_>,
    relation: RelationName,
    direct: &Direct,
) -> Result<Vec<BlastRadiusRecord>, QuestionError> {
    let mut found: Vec<&Way> = spread.found.values().map(|way| &spread.ways[*way]).collect();
    let order = |way: &Way| match relation {
        RelationName::ReachedBy => way.at.saturating_neg(),
        _ => way.at,
    };
    found.sort_unstable_by_key(|way| (way.hops, order(way), way.node));
    let mut records = Vec::with_capacity(found.len());
    for way in found {
        let at = Some(WallTime(way.at));
        let name = names.of(way.node)?;
        records.push(BlastRadiusRecord {
            schema: BLAST_RADIUS_SCHEMA.into(),
            relation,
            external: name == EXTERNAL,
            node: name,
            distance: way.hops,
            arrival: at.filter(|_| relation == RelationName::Reached),
            departure: at.filter(|_| relation == RelationName::ReachedBy),
            to_the_hour: way.to_the_hour,
            authentication: Some(way.link.authentication),
            path: path(names, spread, way, relation)?,
            direct: direct.counts.get(&(relation, way.node)).cloned(),
        });
    }
    Ok(records)
}

fn path(
    names: &mut Names<'_>,
    spread: &Spread<'_>,
    way: &Way,
    relation: RelationName,
) -> Result<Vec<StepRecord>, QuestionError> {
    let mut steps = Vec::with_capacity(way.hops as usize);
    let mut next = Some(way);
    while let Some(way) = next {
        steps.push(StepRecord {
            client: names.of(way.link.client)?,
            server: names.of(way.link.server)?,
            port: way.link.port,
            at: WallTime(way.used.at),
            to_the_hour: way.used.to_the_hour,
            authentication: way.link.authentication,
            connection: connection_id(names, way)?,
        });
        next = way.before.map(|before| &spread.ways[before]);
    }
    if relation == RelationName::Reached {
        steps.reverse();
    }
    Ok(steps)
}

/// The connection that was opened when the way used it.
fn connection_id(names: &Names<'_>, way: &Way) -> Result<Option<String>, QuestionError> {
    match way.used.to_the_hour {
        true => Ok(None),
        false => Ok(names.reader.connection_id(way.used.at, way.link.span.pairing)?),
    }
}
