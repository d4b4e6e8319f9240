//! What leaves the connection room becomes records, judged and counted.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{MAX_CERTIFICATES, Output, Settings, Totals};
use crate::api::WatchFilter;
use crate::capture_file::Progress;
use crate::connection::{Connection, Fingerprint, Sink, Stage};
use crate::event::{Decision, Role, SocketCookie, Timestamp};
use crate::identity::WallClock;
use crate::publication::{
    Belonging, Certificates, Chains, FindingBook, Holders, Source, Surroundings, compose,
};
use crate::record::GapRecord;
use crate::verdict::{self, Subject};

/// The events' clock is the capture's.
const CLOCK: WallClock = WallClock { wall_minus_boot: 0 };
/// Bytes of certificates that wait for a connection that is wanted; it may end much later than it shows them.
const MAX_WAITING_DER: usize = 8 << 20;

/// What the source is to be told.
pub(super) enum Order {
    Decide(SocketCookie, Decision),
    Forget(SocketCookie),
}

/// Turns connections into records, as far as they are wanted.
pub(super) struct Publisher<'a> {
    /// What the source is to be told.
    pub orders: Vec<Order>,
    /// The moment of the event at hand.
    pub now: Timestamp,
    settings: Settings,
    output: &'a mut dyn Output,
    /// The first complaint of the output; nothing is written after it.
    failed: Option<io::Error>,
    certificates: Certificates,
    belonging: Belonging,
    findings: FindingBook,
    totals: Totals,
    /// Where connections were first met, if there are several inputs.
    files: FxHashMap<SocketCookie, usize>,
    /// Bytes of certificates that nobody wanted so far.
    waiting: FxHashMap<Fingerprint, Bytes>,
    waiting_bytes: usize,
}

impl<'a> Publisher<'a> {
    pub fn new(settings: Settings, output: &'a mut dyn Output) -> Self {
        let mut certificates = Certificates::new(MAX_CERTIFICATES);
        certificates.set_owners(Arc::clone(&settings.owners));
        // No workload is known here that a rule could be about.
        let belonging = Belonging::new(Arc::clone(&settings.owners), Vec::new());
        Publisher {
            orders: Vec::new(),
            now: Timestamp::default(),
            settings,
            output,
            failed: None,
            certificates,
            belonging,
            findings: FindingBook::default(),
            totals: Totals::default(),
            files: FxHashMap::default(),
            waiting: FxHashMap::default(),
            waiting_bytes: 0,
        }
    }

    pub fn has_several_files(&self) -> bool {
        self.settings.names.len() > 1
    }

    pub fn met_in(&mut self, socket: SocketCookie, input: Option<usize>) {
        if let Some(input) = input {
            self.files.insert(socket, input);
        }
    }

    pub fn progress(&mut self, progress: Progress) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.output.progress(progress),
        }
    }

    pub fn gap(&mut self, gap: &GapRecord) -> io::Result<()> {
        self.output.gap(gap)
    }

    /// Findings come last, with their counts.
    pub fn finish(mut self, refused: u64, cut: u64) -> io::Result<Totals> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.totals.findings_refused = self.findings.refused();
        let wanted = &self.settings.filter.finding;
        for finding in self.findings.into_all() {
            if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == finding.code) {
                self.output.finding(&finding)?;
            }
        }
        self.totals.refused = refused;
        self.totals.cut = cut;
        self.totals.certificates_forgotten = self.certificates.evicted();
        Ok(self.totals)
    }

    fn record(&mut self, connection: &Connection) -> io::Result<()> {
        let socket = connection.sockets().next();
        let input = if self.has_several_files() {
            socket.and_then(|socket| self.files.remove(&socket))
        } else {
            Some(0)
        };
        let file = input.and_then(|input| self.settings.names.get(input));
        let around =
            Surroundings { source: Source::Replay { file }, clock: CLOCK, networks: &self.settings.networks };
        let chains = Chains {
            client: self.certificates.chain(connection.chain(Role::Client)),
            server: self.certificates.chain(connection.chain(Role::Server)),
        };
        let mut record = compose(connection, &Holders::default(), &chains, &around);
        let leaf = |role| connection.chain(role).first().copied();
        self.belonging.fill(&mut record, [leaf(Role::Client), leaf(Role::Server)], &chains);
        record.r#final = true;
        let subject = Subject {
            connection: &record,
            client_chain: &chains.client,
            server_chain: &chains.server,
            client_sharing: None,
            server_sharing: None,
            regression: None,
        };
        let findings = verdict::judge(subject, &self.settings.policy, record.opened);
        record.findings = findings.iter().map(|finding| finding.code.as_str().into()).collect();
        record.findings.dedup();
        record.policy_version = Some(self.settings.policy_version.clone());
        if !self.settings.filter.matches(&record) {
            self.totals.filtered += 1;
            return Ok(());
        }
        self.totals.count(connection, &record);
        for finding in &findings {
            self.totals.found(finding.code.as_str());
            // Printed at the end: only then is known how often.
            drop(self.findings.note(finding, &record, record.opened));
        }
        self.show_certificates(connection)?;
        self.output.connection(&record)
    }

    /// Certificates that no connection has named before.
    fn show_certificates(&mut self, connection: &Connection) -> io::Result<()> {
        for fingerprint in connection.chain(Role::Client).iter().chain(connection.chain(Role::Server)) {
            if let Some(certificate) = self.certificates.publish(fingerprint) {
                self.totals.certificates += 1;
                self.output.certificate(&certificate)?;
            }
            if let Some(der) = self.waiting.remove(fingerprint) {
                self.waiting_bytes -= der.len();
                self.output.der(&fingerprint.0, &der)?;
            }
        }
        Ok(())
    }

    /// Keeps the bytes of a certificate for the connection that shows it, or hands them on if every one is wanted.
    fn keep(&mut self, der: &Bytes, fingerprint: Fingerprint) -> io::Result<()> {
        if self.settings.filter == WatchFilter::default() {
            return self.output.der(&fingerprint.0, der);
        }
        if self.waiting_bytes + der.len() <= MAX_WAITING_DER {
            self.waiting_bytes += der.len();
            // A copy of its own: the bytes may be a part of a whole handshake.
            self.waiting.insert(fingerprint, Bytes::copy_from_slice(der));
        }
        Ok(())
    }

    fn note_failure(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.failed.get_or_insert(error);
        }
    }
}

impl Sink for Publisher<'_> {
    fn decide(&mut self, socket: SocketCookie, decision: Decision) {
        self.orders.push(Order::Decide(socket, decision));
    }

    fn forget(&mut self, socket: SocketCookie) {
        self.orders.push(Order::Forget(socket));
    }

    fn certificate(&mut self, der: &Bytes, fingerprint: Fingerprint, role: Role) {
        let is_new = !self.certificates.knows(&fingerprint);
        // Which roles it had stands in the record when that is printed.
        drop(self.certificates.meet(der, fingerprint, role, CLOCK.wall(self.now)));
        if is_new && self.output.wants_der() && self.failed.is_none() {
            let done = self.keep(der, fingerprint);
            self.note_failure(done);
        }
    }

    fn connection(&mut self, connection: &Connection, stage: Stage) {
        if stage == Stage::Final && self.failed.is_none() {
            let done = self.record(connection);
            self.note_failure(done);
        }
    }

    fn owner_wanted(&mut self, _socket: SocketCookie) {}
}
