//! Who started whom: parents up to the leader of the session.

use std::sync::Arc;

use super::{ProcessTable, with_start};
use crate::event::{ProcessKey, Timestamp};
use crate::identity::generations::Arrival;
use crate::identity::process::{NANOSECONDS_PER_TICK, Place, ticks};
use crate::identity::procfs::Sighting;
use crate::record::ParentRecord;

/// Bound on the parents of a process: sessions are rarely deeper than five.
pub(super) const MAX_PARENTS: usize = 16;

impl ProcessTable {
    /// Reads a process that no event told of, and its parents, which the table must have for their records. Goes up
    /// `depth` parents at most.
    pub(super) fn meet(&mut self, process: ProcessKey, at: Timestamp, depth: usize) {
        let Ok(sighting) = self.procfs.read(process.pid, ticks(process), true) else { return };
        let place = match &sighting.cgroup {
            Some(text) => self.workloads.of(text, at, &mut self.users).into(),
            None => Place::Unknown,
        };
        // Only for the record of a process that no hook ever shows; a hook tells the user id.
        let uid = sighting.uid.unwrap_or(u32::MAX);
        let key = with_start(process, &sighting);
        let parent = self.meet_parent(key, &sighting, at, depth);
        let mut parts = self.parts_of(sighting, uid, place, at);
        parts.record.parents = self.parents(key.pid, parts.session, parent);
        let known = Arc::new(parts.assemble(key, self.clock));
        self.processes.insert(Arrival { key, known, cgroup: 0, inherited: false, parent });
    }

    /// The parent that `/proc` told of, known to the table from now on.
    pub(super) fn meet_parent(
        &mut self,
        process: ProcessKey,
        sighting: &Sighting,
        at: Timestamp,
        depth: usize,
    ) -> Option<ProcessKey> {
        let stat = &sighting.stat;
        // What is beyond the leader of the session is not told.
        if stat.parent == 0
            || stat.session == process.pid
            || stat.kernel_thread
            || depth == 0
            || self.processes.is_full()
        {
            return None;
        }
        let parent = ProcessKey { pid: stat.parent, start_time: 0 };
        if self.processes.find(parent).is_none() {
            self.meet(parent, at, depth - 1);
        }
        let found = self.processes.find(parent)?.key;
        // A parent is older: else this one has its pid by now.
        (found.start_time <= process.start_time).then_some(found)
    }

    /// The parents of a process up to the leader of its session, from the table alone.
    pub(super) fn parents(&self, pid: u32, session: u32, parent: Option<ProcessKey>) -> Vec<ParentRecord> {
        let mut parents: Vec<ParentRecord> = Vec::new();
        let mut next = if pid == session { None } else { parent };
        while let Some(entry) = next.and_then(|key| self.processes.find(key)) {
            let record = &entry.known.record;
            parents.push(ParentRecord {
                pid: entry.key.pid,
                start_time: entry.key.start_time / NANOSECONDS_PER_TICK,
                comm: record.comm.clone(),
                executable: record.executable.clone(),
            });
            if parents.len() == MAX_PARENTS || entry.key.pid == session {
                break;
            }
            if !entry.inherited {
                let room = MAX_PARENTS - parents.len();
                let more = record.parents.iter().take(room);
                let leader = record.parents.iter().position(|parent| parent.pid == session);
                parents.extend(more.take(leader.map_or(room, |leader| leader + 1)).cloned());
                break;
            }
            next = entry.parent;
        }
        parents
    }
}
