//! Findings by subject: the same finding of the same edge is one record with a count.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest as _, Sha256};

use crate::record::{ConnectionRecord, EndpointRecord, FINDING_SCHEMA, FindingRecord, SideName, WallTime};
use crate::verdict::Finding;

/// Subjects remembered: edges of a host times codes; beyond it, new findings are printed each time.
pub const MAX_FINDINGS: usize = 16_384;

/// Bounded memory of what was found.
#[derive(Debug, Default)]
pub struct FindingBook {
    known: FxHashMap<[u8; 16], Arc<FindingRecord>>,
    refused: u64,
    /// Counted again since they were handed out.
    changed: FxHashSet<[u8; 16]>,
}

impl FindingBook {
    /// Notes a finding of a connection. `Some` if its subject is new: it is to be printed.
    pub fn note(
        &mut self,
        finding: &Finding,
        connection: &ConnectionRecord,
        now: WallTime,
    ) -> Option<Arc<FindingRecord>> {
        let edge = edge(connection);
        let id = subject_id(finding, &edge);
        if let Some(known) = self.known.get_mut(&id) {
            // Whoever takes what is printed keeps it as it was then.
            let known = Arc::make_mut(known);
            known.count += 1;
            known.first_seen = known.first_seen.min(now);
            known.last_seen = known.last_seen.max(now);
            self.changed.insert(id);
            return None;
        }
        let record = Arc::new(FindingRecord {
            schema: FINDING_SCHEMA.into(),
            id: hex(&id),
            code: finding.code.as_str().into(),
            severity: finding.severity,
            host: connection.host.clone(),
            connection: Some(connection.id.clone()),
            certificate: finding.certificate.clone(),
            workload: match finding.side {
                Some(SideName::Server) => &connection.server,
                _ => &connection.client,
            }
            .workload
            .as_ref()
            .map(|workload| workload.name.clone()),
            edge: Some(edge),
            first_seen: now,
            last_seen: now,
            resolved: None,
            count: 1,
            summary: finding.summary.clone(),
            remedy: finding.code.remedy().into(),
            controls: finding.code.controls().iter().map(|&control| control.into()).collect(),
            exception: finding.exception.as_ref().map(|exception| exception.record()),
        });
        if self.known.len() < MAX_FINDINGS {
            self.known.insert(id, Arc::clone(&record));
        } else {
            self.refused += 1;
        }
        Some(record)
    }

    /// All that are remembered, with how often and when last, in the order in which they were first seen.
    pub fn all(&self) -> Vec<&FindingRecord> {
        let mut all: Vec<&FindingRecord> = self.known.values().map(Arc::as_ref).collect();
        all.sort_by(|one, other| (one.first_seen, &one.id).cmp(&(other.first_seen, &other.id)));
        all
    }

    /// At most so many that were counted again since they were handed out.
    pub fn take_changed(&mut self, limit: usize) -> Vec<Arc<FindingRecord>> {
        let ids: Vec<[u8; 16]> = self.changed.iter().take(limit).copied().collect();
        let taken = ids.iter().filter_map(|id| {
            self.changed.remove(id);
            self.known.get(id).map(Arc::clone)
        });
        taken.collect()
    }

    /// How many subjects are remembered.
    pub fn entries(&self) -> usize {
        self.known.len()
    }

    /// How many found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The policy changed: what it sets apart may have, too.
    pub fn clear(&mut self) {
        self.known.clear();
        self.changed.clear();
    }
}

/// `client → server:port`, by workload where it is known.
fn edge(connection: &ConnectionRecord) -> String {
    fn name(endpoint: &EndpointRecord) -> &str {
        endpoint.workload.as_ref().map_or(&endpoint.address, |workload| &workload.name)
    }
    let port = connection.server.port.to_string();
    [name(&connection.client), " → ", name(&connection.server), ":", &port].concat()
}

fn subject_id(finding: &Finding, edge: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [finding.code.as_str(), edge, finding.certificate.as_deref().unwrap_or_default()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    if let Some(exception) = &finding.exception {
        hash.update(exception.owner.as_bytes());
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

/// Both digits of every byte.
const fn pairs() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const PAIRS: [[u8; 2]; 256] = pairs();
    let mut digits = vec![b'0'; 2 * bytes.len()];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
    // Digits are ASCII.
    String::from_utf8(digits).unwrap_or_default()
}
