//! `timeline`: what happened to an identity, a certificate, a key, an issuer, a workload or an edge, in the order of time.

use rusqlite::Connection;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::condition::Clause;
use super::connections::{end, port_of_server};
use super::names::Names;
use super::paging::limit;
use super::selection::Selection;
use super::subject::Subject;
use super::walk::each_pairing;
use super::{Answering, End, Moment, QuestionError, Range};
use crate::record::{EVENT_SCHEMA, EventName, EventRecord, RegressionRecord, SideName, WallTime};
use crate::store::EXTERNAL;

mod regressions;
#[cfg(test)]
mod tests;
mod uses;

use uses::LeafUse;

/// Nodes that one timeline tells of: an issuer's are the most.
const MAX_NODES: usize = 2_000;
/// Edges whose regressions are looked for.
const MAX_EDGES: usize = 5_000;

/// Whose timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct TimelineQuestion {
    /// Workload (its key or name), identity, subject or issuer (RFC 4514), fingerprint of a certificate or of a key (or its
    /// first 8 digits or more)
    #[arg(value_name = "SUBJECT", required_unless_present_any = ["client", "server"])]
    pub subject: Option<String>,
    /// Instead of a subject the edges from this client: its address, or its workload's name or key
    #[arg(long, value_name = "NAME", conflicts_with = "subject")]
    pub client: Option<String>,
    /// The edges to this server
    #[arg(long, value_name = "NAME", conflicts_with = "subject")]
    pub server: Option<String>,
    /// Of the edges only those to this port of the server
    #[arg(long, value_name = "PORT", conflicts_with = "subject")]
    pub port: Option<u16>,
    /// What happened at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// What happened before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<u64>,
}

impl TimelineQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        let from = self.since.map_or(i64::MIN, |since| since.resolve(answering.now).0);
        let to = self.until.map_or(i64::MAX, |until| until.resolve(answering.now).0);
        let told = self.told(answering)?;
        let asker = &mut *answering.asker;
        let mut wanted = |done| asker.progress(done).is_continue();
        let Some((mut events, is_cut)) = told.events(answering.reader, &mut wanted)? else {
            return Ok(End { next: None, interrupted: true });
        };
        events.retain(|event| (from..to).contains(&event.at.0));
        events.sort_by_key(|event| (event.at, event.kind));
        let skipped = usize::try_from(self.after.unwrap_or(0)).unwrap_or(usize::MAX).min(events.len());
        let left = &events[skipped..];
        for event in left.iter().take(limit) {
            if answering.record(event)?.is_break() {
                return Ok(End { next: None, interrupted: true });
            }
        }
        let next = (left.len() > limit).then(|| (skipped + limit).to_string());
        if is_cut {
            answering.left_out = Some("size");
        }
        Ok(End { next, interrupted: false })
    }
}

impl TimelineQuestion {
    fn told(&self, answering: &mut Answering<'_>) -> Result<Told, QuestionError> {
        let subject = self.subject.as_deref().filter(|subject| !subject.is_empty());
        match (subject, self.client.is_some() || self.server.is_some()) {
            (Some(subject), false) if self.port.is_none() => Told::of(answering.reader.database(), subject),
            (None, true) => Told::of_edges(answering, self.edges()),
            _ => {
                let message = "subject: whose timeline? It is of a subject, or of the edges from a client or to a server";
                Err(QuestionError::Refused(message.to_owned()))
            }
        }
    }

    /// Which edges.
    fn edges(&self) -> Vec<Clause> {
        let mut clauses = Vec::new();
        clauses.extend(self.client.as_deref().map(|name| end("client", name)));
        clauses.extend(self.server.as_deref().map(|name| end("server", name)));
        clauses.extend(self.port.map(port_of_server));
        clauses
    }
}

/// Whom a timeline tells of.
#[derive(Default)]
struct Told {
    /// Those of a workload are told wholly.
    workload: Option<i64>,
    /// Leaves that are meant; of a workload all.
    leaves: FxHashSet<i64>,
    nodes: Vec<i64>,
    edges: Vec<i64>,
    /// The edges are what is told of: also when they were there, and what their ends presented on them.
    of_edges: bool,
    is_cut: bool,
}

impl Told {
    fn of(database: &Connection, text: &str) -> Result<Told, QuestionError> {
        let sql = "SELECT id FROM node WHERE key = ?1 OR key = 'workload:' || ?1 \
                   OR workload IN (SELECT id FROM workload WHERE name = ?1) ORDER BY id LIMIT 1";
        let mut statement = database.prepare_cached(sql)?;
        let workload: Option<i64> = statement.query_map([text], |row| row.get(0))?.next().transpose()?;
        let subject = Subject::find(database, text)?;
        let mut told = Told {
            workload,
            leaves: subject.certificates.iter().copied().collect(),
            nodes: workload.into_iter().collect(),
            is_cut: subject.is_cut,
            ..Told::default()
        };
        if let Some(node) = workload {
            told.edges.extend(numbers(
                database,
                "SELECT id FROM edge WHERE client = ?1 OR server = ?1",
                node,
            )?);
        }
        let leaf = "SELECT certificate FROM endpoint_certificate WHERE endpoint = ?1 AND position = 0";
        let ends = [
            "SELECT edge FROM pairing WHERE client = ?1 UNION SELECT edge FROM pairing WHERE server = ?1",
            "SELECT e.client FROM pairing p JOIN edge e ON e.id = p.edge WHERE p.client = ?1 \
             UNION SELECT e.server FROM pairing p JOIN edge e ON e.id = p.edge WHERE p.server = ?1",
        ];
        for endpoint in subject.endpoints {
            told.leaves.extend(numbers(database, leaf, endpoint)?);
            told.edges.extend(numbers(database, ends[0], endpoint)?);
            told.nodes.extend(numbers(database, ends[1], endpoint)?);
        }
        Ok(told.within_bounds())
    }

    /// Edges that have such connections.
    fn of_edges(answering: &mut Answering<'_>, clauses: Vec<Clause>) -> Result<Told, QuestionError> {
        let selection = Selection::resolve(answering, &clauses)?;
        let mut told = Told { of_edges: true, ..Told::default() };
        each_pairing(answering, &selection, Range::ALL, &mut |pairing| {
            told.edges.push(pairing.edge);
            Ok(())
        })?;
        Ok(told.within_bounds())
    }

    fn within_bounds(mut self) -> Told {
        for (numbers, most) in [(&mut self.nodes, MAX_NODES), (&mut self.edges, MAX_EDGES)] {
            numbers.sort_unstable();
            numbers.dedup();
            self.is_cut |= numbers.len() > most;
            numbers.truncate(most);
        }
        self
    }

    /// All events, in no order, and whether some are left out; `None` if nobody waits for them any more.
    fn events(
        &self,
        reader: &crate::store::Reader,
        wanted: &mut dyn FnMut(f64) -> bool,
    ) -> Result<Option<(Vec<EventRecord>, bool)>, QuestionError> {
        let database = reader.database();
        let mut names = Names::new(reader);
        let mut events = Vec::new();
        let all = (self.nodes.len() + self.edges.len()) as f64;
        for (done, node) in self.nodes.iter().enumerate() {
            if !wanted(done as f64 / all) {
                return Ok(None);
            }
            self.node(database, *node, &mut names, &mut events)?;
        }
        for (done, edge) in self.edges.iter().enumerate() {
            if !wanted((self.nodes.len() + done) as f64 / all) {
                return Ok(None);
            }
            if self.of_edges {
                self.edge(database, *edge, &mut names, &mut events)?;
            }
            for regression in regressions::of_edge(database, *edge)? {
                let name = names.edge(*edge)?;
                events.push(EventRecord {
                    to_the_hour: regression.used.to_the_hour,
                    edge: self.of_edges.then(|| name.clone()),
                    regression: Some(RegressionRecord {
                        edge: name,
                        from: regression.from,
                        to: regression.to,
                        back: regression.back.map(WallTime),
                        cut: regression.is_cut,
                    }),
                    ..event(EventName::Regression, regression.used.at)
                });
            }
        }
        Ok(Some((events, self.is_cut)))
    }

    fn node(
        &self,
        database: &Connection,
        node: i64,
        names: &mut Names<'_>,
        events: &mut Vec<EventRecord>,
    ) -> Result<(), QuestionError> {
        let name = names.of(node)?;
        let is_wholly = self.workload == Some(node);
        if is_wholly {
            let of_node = |event| EventRecord { node: Some(name.clone()), ..event };
            events.extend(seen(database, Place::Node(node))?.map(of_node));
        }
        for role in [SideName::Client, SideName::Server] {
            let uses = uses::of(database, Place::Node(node), role)?;
            let is_meant = |one: &LeafUse| is_wholly || self.leaves.contains(&one.certificate);
            events.extend(of_uses(&uses, &name, is_meant));
        }
        Ok(())
    }

    /// What happened on one edge alone.
    fn edge(
        &self,
        database: &Connection,
        edge: i64,
        names: &mut Names<'_>,
        events: &mut Vec<EventRecord>,
    ) -> Result<(), QuestionError> {
        let name = names.edge(edge)?;
        let of_edge = |event| EventRecord { edge: Some(name.clone()), ..event };
        events.extend(seen(database, Place::Edge(edge))?.map(of_edge));
        for (role, end) in [(SideName::Client, &name.client), (SideName::Server, &name.server)] {
            let uses = uses::of(database, Place::Edge(edge), role)?;
            events.extend(of_uses(&uses, end, |_| true).into_iter().map(of_edge));
        }
        Ok(())
    }
}

/// Where things happen.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// At an end of edges.
    Node(i64),
    Edge(i64),
}

/// When it was there first and last.
fn seen(database: &Connection, place: Place) -> Result<impl Iterator<Item = EventRecord>, QuestionError> {
    let (condition, number) = match place {
        Place::Node(node) => ("e.client = ?1 OR e.server = ?1", node),
        Place::Edge(edge) => ("e.id = ?1", edge),
    };
    let sql = format!(
        "SELECT min(p.first_seen), max(p.last_seen) FROM edge e JOIN pairing p ON p.edge = e.id WHERE {condition}"
    );
    let seen: (Option<i64>, Option<i64>) =
        database.prepare_cached(&sql)?.query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let events = [(EventName::FirstSeen, seen.0), (EventName::LastSeen, seen.1)];
    Ok(events.into_iter().filter_map(|(kind, at)| at.map(|at| event(kind, at))))
}

/// First and last uses of the leaves that are meant, and what took the place of what.
fn of_uses(uses: &[LeafUse], node: &str, is_meant: impl Fn(&LeafUse) -> bool) -> Vec<EventRecord> {
    let mut events = Vec::new();
    for one in uses.iter().filter(|one| is_meant(one)) {
        events.push(of_use(EventName::FirstSeen, one.first, one, node));
        events.push(of_use(EventName::LastSeen, one.last, one, node));
    }
    // Those from elsewhere are many, and have nothing of each other's.
    if node == EXTERNAL {
        return events;
    }
    for (new, old, rotation) in uses::rotations(uses) {
        if is_meant(new) || is_meant(old) {
            let event = of_use(EventName::Rotation, new.first, new, node);
            events.push(EventRecord { rotation: Some(rotation), ..event });
        }
    }
    events
}

fn numbers(database: &Connection, sql: &str, number: i64) -> Result<Vec<i64>, QuestionError> {
    let mut statement = database.prepare_cached(sql)?;
    Ok(statement.query_map([number], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn event(kind: EventName, at: i64) -> EventRecord {
    EventRecord {
        schema: EVENT_SCHEMA.into(),
        kind,
        at: WallTime(at),
        to_the_hour: false,
        edge: None,
        node: None,
        role: None,
        identity: None,
        certificate: None,
        rotation: None,
        regression: None,
    }
}

fn of_use(kind: EventName, at: i64, one: &LeafUse, name: &str) -> EventRecord {
    EventRecord {
        node: Some(name.to_owned()),
        role: Some(one.role),
        identity: one.identity.clone(),
        certificate: Some(one.sha256.clone()),
        ..event(kind, at)
    }
}
