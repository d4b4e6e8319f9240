//! Which certificates a workload presented in which role and when, and which took the place of which.

use rusqlite::Connection;

use super::Place;
use crate::question::QuestionError;
use crate::record::{RotationRecord, SideName, WallTime};

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// A leaf that a node presented in one role.
#[derive(Debug, Clone)]
pub(super) struct LeafUse {
    pub role: SideName,
    pub certificate: i64,
    pub sha256: String,
    pub identity: Option<String>,
    pub not_before: Option<i64>,
    pub first: i64,
    pub last: i64,
}

/// All leaves of an end of edges, or of one edge, in a role, the first used first.
pub(super) fn of(database: &Connection, place: Place, role: SideName) -> Result<Vec<LeafUse>, QuestionError> {
    let side = role.as_str();
    let (column, number) = match place {
        Place::Node(node) => (side, node),
        Place::Edge(edge) => ("id", edge),
    };
    let sql = format!(
        "SELECT c.id, lower(hex(c.sha256)), coalesce(c.identity, min(q.identity)), c.not_before, \
         min(p.first_seen), max(p.last_seen) FROM edge e JOIN pairing p ON p.edge = e.id \
         JOIN endpoint_certificate l ON l.endpoint = p.{side} AND l.position = 0 \
         JOIN certificate c ON c.id = l.certificate JOIN endpoint q ON q.id = p.{side} \
         WHERE e.{column} = ?1 GROUP BY c.id ORDER BY 5, c.id"
    );
    let mut statement = database.prepare_cached(&sql)?;
    let uses = statement.query_map([number], |row| {
        Ok(LeafUse {
            role,
            certificate: row.get(0)?,
            sha256: row.get(1)?,
            identity: row.get(2)?,
            not_before: row.get(3)?,
            first: row.get(4)?,
            last: row.get(5)?,
        })
    })?;
    Ok(uses.collect::<Result<_, _>>()?)
}

/// What took the place of what, of the uses of one node in one role: new, old, how.
///
/// A certificate with the same identity is a successor, whether both were in use for a time or not. Another identity is one only if the old
/// certificate was not used any more: a server of several names has several certificates at once. Of several
/// candidates the one that was used last before is the old one.
pub(super) fn rotations(uses: &[LeafUse]) -> Vec<(&LeafUse, &LeafUse, RotationRecord)> {
    let mut rotations = Vec::new();
    for (position, new) in uses.iter().enumerate() {
        let earlier = || uses[..position].iter().rev().filter(|old| old.first < new.first);
        let is_same = |old: &&LeafUse| old.identity.is_some() && old.identity == new.identity;
        // What has a successor with its own identity is not replaced by another one.
        let is_replaced = |old: &LeafUse| {
            let later = uses.iter().filter(|later| later.first > old.first);
            later.into_iter().any(|later| old.identity.is_some() && later.identity == old.identity)
        };
        let ended =
            || earlier().filter(|old| old.last <= new.first && !is_replaced(old)).max_by_key(|old| old.last);
        let is_first_of_its_name = earlier().all(|old| !is_same(&old));
        let old = earlier().find(is_same).or_else(|| ended().filter(|_| is_first_of_its_name));
        if let Some(old) = old {
            rotations.push((new, old, rotation(new, old)));
        }
    }
    rotations
}

fn rotation(new: &LeafUse, old: &LeafUse) -> RotationRecord {
    let until = old.last.min(new.last);
    RotationRecord {
        replaces: old.sha256.clone(),
        replaces_identity: old.identity.clone(),
        last_use: WallTime(old.last),
        overlap_seconds: until.saturating_sub(new.first).div_euclid(NANOSECONDS_PER_SECOND),
        lag_seconds: new
            .not_before
            .map(|from| new.first.saturating_sub(from).div_euclid(NANOSECONDS_PER_SECOND)),
        completed: old.last < new.last,
    }
}
