//! Whose the ends of a connection are, and whether what they presented is theirs to present.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::Chains;
use crate::connection::Fingerprint;
use crate::ownership::Owners;
use crate::record::{
    CertificateRecord, ConnectionRecord, EndpointRecord, IdentityFitRecord, LabelsRecord, SideName,
    WorkloadRecord,
};
use crate::verdict::{FitRule, fit, presence};

/// Answers remembered of each kind; when there is no more room they are found anew. A host has some thousand workloads.
const MAX_REMEMBERED: usize = 8192;
/// Answers of all three kinds.
pub const MAX_ANSWERS: usize = 3 * MAX_REMEMBERED;

/// Rules on owners and identities, and what they said: each workload, identity and pair of workload and certificate is
/// looked at once. The answers are kept by random hashes: names are an adversary's to choose.
#[derive(Debug, Default)]
pub struct Belonging {
    owners: Arc<Owners>,
    rules: Vec<Arc<FitRule>>,
    of_workloads: HashMap<Arc<WorkloadRecord>, Option<Arc<LabelsRecord>>>,
    /// By the certificates that name them: identities themselves can be long.
    of_identities: HashMap<Fingerprint, Option<Arc<LabelsRecord>>>,
    fits: HashMap<(Option<Arc<WorkloadRecord>>, Fingerprint), Arc<IdentityFitRecord>>,
    /// Answers given up for room.
    forgotten: u64,
}

impl Belonging {
    /// By these rules.
    pub fn new(owners: Arc<Owners>, rules: Vec<Arc<FitRule>>) -> Self {
        Belonging { owners, rules, ..Belonging::default() }
    }

    /// Fills `labels` and `identity_fit` of both ends. `leaves` name the certificates that client and server showed, `known` are
    /// those that are remembered.
    pub fn fill(&mut self, record: &mut ConnectionRecord, leaves: [Option<Fingerprint>; 2], known: &Chains) {
        for (side, leaf) in [SideName::Client, SideName::Server].into_iter().zip(leaves) {
            let counts = presence(record, side).is_some();
            let is_local = record.observed_from.contains(&side);
            let (end, chain) = match side {
                SideName::Client => (&mut record.client, &known.client),
                SideName::Server => (&mut record.server, &known.server),
            };
            end.labels = match (is_local, &end.workload, &end.identity, leaf) {
                (true, Some(workload), _, _) => self.of_workload(workload),
                // Whoever was refused has shown a name, not that it is theirs.
                (false, _, Some(identity), Some(leaf)) if counts => self.of_identity(identity, leaf),
                _ => None,
            };
            if is_local && let (Some(certificate), Some(fingerprint)) = (chain.first(), leaf) {
                end.identity_fit = self.fit(end, certificate, fingerprint);
            }
        }
    }

    /// How many answers are remembered.
    pub fn entries(&self) -> usize {
        self.of_workloads.len() + self.of_identities.len() + self.fits.len()
    }

    /// How many were given up for room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn of_workload(&mut self, workload: &Arc<WorkloadRecord>) -> Option<Arc<LabelsRecord>> {
        if self.owners.is_empty() {
            return None;
        }
        if let Some(known) = self.of_workloads.get(workload) {
            return known.clone();
        }
        let labels = self.owners.of_workload(workload).cloned();
        remember(&mut self.of_workloads, &mut self.forgotten, Arc::clone(workload), labels)
    }

    fn of_identity(&mut self, identity: &str, leaf: Fingerprint) -> Option<Arc<LabelsRecord>> {
        if self.owners.is_empty() {
            return None;
        }
        if let Some(known) = self.of_identities.get(&leaf) {
            return known.clone();
        }
        let labels = self.owners.of_identity(identity).cloned();
        remember(&mut self.of_identities, &mut self.forgotten, leaf, labels)
    }

    fn fit(
        &mut self,
        end: &EndpointRecord,
        leaf: &CertificateRecord,
        fingerprint: Fingerprint,
    ) -> Option<Arc<IdentityFitRecord>> {
        // The leaf itself may have been forgotten, and what is known be of its issuer.
        if end.certificates.first() != Some(&leaf.sha256) {
            return None;
        }
        let key = (end.workload.clone(), fingerprint);
        if let Some(known) = self.fits.get(&key) {
            return Some(Arc::clone(known));
        }
        let answer = Arc::new(fit(end.workload.as_deref(), leaf, &self.rules));
        Some(remember(&mut self.fits, &mut self.forgotten, key, answer))
    }
}

fn remember<K: Eq + Hash, V: Clone>(
    answers: &mut HashMap<K, V>,
    forgotten: &mut u64,
    key: K,
    answer: V,
) -> V {
    if answers.len() >= MAX_REMEMBERED {
        *forgotten += answers.len() as u64;
        answers.clear();
    }
    answers.insert(key, answer.clone());
    answer
}

#[cfg(test)]
mod tests;
