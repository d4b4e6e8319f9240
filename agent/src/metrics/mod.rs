//! Metrics: the agent in numbers, for Prometheus.
//!
//! Enters: records, and what the other rooms count and measure. Leaves: the page of `/metrics`, in
//! OpenMetrics or in the older Prometheus text format, in a stable order. Refuses: labels that traffic or
//! programs could choose. Every label has an enumerated set of values (`labels.rs`), so a family
//! has at most the product of them; what is not in the set counts as `other`. Owners, whom the operator
//! names, have a bound in place of a set (`owners.rs`), and so have the lists of certificates and identities (`listed.rs`).
//!
//! Names and help texts stand in `names.rs` and nowhere else; the whole page is a golden.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

mod family;
mod history;
mod labels;
mod listed;
pub mod names;
mod owners;
mod page;
mod process;
mod registry;
#[cfg(test)]
mod tests;

pub use labels::{ConfigReload, EventKind, HistoryLoss, HistoryRemoval, HistoryState, Stage};
pub use listed::{MAX_CERTIFICATES, MAX_IDENTITIES};
pub use page::{OPENMETRICS_CONTENT_TYPE, TEXT_CONTENT_TYPE};
pub use process::ProcessSample;

use crate::connection::{LibraryCounts, LibraryOutcome};
use crate::discovery::PassedOver;
use crate::event::{Event, Library, LossCause};
use crate::record::{
    ConnectionRecord, EvidenceName, LibraryFileRecord, ProbeState, Record, Severity, SideName,
};
use crate::verdict::Code;
use family::{Family, Seconds};
use labels::{other_than, role};
use listed::Listed;
use owners::OwnedConnections;

/// All metrics; a clone counts into the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Families>,
}

#[derive(Debug)]
struct Families {
    registry: prometheus_client::registry::Registry,
    healthy: Gauge,
    connections: Family<6, Counter>,
    owner_connections: OwnedConnections,
    edges: Family<2, Gauge>,
    edge_regressions: Family<3, Counter>,
    identity_blast_radius: Listed<1>,
    identity_blast_radius_left_out: Gauge,
    connections_open: Gauge,
    findings: Family<3, Counter>,
    handshakes_failed: Family<1, Counter>,
    certificates_seen: Counter,
    certificates_parse_failed: Counter,
    certificate_expiry: Listed<3>,
    certificate_lifetime: Listed<3>,
    certificate_expiry_left_out: Gauge,
    library_files: Family<2, Gauge>,
    library_events_lost: Family<1, Counter>,
    open_files_unseen: Family<1, Gauge>,
    library_files_passed_over: Family<1, Counter>,
    unknown: Family<2, Counter>,
    /// By [`EventKind`]: counted per event, so without a look-up.
    events: Vec<Counter>,
    events_lost: Family<1, Counter>,
    library_evidence: Family<2, Counter>,
    events_truncated: Family<1, Counter>,
    table_entries: Family<1, Gauge>,
    table_bound: Family<1, Gauge>,
    table_evictions: Family<1, Counter>,
    exceptions_expired: Gauge,
    handshake_bytes: Histogram,
    shipped_beyond_handshake_bytes: Histogram,
    shipped_beyond_handshake_ratio: Histogram,
    decision_latency: Histogram,
    history: history::HistoryMetrics,
    config_reloads: Family<1, Counter>,
    config_last_reload_successful: Gauge,
    watch_clients: Gauge,
    watch_records_dropped: Counter,
    log_lines_suppressed: Counter,
    records: Family<1, Counter>,
    /// By [`Stage`].
    stages: Vec<Seconds>,
    process: process::ProcessMetrics,
}

impl Metrics {
    /// All metrics at zero. `kernel` is the release of the running kernel, for `build_info`.
    pub fn new(kernel: &str) -> Metrics {
        Metrics { inner: Arc::new(registry::families(kernel)) }
    }

    /// Counts a connection, and what is unknown of it. To be called once per connection, with the revision in
    /// which its verdict is settled: what a later revision changes is not taken back.
    pub fn connection(&self, connection: &ConnectionRecord) {
        let inner = &self.inner;
        let tls = connection.tls.as_ref();
        let version = match tls.map(|tls| tls.version.as_deref()) {
            None => "none",
            Some(None) => "unknown",
            Some(Some(version)) if version.starts_with("1.3-") => "1.3-draft",
            Some(Some(version)) => version,
        };
        inner
            .connections
            .of([
                connection.scope.as_str(),
                role(&connection.observed_from),
                other_than(labels::PROTOCOLS, &connection.protocol),
                connection.authentication.as_str(),
                connection.evidence.client.as_str(),
                other_than(labels::VERSIONS, version),
            ])
            .inc();
        for side in &connection.observed_from {
            let end = match side {
                SideName::Client => &connection.client,
                SideName::Server => &connection.server,
            };
            inner.owner_connections.count(end.labels.as_deref(), *side, connection.authentication);
        }
        if tls.is_some_and(|tls| tls.handshake == "failed") {
            inner.handshakes_failed.of([connection.scope.as_str()]).inc();
        }
        let evidence = &connection.evidence;
        if [evidence.server, evidence.client].contains(&EvidenceName::Unknown) {
            self.unknown("authentication", evidence.reason.as_deref().unwrap_or("none_given"));
        }
        if let Some(reason) = &connection.capture_reason {
            self.unknown("capture", reason);
        }
        for endpoint in [&connection.client, &connection.server] {
            if let Some(reason) = endpoint.process_unknown.as_deref().filter(|reason| *reason != "remote") {
                self.unknown("process", reason);
            }
        }
    }

    /// Whether `/healthz` says that all is well.
    pub fn healthy(&self, healthy: bool) {
        self.inner.healthy.set(i64::from(healthy));
    }

    /// The file of owners was read again: connections by owner begin anew, with those that it names now.
    pub fn forget_owners(&self) {
        self.inner.owner_connections.forget();
    }

    /// Which files with TLS libraries there are.
    pub fn library_files(&self, files: &[LibraryFileRecord]) {
        let libraries = Library::ALL.map(Library::as_str);
        for library in libraries.into_iter().chain([labels::OTHER]) {
            for state in labels::PROBE_STATES {
                let probed = state == ProbeState::Probed;
                let count = files.iter().filter(|file| {
                    let named = other_than(&libraries, file.library.as_deref().unwrap_or_default());
                    named == library && (file.state == ProbeState::Probed) == probed
                });
                self.inner.library_files.of([library, state.as_str()]).set(gauge(count.count()));
            }
        }
    }

    /// Counts a fact that is missing; `about` is one of [`names::UNKNOWN`]'s.
    pub fn unknown(&self, about: &str, reason: &str) {
        let labels = [other_than(labels::UNKNOWN_ABOUT, about), labels::unknown_reason(reason)];
        self.inner.unknown.of(labels).inc();
    }

    /// How many connections are followed now.
    pub fn open_connections(&self, count: usize) {
        self.inner.connections_open.set(gauge(count));
    }

    /// Counts a finding, and whether an exception sets it apart. To be called once per finding and connection.
    pub fn finding(&self, code: Code, severity: Severity, excepted: bool) {
        let excepted = labels::EXCEPTED[usize::from(excepted)];
        self.inner.findings.of([code.as_str(), severity.as_str(), excepted]).inc();
    }

    /// Exceptions of the configuration whose date has passed.
    pub fn exceptions_expired(&self, count: usize) {
        self.inner.exceptions_expired.set(gauge(count));
    }

    /// A certificate was met for the first time.
    pub fn certificate(&self, parsed: bool) {
        self.inner.certificates_seen.inc();
        if !parsed {
            self.inner.certificates_parse_failed.inc();
        }
    }

    /// Payload of a decided connection that the source delivered: of the handshake, and beyond it.
    pub fn shipped(&self, handshake_bytes: u64, beyond_bytes: u64) {
        self.inner.handshake_bytes.observe(handshake_bytes as f64);
        self.inner.shipped_beyond_handshake_bytes.observe(beyond_bytes as f64);
        if handshake_bytes > 0 {
            self.inner.shipped_beyond_handshake_ratio.observe(beyond_bytes as f64 / handshake_bytes as f64);
        }
    }

    /// Time from a connection's first event to its verdict.
    pub fn decided_after(&self, latency: Duration) {
        self.inner.decision_latency.observe(latency.as_secs_f64());
    }

    /// Counts an event of the source; losses go to [`Metrics::lost`] as well.
    pub fn event(&self, event: &Event) {
        self.inner.events[EventKind::of(event) as usize].inc();
    }

    /// Counts events that were lost since the last call.
    pub fn lost(&self, cause: LossCause, count: u64) {
        self.inner.events_lost.of([cause.as_str()]).inc_by(count);
    }

    /// What of libraries the kernel programs could not read, what the ring had no room to spare for, chains longer than what is
    /// read, and calls that could not be remembered; all since the start.
    pub fn library_events_lost(&self, totals: [u64; 4]) {
        for (cause, total) in labels::LIBRARY_LOSSES.into_iter().zip(totals) {
            raise(&self.inner.library_events_lost.of([cause]), total);
        }
    }

    /// What the last pass over open files could not look at.
    pub fn open_files_unseen(&self, processes: u64, namespaces: u64, sockets: u64) {
        for (what, count) in labels::OPEN_FILES.into_iter().zip([processes, namespaces, sockets]) {
            self.inner.open_files_unseen.of([what]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Files that were passed over when processes were looked at, for the reasons in [`PassedOver`]; totals since the start.
    pub fn library_files_passed_over(&self, passed: PassedOver) {
        let PassedOver { mappings, unreadable } = passed;
        for (reason, total) in labels::PASSED_OVER.into_iter().zip([mappings, unreadable]) {
            raise(&self.inner.library_files_passed_over.of([reason]), total);
        }
    }

    /// What became of what TLS libraries showed since the start; totals, not differences.
    pub fn library_evidence(&self, counts: &LibraryCounts) {
        for library in Library::ALL {
            for outcome in LibraryOutcome::ALL {
                let counter = self.inner.library_evidence.of([library.as_str(), outcome.as_str()]);
                raise(&counter, counts.of(library, outcome));
            }
        }
    }

    /// Counts a stream of which not all wanted bytes could be kept.
    pub fn truncated(&self, reason: &str) {
        self.inner.events_truncated.of([other_than(labels::TRUNCATION_REASONS, reason)]).inc();
    }

    /// How full a table is.
    pub fn table(&self, table: &str, entries: usize, bound: usize) {
        let label = [other_than(labels::TABLES, table)];
        self.inner.table_entries.of(label).set(gauge(entries));
        self.inner.table_bound.of(label).set(gauge(bound));
    }

    /// How many entries a table has given up for want of room since the start; totals, not
    /// differences.
    pub fn table_evictions(&self, table: &str, total: u64) {
        let counter = self.inner.table_evictions.of([other_than(labels::TABLES, table)]);
        raise(&counter, total);
    }

    /// The configuration was read again.
    pub fn config_reload(&self, result: ConfigReload) {
        self.inner.config_reloads.of([result.as_str()]).inc();
        self.inner.config_last_reload_successful.set(i64::from(result == ConfigReload::Applied));
    }

    /// Programs that watch now.
    pub fn watch_clients(&self, count: usize) {
        self.inner.watch_clients.set(gauge(count));
    }

    /// Records that slow watchers lost since the start; a total.
    pub fn watch_records_dropped(&self, total: u64) {
        raise(&self.inner.watch_records_dropped, total);
    }

    /// Log lines suppressed by the rate limit since the start; a total.
    pub fn log_lines_suppressed(&self, total: u64) {
        raise(&self.inner.log_lines_suppressed, total);
    }

    /// Counts a record handed out.
    pub fn record(&self, record: &Record) {
        self.inner.records.of([labels::schema(record)]).inc();
    }

    /// Adds time spent in a stage of the pipeline.
    pub fn stage(&self, stage: Stage, spent: Duration) {
        self.inner.stages[stage as usize].inc_by(spent.as_secs_f64());
    }

    /// The page, with the process measured now, in the format that an `Accept` header asks for, and
    /// its content type: the older text format unless OpenMetrics is asked for.
    pub fn page(&self, accept: Option<&str>) -> (&'static str, String) {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => {
                (OPENMETRICS_CONTENT_TYPE, self.render())
            }
            _ => (TEXT_CONTENT_TYPE, self.render_text()),
        }
    }

    /// The page as OpenMetrics 1.0 text.
    pub fn render(&self) -> String {
        self.render_with(&ProcessSample::now())
    }

    /// The page in the Prometheus text format 0.0.4, which `promtool check metrics` reads.
    pub fn render_text(&self) -> String {
        page::text(&self.render())
    }

    /// The same with a given sample of the process; for replay and tests.
    pub fn render_with(&self, sample: &ProcessSample) -> String {
        self.inner.process.update(sample);
        page::openmetrics(&self.inner.registry)
    }
}

/// Raises a counter to a total that is kept elsewhere; it never falls.
fn raise(counter: &Counter, total: u64) {
    counter.inner().fetch_max(total, Ordering::Relaxed);
}

/// A number of things in memory as a gauge.
fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
