//! Findings by subject: the same finding of the same edge is one record with a count.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use crate::record::{ConnectionRecord, EndpointRecord, FINDING_SCHEMA, FindingRecord, SideName, WallTime};
use crate::verdict::Finding;

/// Subjects remembered: edges of a host times codes; beyond it, new findings are printed each time.
pub const MAX_FINDINGS: usize = 16_384;

/// Bounded memory of what was found.
#[derive(Debug, Default)]
pub struct FindingBook {
    known: FxHashMap<[u8; 16], Known>,
    refused: u64,
    /// Those that have changed, in the order in which they did.
    changed: VecDeque<[u8; 16]>,
    /// The edge of the finding at hand: mostly it is one that is known.
    edge: String,
}

#[derive(Debug)]
struct Known {
    /// As it was when it was handed out last.
    record: Arc<FindingRecord>,
    count: u64,
    first_seen: WallTime,
    last_seen: WallTime,
    /// It was counted again since it was handed out.
    changed: bool,
}

impl Known {
    /// The record as it is now. Whoever took it before keeps it as it was then.
    fn update(&mut self) -> &Arc<FindingRecord> {
        if std::mem::take(&mut self.changed) {
            let record = Arc::make_mut(&mut self.record);
            (record.count, record.first_seen, record.last_seen) =
                (self.count, self.first_seen, self.last_seen);
        }
        &self.record
    }
}

impl FindingBook {
    /// Notes a finding of a connection. `Some` if its subject is new: it is to be printed.
    pub fn note(
        &mut self,
        finding: &Finding,
        connection: &ConnectionRecord,
        now: WallTime,
    ) -> Option<Arc<FindingRecord>> {
        print_edge(connection, &mut self.edge);
        let id = subject_id(finding, &self.edge);
        if let Some(known) = self.known.get_mut(&id) {
            known.count += 1;
            known.first_seen = known.first_seen.min(now);
            known.last_seen = known.last_seen.max(now);
            if !std::mem::replace(&mut known.changed, true) {
                self.changed.push_back(id);
            }
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
            edge: Some(self.edge.clone()),
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
            let record = Arc::clone(&record);
            self.known
                .insert(id, Known { record, count: 1, first_seen: now, last_seen: now, changed: false });
        } else {
            self.refused += 1;
        }
        Some(record)
    }

    /// All that are remembered, with how often and when last, in the order in which they were first seen.
    pub fn into_all(self) -> Vec<Arc<FindingRecord>> {
        let mut all: Vec<_> = self.known.into_values().map(|mut known| Arc::clone(known.update())).collect();
        all.sort_by(|one, other| (one.first_seen, &one.id).cmp(&(other.first_seen, &other.id)));
        all
    }

    /// At most so many that were counted again since they were handed out.
    pub fn take_changed(&mut self, limit: usize) -> Vec<Arc<FindingRecord>> {
        let taken = self
            .changed
            .drain(..limit.min(self.changed.len()))
            .filter_map(|id| Some(Arc::clone(self.known.get_mut(&id)?.update())));
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
fn print_edge(connection: &ConnectionRecord, edge: &mut String) {
    fn name(endpoint: &EndpointRecord) -> &str {
        endpoint.workload.as_ref().map_or(&endpoint.address, |workload| &workload.name)
    }
    let mut port = itoa::Buffer::new();
    let port = port.format(connection.server.port);
    edge.clear();
    for part in [name(&connection.client), " → ", name(&connection.server), ":", port] {
        edge.push_str(part);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Severity, sample};
    use crate::verdict::Code;

    #[test]
    fn what_was_counted_again_is_handed_out_once_with_its_count_and_the_rest_later() {
        let mut book = FindingBook::default();
        let connection = sample::connection(1);
        let note = |book: &mut FindingBook, certificate: &str| {
            let finding = Finding {
                code: Code::ServerOnlyTlsEastWest,
                severity: Severity::Low,
                side: None,
                certificate: Some(certificate.to_owned()),
                summary: String::new(),
                exception: None,
            };
            book.note(&finding, &connection, WallTime(1)).is_some()
        };
        for (certificate, is_new) in [("a", true), ("b", true), ("a", false), ("b", false), ("a", false)] {
            assert_eq!(note(&mut book, certificate), is_new);
        }
        let taken = |book: &mut FindingBook, limit| {
            let taken = book.take_changed(limit);
            taken.iter().map(|one| (one.certificate.clone().unwrap(), one.count)).collect::<Vec<_>>()
        };
        assert_eq!(taken(&mut book, 1), [("a".to_owned(), 3)]);
        assert!(!note(&mut book, "a"));
        assert_eq!(taken(&mut book, 9), [("b".to_owned(), 2), ("a".to_owned(), 4)]);
        assert_eq!(taken(&mut book, 9), []);
    }
}
