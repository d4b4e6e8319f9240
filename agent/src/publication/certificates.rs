//! Certificates that were met: each is parsed once, however many handshakes show it.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::certificate;
use crate::connection::Fingerprint;
use crate::event::Role;
use crate::ownership::Owners;
use crate::record::{CertificateRecord, SideName, WallTime};

/// Bounded; the one met first is forgotten first.
#[derive(Debug)]
pub struct Certificates {
    bound: usize,
    owners: Arc<Owners>,
    known: FxHashMap<Fingerprint, Known>,
    order: VecDeque<Fingerprint>,
    evicted: u64,
}

#[derive(Debug)]
struct Known {
    record: Arc<CertificateRecord>,
    published: bool,
}

impl Certificates {
    /// Remembers at most `bound` certificates.
    pub fn new(bound: usize) -> Self {
        Certificates {
            bound: bound.max(1),
            owners: Arc::default(),
            known: FxHashMap::default(),
            order: VecDeque::new(),
            evicted: 0,
        }
    }

    /// Whose the certificates are that are met from now on.
    pub fn set_owners(&mut self, owners: Arc<Owners>) {
        self.owners = owners;
    }

    /// Meets a certificate. `Some` if it was not known, or not in this role: it is to be printed.
    pub fn meet(
        &mut self,
        der: &[u8],
        fingerprint: Fingerprint,
        role: Role,
        now: WallTime,
    ) -> Option<Arc<CertificateRecord>> {
        let role = match role {
            Role::Client => SideName::Client.as_str(),
            Role::Server => SideName::Server.as_str(),
        };
        if let Some(known) = self.known.get_mut(&fingerprint) {
            if known.record.roles.iter().any(|known| known == role) {
                return None;
            }
            let record = Arc::make_mut(&mut known.record);
            record.roles.push(role.to_owned());
            record.last_seen = Some(now);
            return Some(Arc::clone(&known.record));
        }
        let mut record = certificate::describe(der);
        record.first_seen = Some(now);
        record.last_seen = Some(now);
        record.roles = vec![role.to_owned()];
        if let Some(identity) = certificate::identity(&record)
            && let Some(labels) = self.owners.of_identity(&identity)
        {
            record.owner.clone_from(&labels.owner);
            record.purpose.clone_from(&labels.purpose);
        }
        if self.order.len() >= self.bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.evicted += 1;
        }
        let record = Arc::new(record);
        self.order.push_back(fingerprint);
        self.known.insert(fingerprint, Known { record: Arc::clone(&record), published: false });
        Some(record)
    }

    /// The records of a chain; certificates that were forgotten are left out.
    pub fn chain(&self, fingerprints: &[Fingerprint]) -> Vec<Arc<CertificateRecord>> {
        let known = fingerprints.iter().filter_map(|fingerprint| self.known.get(fingerprint));
        known.map(|known| Arc::clone(&known.record)).collect()
    }

    /// The record of a chain's leaf, if it is remembered.
    pub fn leaf(&self, fingerprints: &[Fingerprint]) -> Option<&CertificateRecord> {
        self.known.get(fingerprints.first()?).map(|known| &*known.record)
    }

    /// Whether it was met and is remembered.
    pub fn knows(&self, fingerprint: &Fingerprint) -> bool {
        self.known.contains_key(fingerprint)
    }

    /// The record of a certificate, the first time it is asked for.
    pub fn publish(&mut self, fingerprint: &Fingerprint) -> Option<Arc<CertificateRecord>> {
        let known = self.known.get_mut(fingerprint).filter(|known| !known.published)?;
        known.published = true;
        Some(Arc::clone(&known.record))
    }

    /// How many are known.
    pub fn entries(&self) -> usize {
        self.known.len()
    }

    /// Most that are remembered.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// How many were forgotten for room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}
