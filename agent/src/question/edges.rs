//! `edges`: who reached whom, at which port.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::condition::{Clause, Condition, Test};
use super::connections::{end, is, named, port_of_server, workload};
use super::counts::{Answers, add, counted};
use super::paging::{limit, no_place, page};
use super::selection::Selection;
use super::{Answering, End, Moment, QuestionError, Range};
use crate::record::{
    Authentication, ByteCounts, EDGE_SCHEMA, EdgeRecord, NodeRecord, Scope, WallTime, WorkloadRecord,
};
use crate::store::StoreError;

/// Which edges. Values of one kind are alternatives, different kinds must all match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct EdgesQuestion {
    /// Only connections opened at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only connections opened before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only from this client: its address, or its workload's name or key
    #[arg(long, value_name = "NAME")]
    pub client: Vec<String>,
    /// Only to this server: its address, or its workload's name or key
    #[arg(long, value_name = "NAME")]
    pub server: Vec<String>,
    /// Only to this port of the server
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub port: Vec<u16>,
    /// Only of the workload, pod or container of this name, at either end
    #[arg(long, value_name = "NAME")]
    pub workload: Vec<String>,
    /// Only of this owner, at either end
    #[arg(long, value_name = "OWNER")]
    pub owner: Vec<String>,
    /// Only where either end presented this identity
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Vec<String>,
    /// Count only connections where this was established
    #[arg(long, value_name = "ANSWER", value_delimiter = ',')]
    pub authentication: Vec<Authentication>,
    /// Count only connections between such ends
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    pub scope: Vec<Scope>,
    /// Count only connections with this finding
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub finding: Vec<String>,
    /// Count only connections in which a field has this value; fields that each connection has of its own are not counted by
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub r#where: Vec<Condition>,
    /// What comes first [default: first-seen]
    #[arg(long, value_name = "ORDER")]
    pub sort: Option<EdgeOrder>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

/// Orders of edges. While connections are written, only `first-seen` leaves pages as they are: by the others an edge that is used
/// again stands at the beginning, and whoever reads on does not meet it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeOrder {
    /// Those first that came last
    #[default]
    FirstSeen,
    /// The latest used first; pages shift while edges are used
    LastSeen,
    /// The busiest first; pages shift while edges are used
    Connections,
}

/// What is summed up of an edge.
struct Sum {
    connections: u64,
    answers: FxHashMap<i64, u64>,
    bytes: ByteCounts,
    first_seen: i64,
    last_seen: i64,
}

impl Default for Sum {
    fn default() -> Self {
        Sum {
            connections: 0,
            answers: FxHashMap::default(),
            bytes: ByteCounts::default(),
            first_seen: i64::MAX,
            last_seen: i64::MIN,
        }
    }
}

impl EdgesQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        let selection = Selection::resolve(answering, &self.clauses()?)?;
        let range = selection.within(Range::of(self.since, self.until, answering.now));
        if selection.needs_rows() {
            let message = "where: edges are not counted by fields that each connection has of its own: ask for connections";
            return Err(QuestionError::Refused(message.to_owned()));
        }
        let mut sums: FxHashMap<i64, Sum> = FxHashMap::default();
        counted(answering, &selection, range, &mut |counted| {
            let sum = sums.entry(counted.edge).or_default();
            sum.connections += counted.connections;
            *sum.answers.entry(counted.of.answer).or_default() += counted.connections;
            sum.bytes.client_to_server += counted.bytes[0];
            sum.bytes.server_to_client += counted.bytes[1];
            sum.first_seen = sum.first_seen.min(counted.first_seen);
            sum.last_seen = sum.last_seen.max(counted.last_seen);
            Ok(())
        })?;
        let order = self.sort.unwrap_or_default();
        let mut places: Vec<Place> = sums.iter().map(|(edge, sum)| Place::of(order, *edge, sum)).collect();
        if let Some(after) = &self.after {
            let after = Place::parse(after)?;
            places.retain(|place| *place > after);
        }
        places.sort_unstable();
        let mut answers = Answers::default();
        page(answering, limit, &places, |answering, place| match sums.get(&place.edge) {
            Some(sum) => record(answering, &mut answers, place.edge, sum).map(Some),
            None => Ok(None),
        })
    }

    fn clauses(&self) -> Result<Vec<Clause>, QuestionError> {
        let either = |name: &str, values: &[String]| -> Clause {
            values.iter().flat_map(|value| Test::either(name, &is(value))).collect()
        };
        let mut clauses = vec![
            self.client.iter().flat_map(|name| end("client", name)).collect(),
            self.server.iter().flat_map(|name| end("server", name)).collect(),
            self.port.iter().flat_map(|port| port_of_server(*port)).collect(),
            self.workload.iter().flat_map(|name| workload(name)).collect(),
            either("labels.owner", &self.owner),
            either("identity", &self.identity),
            named("authentication", self.authentication.iter().map(|name| name.as_str())),
            named("scope", self.scope.iter().map(|name| name.as_str())),
            named("findings", self.finding.iter().map(String::as_str)),
        ];
        clauses.retain(|clause| !clause.is_empty());
        for condition in &self.r#where {
            clauses.push(vec![condition.of_connection()?]);
        }
        Ok(clauses)
    }
}

/// Where an edge stands in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Greater values come first.
    value: std::cmp::Reverse<i64>,
    edge: i64,
}

impl Place {
    fn of(order: EdgeOrder, edge: i64, sum: &Sum) -> Place {
        let value = match order {
            EdgeOrder::LastSeen => sum.last_seen,
            // What a time that is asked for leaves of an edge moves with it; numbers are given in the order of time.
            EdgeOrder::FirstSeen => edge,
            EdgeOrder::Connections => sum.connections.cast_signed(),
        };
        Place { value: std::cmp::Reverse(value), edge }
    }

    fn parse(text: &str) -> Result<Place, QuestionError> {
        let place = text.split_once('.').and_then(|(value, edge)| {
            Some(Place { value: std::cmp::Reverse(value.parse().ok()?), edge: edge.parse().ok()? })
        });
        place.ok_or_else(no_place)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.value.0, self.edge)
    }
}

fn record(
    answering: &Answering<'_>,
    answers: &mut Answers,
    edge: i64,
    sum: &Sum,
) -> Result<EdgeRecord, QuestionError> {
    let sql = "SELECT client, server, port FROM edge WHERE id = ?1";
    let (client, server, port) = answering
        .reader
        .database()
        .prepare_cached(sql)?
        .query_row([edge], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut record = EdgeRecord {
        schema: EDGE_SCHEMA.into(),
        client: node(answering, client)?,
        server: node(answering, server)?,
        port,
        connections: sum.connections,
        authentication: Default::default(),
        scopes: Default::default(),
        findings: Default::default(),
        bytes: sum.bytes,
        first_seen: WallTime(sum.first_seen),
        last_seen: WallTime(sum.last_seen),
    };
    for (answer, connections) in &sum.answers {
        let said = answers.said(answering, *answer)?;
        add(&mut record.authentication, said.authentication, *connections);
        add(&mut record.scopes, said.scope, *connections);
        for code in &said.findings {
            add(&mut record.findings, code.clone(), *connections);
        }
    }
    Ok(record)
}

/// An end of an edge.
pub(super) fn node(answering: &Answering<'_>, node: i64) -> Result<NodeRecord, QuestionError> {
    let sql = "SELECT n.key, w.record FROM node n LEFT JOIN workload w ON w.id = n.workload WHERE n.id = ?1";
    let (key, workload): (String, Option<String>) = answering
        .reader
        .database()
        .prepare_cached(sql)?
        .query_row([node], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let workload: Option<WorkloadRecord> =
        workload.map(|text| serde_json::from_str(&text)).transpose().map_err(StoreError::Record)?;
    Ok(NodeRecord { key, workload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::tests::{ask, history};
    use crate::record::ConnectionRecord;
    use crate::store::sample::{OPENED, full};

    fn keys(lines: &[serde_json::Value]) -> Vec<String> {
        lines
            .iter()
            .map(|line| format!("{}:{}", line["client"]["key"].as_str().unwrap(), line["port"]))
            .collect()
    }

    #[test]
    fn edges_are_counted_by_what_was_established_in_the_time_that_is_asked_for() {
        let mut connections: Vec<ConnectionRecord> = (0..4).map(full).collect();
        connections[2].authentication = Authentication::Mutual;
        connections[2].findings.clear();
        connections[3].server.port = 1;
        let (_folder, mut reader) = history("edges", connections);
        let (lines, page) = ask(&mut reader, "edges", "");
        assert_eq!(
            keys(&lines),
            ["workload:systemd:client.service:1", "workload:systemd:client.service:8443"]
        );
        assert_eq!((page.count, page.next), (2, None));
        let busy = &lines[1];
        assert_eq!(busy["connections"], 3);
        assert_eq!(busy["authentication"], serde_json::json!({"none": 2, "mutual": 1}));
        assert_eq!(busy["findings"], serde_json::json!({"unauthenticated_east_west": 2}));
        assert_eq!(busy["bytes"]["server_to_client"], 6_000);
        assert_eq!(busy["server"]["key"], "address:10.0.0.2");
        assert_eq!(busy["client"]["workload"]["unit"], "client.service");
        assert_eq!(busy["first_seen"], WallTime(OPENED).to_string());
        let until = format!("until={}&port=8443", WallTime(OPENED + 2));
        let (lines, _) = ask(&mut reader, "edges", &until);
        assert_eq!((lines.len(), &lines[0]["connections"]), (1, &2.into()), "of a part of the time");
        assert_eq!(lines[0]["last_seen"], WallTime(OPENED + 1).to_string());
        let count = |reader: &mut _, query: &str| ask(reader, "edges", query).0.len();
        assert_eq!(count(&mut reader, "authentication=mutual"), 1);
        assert_eq!(count(&mut reader, "finding=unauthenticated_east_west&port=1"), 1);
        assert_eq!(count(&mut reader, "client=other"), 0);
        assert_eq!(count(&mut reader, &format!("since={}", WallTime(OPENED + 60_000_000_000))), 0);
        let (first, page) = ask(&mut reader, "edges", "limit=1&sort=connections");
        assert_eq!(keys(&first), ["workload:systemd:client.service:8443"]);
        let (second, page) =
            ask(&mut reader, "edges", &format!("limit=1&sort=connections&after={}", page.next.unwrap()));
        assert_eq!((keys(&second), page.next), (vec!["workload:systemd:client.service:1".to_owned()], None));
        for wrong in ["where=final%3Dtrue", "after=x", "limit=0"] {
            let question = crate::question::Question::parse("edges", wrong).unwrap();
            let refused =
                question.answer(&mut reader, WallTime(0), &mut crate::question::tests::Everything::default());
            assert!(matches!(refused, Err(QuestionError::Refused(_))), "{wrong}");
        }
    }
}
