//! What leaves the connection room becomes records, findings and numbers.

mod notes;
mod presentation;
mod revision;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::history::History;
use crate::api::Hub;
use crate::connection::{Connection, ConnectionKey, Fingerprint, Holder, Sink, Stage};
use crate::event::{Decision, Role, SocketCookie, Timestamp};
use crate::identity::{KnownProcess, ProcessTable, WallClock};
use crate::metrics::Metrics;
use crate::ownership::Owners;
use crate::publication::{
    Belonging, Certificates, Chains, Edges, FindingBook, Holders, Host, Interfaces, Source, Surroundings,
    Uses, Workloads, compose,
};
use crate::record::{ConnectionRecord, GapRecord, Record, SideName};
use crate::scope::Networks;
use crate::verdict::{self, Policy, Regression, Subject};
use presentation::{doubt, guesses_presenter, is_guess, presentation};
use revision::{Published, answer, digest, finding_bit};

/// Turns what happens to connections into records.
#[derive(Debug)]
pub struct Publisher {
    /// What it works with.
    pub parts: Parts,
    /// Findings so far.
    pub findings: FindingBook,
    /// The moment of the event at hand.
    pub now: Timestamp,
    /// What the source is to be told.
    pub orders: Vec<Order>,
    /// Time spent on records so far.
    pub spent: Duration,
    /// Sockets of which the owner is wanted.
    pub wanted: Vec<SocketCookie>,
    /// Who presented which key.
    pub uses: Uses,
    /// What rules said of workloads and identities.
    pub belonging: Belonging,
    /// The time before this run, for readers that came later.
    missed: Option<Arc<GapRecord>>,
    published: FxHashMap<ConnectionKey, Published>,
}

/// What the source is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// See [`Decision`].
    Decide(SocketCookie, Decision),
    /// The socket is gone.
    Forget(SocketCookie),
}

/// Findings that the history is told of again at a time: a quarter of its queue.
const MAX_OFFERED: usize = 512;
/// Owners asked for at a time: one pass of the iterator answers for all.
const MAX_WANTED: usize = 1024;

/// What a [`Publisher`] works with.
#[derive(Debug)]
pub struct Parts {
    /// The host's names.
    pub host: Host,
    /// The clock.
    pub clock: WallClock,
    /// What is internal.
    pub networks: Networks,
    /// Interface names.
    pub interfaces: Interfaces,
    /// Who is who.
    pub processes: ProcessTable,
    /// Certificates met.
    pub certificates: Certificates,
    /// Workloads met.
    pub workloads: Workloads,
    /// Who talks to whom.
    pub edges: Edges,
    /// What is asked of connections.
    pub policy: Policy,
    /// Names the policy in records.
    pub policy_version: Arc<str>,
    /// Takes records.
    pub hub: Hub,
    /// Keeps records.
    pub history: History,
    /// Takes numbers.
    pub metrics: Metrics,
}

impl Publisher {
    /// A publisher that has published nothing yet.
    pub fn new(parts: Parts) -> Self {
        let belonging = Belonging::new(Arc::default(), parts.policy.identities.clone());
        Publisher {
            parts,
            uses: Uses::default(),
            belonging,
            findings: FindingBook::default(),
            now: Timestamp::default(),
            orders: Vec::new(),
            spent: Duration::ZERO,
            wanted: Vec::new(),
            missed: None,
            published: FxHashMap::default(),
        }
    }

    /// Names these owners, and judges identities by the rules of the policy at hand, from now on.
    pub fn set_owners(&mut self, owners: Arc<Owners>) {
        self.parts.metrics.forget_owners();
        self.belonging = Belonging::new(Arc::clone(&owners), self.parts.policy.identities.clone());
        self.parts.workloads.set_rules(Arc::clone(&owners), self.parts.policy.identities.clone());
        self.parts.certificates.set_owners(owners);
    }

    /// Says what was not seen.
    pub fn gap(&mut self, gap: GapRecord) {
        self.publish(Record::Gap(Arc::new(gap)));
    }

    /// Says what was not seen before this run, now and to readers that come later.
    pub fn missed(&mut self, gap: GapRecord) {
        self.missed = Some(Arc::new(gap.clone()));
        self.gap(gap);
    }

    /// Repeats what [`Publisher::missed`] said.
    pub fn repeat_missed(&self) {
        if let Some(gap) = &self.missed {
            self.parts.hub.repeat(Record::Gap(Arc::clone(gap)));
        }
    }

    /// Prints a connection again as it was last published, for readers that came later.
    pub fn repeat(&mut self, connection: &Connection) {
        let Some(published) = self.published.get(&connection.key) else { return };
        let (revision, edge) = (published.revision, published.edge);
        let holders = Holders { client: published.client().to_vec(), server: published.server().to_vec() };
        let chains = self.chains(connection);
        let mut record = self.compose(connection, &holders, &chains);
        let (edge, regression) = self.note_edge(&record, edge);
        if let Some(published) = self.published.get_mut(&connection.key) {
            published.edge = edge;
        }
        self.judge(&chains, regression, &mut record);
        record.revision = revision;
        self.parts.hub.repeat(Record::Connection(Arc::new(record)));
    }

    /// Hands to the history the findings that were met again, some at a time: readers are told of each once.
    pub fn offer_findings(&mut self) {
        for finding in self.findings.take_changed(MAX_OFFERED) {
            self.parts.history.offer(&Record::Finding(finding));
        }
    }

    /// Hands certificates to the history that it has only the fingerprints of.
    pub fn offer_wanted(&self) {
        for fingerprint in self.parts.history.take_wanted() {
            for certificate in self.parts.certificates.chain(&[Fingerprint(fingerprint)]) {
                self.parts.history.offer(&Record::Certificate(certificate));
            }
        }
    }

    fn compose(&mut self, connection: &Connection, holders: &Holders, chains: &Chains) -> ConnectionRecord {
        let around = Surroundings {
            source: Source::Live { host: &self.parts.host, interfaces: &self.parts.interfaces },
            clock: self.parts.clock,
            networks: &self.parts.networks,
        };
        let mut record = compose(connection, holders, chains, &around);
        let leaf = |role| connection.chain(role).first().copied();
        self.belonging.fill(&mut record, [leaf(Role::Client), leaf(Role::Server)], chains);
        for end in [&mut record.client, &mut record.server].into_iter().filter(|end| is_guess(end)) {
            doubt(&mut end.identity_fit);
        }
        record
    }

    fn chains(&self, connection: &Connection) -> Chains {
        Chains {
            client: self.parts.certificates.chain(connection.chain(Role::Client)),
            server: self.parts.certificates.chain(connection.chain(Role::Server)),
        }
    }

    fn judge(
        &self,
        chains: &Chains,
        regression: Option<Regression>,
        record: &mut ConnectionRecord,
    ) -> Vec<verdict::Finding> {
        let now = self.parts.clock.wall(self.now);
        let sharing = |side| {
            let (leaf, workload) = presentation(chains, record, side)?;
            self.uses.sharing(leaf, workload, now)
        };
        let (client, server) = (sharing(SideName::Client), sharing(SideName::Server));
        let subject = Subject {
            connection: record,
            client_chain: &chains.client,
            server_chain: &chains.server,
            client_sharing: client.as_ref(),
            server_sharing: server.as_ref(),
            regression,
        };
        let findings = verdict::judge(subject, &self.parts.policy, now);
        record.findings = findings.iter().map(|finding| finding.code.as_str().into()).collect();
        record.findings.dedup();
        record.policy_version = Some(self.parts.policy_version.clone());
        findings
    }

    /// Holders keep the description they had when they were first named: processes go, connections stay.
    fn resolve(&mut self, known: &[Arc<KnownProcess>], holders: &[Holder]) -> Vec<Arc<KnownProcess>> {
        holders
            .iter()
            .enumerate()
            .map(|(index, holder)| match known.get(index) {
                Some(known)
                    if known.executable_unknown.is_none() && known.key.agrees(holder.task.process) =>
                {
                    Arc::clone(known)
                }
                _ => self.parts.processes.resolve(&holder.task, self.now),
            })
            .collect()
    }

    /// A change of a connection that has been counted and that nobody reads needs no record; the next one that somebody
    /// reads is a revision of its own. `false` if a record is needed all the same.
    fn pass_unread(&mut self, connection: &Connection, last: bool) -> bool {
        // What libraries add, and a credential, come with findings of their own; another conclusion counts elsewhere.
        let (library, credential) = (connection.library_summary(), connection.credential.is_some());
        let guess = guesses_presenter(connection);
        let settled = |published: &Published| {
            published.counted
                && published.answer == answer(connection)
                && published.library == library
                && published.credential == credential
                && published.guess == guess
        };
        if last {
            let settled = self.published.get(&connection.key).is_some_and(settled);
            if settled && let Some(published) = self.published.remove(&connection.key) {
                self.parts.workloads.ended(&published.workloads, self.parts.clock.wall(self.now));
            }
            return settled;
        }
        let Some(published) = self.published.get_mut(&connection.key).filter(|published| settled(published))
        else {
            return false;
        };
        published.digest = 0;
        let described = |known: &[Arc<KnownProcess>], role| {
            let holders = connection.side(role).map_or(&[][..], |side| &side.holders[..]);
            let agree =
                |(known, holder): (&Arc<KnownProcess>, &Holder)| known.key.agrees(holder.task.process);
            known.len() >= holders.len() && known.iter().zip(holders).all(agree)
        };
        // A new holder is described while it can be.
        described(published.client(), Role::Client) && described(published.server(), Role::Server)
    }

    /// Counts findings and hands them out, each once per connection. Returns which have been.
    fn note(&mut self, findings: &[verdict::Finding], record: &ConnectionRecord, before: u32) -> u32 {
        let mut noted = before;
        for finding in findings {
            let bit = finding_bit(finding);
            noted |= bit;
            if before & bit != 0 {
                continue;
            }
            let now = self.parts.clock.wall(self.now);
            let excepted = finding.exception.is_some();
            self.parts.metrics.finding(finding.code, finding.severity, excepted);
            if let Some(finding) = self.findings.note(finding, record, now) {
                self.publish(Record::Finding(finding));
            }
        }
        noted
    }

    fn publish(&self, record: Record) {
        self.parts.metrics.record(&record);
        self.parts.history.offer(&record);
        self.parts.hub.publish(record);
    }
}

impl Sink for Publisher {
    fn decide(&mut self, socket: SocketCookie, decision: Decision) {
        self.orders.push(Order::Decide(socket, decision));
    }

    fn forget(&mut self, socket: SocketCookie) {
        self.orders.push(Order::Forget(socket));
    }

    fn certificate(&mut self, der: &Bytes, fingerprint: Fingerprint, role: Role) {
        let now = self.parts.clock.wall(self.now);
        if let Some(record) = self.parts.certificates.meet(der, fingerprint, role, now) {
            self.parts.metrics.certificate(record.parse_error.is_none());
            self.publish(Record::Certificate(record));
        }
    }

    fn connection(&mut self, connection: &Connection, stage: Stage) {
        let last = stage == Stage::Final;
        if last && connection.handshake_shipped > 0 {
            let beyond = connection.shipped - connection.handshake_shipped;
            self.parts.metrics.shipped(connection.handshake_shipped, beyond);
        }
        // The history wants the last word on each connection, readers want every one.
        let unread = self.parts.hub.subscribers() == 0 && !(last && self.parts.history.is_on());
        if unread && self.pass_unread(connection, last) {
            return;
        }
        let started = Instant::now();
        let mut before = self.published.remove(&connection.key);
        let (known_client, known_server) =
            before.as_ref().map_or((&[][..], &[][..]), |before| (before.client(), before.server()));
        let side = |role| connection.side(role).map_or(&[][..], |side| &side.holders[..]);
        let holders = Holders {
            client: self.resolve(known_client, side(Role::Client)),
            server: self.resolve(known_server, side(Role::Server)),
        };
        let chains = self.chains(connection);
        let mut record = self.compose(connection, &holders, &chains);
        let uses = before.as_ref().map_or([None; 2], |before| before.uses);
        let uses = self.note_uses(&chains, &record, uses);
        let edge = before.as_ref().and_then(|before| before.edge);
        let (edge, regression) = self.note_edge(&record, edge);
        let findings = self.judge(&chains, regression, &mut record);
        let digest = digest(&record);
        let unchanged = before.as_ref().is_some_and(|before| before.digest == digest);
        let counted = before.as_ref().is_some_and(|before| before.counted);
        let mut noted = before.as_ref().map_or(0, |before| before.noted);
        let mut revision = before.as_ref().map_or(0, |before| before.revision);
        if last || !unchanged {
            revision += u32::from(before.is_some());
            record.revision = revision;
            record.r#final = last;
            // A connection counts once, with its first verdict.
            let counts = !counted && record.decided.is_some();
            if counts {
                self.parts.metrics.connection(&record);
                if let Some(decided) = connection.decided {
                    let latency = Duration::from_nanos(decided.since(connection.key.opened));
                    self.parts.metrics.decided_after(latency);
                }
                if let Some(reason) = &record.capture_reason {
                    self.parts.metrics.truncated(reason);
                }
            }
            if record.decided.is_some() {
                noted = self.note(&findings, &record, noted);
            }
            let before = before.as_mut().map(|before| std::mem::take(&mut before.workloads));
            let mut workloads = before.unwrap_or_default();
            self.note_workloads(connection, &record, &mut workloads);
            self.publish(Record::Connection(Arc::new(record)));
            if !last {
                let published = Published {
                    revision,
                    digest,
                    counted: counted || counts,
                    noted,
                    workloads,
                    uses,
                    edge,
                    guess: guesses_presenter(connection),
                    answer: answer(connection),
                    library: connection.library_summary(),
                    credential: connection.credential.is_some(),
                    of_client: holders.client.len() as u8,
                    holders: holders.client.into_iter().chain(holders.server).collect(),
                };
                self.published.insert(connection.key, published);
            }
        } else if let Some(before) = before {
            self.published.insert(connection.key, Published { uses, edge, ..before });
        }
        self.spent += started.elapsed();
    }

    fn owner_wanted(&mut self, socket: SocketCookie) {
        if self.wanted.len() < MAX_WANTED {
            self.wanted.push(socket);
        }
    }
}

#[cfg(test)]
mod tests;
