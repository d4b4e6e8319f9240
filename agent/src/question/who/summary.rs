//! What the roll-ups say of a subject.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::question::counts::{Answers, add, counted};
use crate::question::selection::Selection;
use crate::question::{Answering, QuestionError, Range};
use crate::record::{EndpointRecord, RoleRecord, Text};

/// Ends whose names are listed, the latest ones.
pub(super) const MAX_ENDS: usize = 256;

/// What the roll-ups say.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub connections: u64,
    pub roles: [RoleRecord; 2],
    pub findings: BTreeMap<Text, u64>,
    /// Ends that it is, and when each was seen last.
    pub ends: FxHashMap<i64, i64>,
    /// Edges, and at which end of them it is.
    edges: FxHashMap<i64, [bool; 2]>,
    /// Clients that it is of whom nothing but the address is known.
    visitors: BTreeSet<i64>,
    pub first_seen: i64,
    pub last_seen: i64,
}

impl Summary {
    pub fn of(
        answering: &mut Answering<'_>,
        selection: &Selection,
        range: Range,
    ) -> Result<Summary, QuestionError> {
        let mut pairings = Vec::new();
        counted(answering, selection, range, &mut |counted| {
            pairings.push(counted);
            Ok(())
        })?;
        let mut summary = Summary { first_seen: i64::MAX, last_seen: i64::MIN, ..Summary::default() };
        let mut answers = Answers::default();
        for pairing in pairings {
            let sides = selection.sides(&pairing.of);
            let said = answers.said(answering, pairing.of.answer)?;
            summary.connections += pairing.connections;
            summary.first_seen = summary.first_seen.min(pairing.first_seen);
            summary.last_seen = summary.last_seen.max(pairing.last_seen);
            for code in &said.findings {
                add(&mut summary.findings, code.clone(), pairing.connections);
            }
            let edge = summary.edges.entry(pairing.edge).or_default();
            let ends = [pairing.of.client, pairing.of.server];
            for (side, end) in ends.into_iter().enumerate().filter(|(side, _)| sides[*side]) {
                edge[side] = true;
                said.count(&mut summary.roles[side], pairing.connections);
                if side == 0
                    && let Some(visitor) = pairing.of.visitor
                {
                    summary.visitors.insert(visitor);
                    continue;
                }
                let seen = summary.ends.entry(end).or_insert(i64::MIN);
                *seen = (*seen).max(pairing.last_seen);
            }
        }
        Ok(summary)
    }

    pub fn names(&self, answering: &mut Answering<'_>) -> Result<Names, QuestionError> {
        let mut names = Names::default();
        let mut ends: Vec<(i64, i64)> = self.ends.iter().map(|(end, seen)| (*seen, *end)).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        for (_, end) in ends.into_iter().take(MAX_ENDS) {
            names.add(&answering.reader.endpoint(end)?);
        }
        let mut statement =
            answering.reader.database().prepare_cached("SELECT address FROM visitor WHERE id = ?1")?;
        for visitor in self.visitors.iter().take(MAX_ENDS) {
            names.addresses.insert(statement.query_row([visitor], |row| row.get(0))?);
        }
        let sql = "SELECT c.key, s.key FROM edge e JOIN node c ON c.id = e.client JOIN node s ON s.id = e.server \
                   WHERE e.id = ?1";
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        for (edge, sides) in &self.edges {
            let keys: [String; 2] = statement.query_row([edge], |row| Ok([row.get(0)?, row.get(1)?]))?;
            let [client, server] = keys;
            names.peers.extend(sides[0].then_some(server));
            names.peers.extend(sides[1].then_some(client));
        }
        Ok(names)
    }
}

/// Names of ends.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub addresses: BTreeSet<String>,
    pub workloads: BTreeSet<String>,
    pub owners: BTreeSet<String>,
    pub identities: BTreeSet<String>,
    pub certificates: BTreeSet<String>,
    pub peers: BTreeSet<String>,
}

impl Names {
    fn add(&mut self, end: &EndpointRecord) {
        // Visitors have theirs elsewhere.
        self.addresses.extend(Some(&end.address).filter(|address| !address.is_empty()).cloned());
        self.workloads.extend(end.workload.as_ref().map(|workload| workload.key()));
        self.owners.extend(end.labels.as_ref().and_then(|labels| labels.owner.clone()));
        self.identities.extend(end.identity.clone());
        self.certificates.extend(end.certificates.first().cloned());
    }
}
