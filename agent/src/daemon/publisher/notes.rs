//! What a revision of a connection says of keys, workloads and edges, in place of what the one before it said.

use super::Publisher;
use super::presentation::presentation;
use crate::connection::Connection;
use crate::event::Role;
use crate::publication::{Chains, EdgeUse, Leaves, Noted, Use};
use crate::record::{ConnectionRecord, SideName};
use crate::verdict::Regression;

impl Publisher {
    /// Notes which keys a revision says were presented, in place of what the one before it said.
    pub(super) fn note_uses(
        &mut self,
        chains: &Chains,
        record: &ConnectionRecord,
        before: [Option<Use>; 2],
    ) -> [Option<Use>; 2] {
        let now = self.parts.clock.wall(self.now);
        let mut after = [None; 2];
        for ((side, before), after) in SideName::ALL.iter().zip(before).zip(&mut after) {
            match (presentation(chains, record, *side), before) {
                (Some((leaf, workload)), _) => *after = self.uses.note(leaf, workload, now, before),
                (None, Some(before)) => self.uses.take_back(before),
                (None, None) => {}
            }
        }
        after
    }

    /// Notes what a revision says of the edge between its ends, and tells whether that is less than before.
    pub(super) fn note_edge(
        &self,
        record: &ConnectionRecord,
        before: Option<EdgeUse>,
    ) -> (Option<EdgeUse>, Option<Regression>) {
        let noted = self.parts.edges.note(record, before, self.parts.clock.wall(self.now));
        if let Some(regression) = noted.regression.filter(|_| noted.regressed_now) {
            self.parts.metrics.regression(record.scope, regression.from, record.authentication);
        }
        (noted.edge, noted.regression)
    }

    pub(super) fn note_workloads(
        &self,
        connection: &Connection,
        record: &ConnectionRecord,
        noted: &mut Noted,
    ) {
        let certificates = &self.parts.certificates;
        let leaves = Leaves {
            client: certificates.leaf(connection.chain(Role::Client)),
            server: certificates.leaf(connection.chain(Role::Server)),
        };
        self.parts.workloads.note(record, leaves, self.parts.clock.wall(self.now), noted);
    }
}
