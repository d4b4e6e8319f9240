//! Puts the families together, in the order of the page. Families with few label sets begin
//! with all of them at zero, so that a rate exists before the first event.

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as UnorderedFamily;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::family::Family;
use super::history::HistoryMetrics;
use super::labels::{self, ConfigReload, EventKind, Stage};
use super::listed::Listed;
use super::names::{self, Description};
use super::owners::OwnedConnections;
use super::process::ProcessMetrics;
use super::{Families, Seconds};
use crate::connection::LibraryOutcome;
use crate::event::{Library, LossCause};
use crate::record::Scope;
use crate::verdict::Code;

/// Upper bounds of the byte histograms: 256 B (a plaintext peek) to 256 KiB (beyond every budget).
fn byte_buckets() -> impl Iterator<Item = f64> {
    std::iter::once(0.0).chain(exponential_buckets(256.0, 2.0, 11))
}

/// Upper bounds of the ratio, dense around the tenth that is the aim.
const RATIO_BUCKETS: [f64; 9] = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Upper bounds of latencies: 1 ms (one drain of the ring) to 33 s (a peer that takes its time).
fn latency_buckets() -> impl Iterator<Item = f64> {
    exponential_buckets(0.001, 2.0, 16)
}

/// Registers metrics by their descriptions.
struct Page(Registry);

impl Page {
    fn add<M>(&mut self, description: Description, metric: M) -> M
    where
        M: EncodeMetric + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let name = description.name.strip_suffix("_total").unwrap_or(description.name);
        self.0.register(name, description.help, metric.clone());
        metric
    }

    fn family<const N: usize, M>(&mut self, description: Description) -> Family<N, M>
    where
        M: EncodeMetric + prometheus_client::metrics::TypedMetric + Clone + Default,
        M: std::fmt::Debug + Send + Sync + 'static,
    {
        debug_assert_eq!(description.labels.len(), N, "{} has other labels", description.name);
        let names = std::array::from_fn(|index| description.labels.get(index).copied().unwrap_or_default());
        self.add(description, Family::new(names))
    }
}

pub(super) fn families(kernel: &str) -> Families {
    let mut page = Page(Registry::default());
    let build = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("kernel", kernel.to_owned())];
    let build_info = UnorderedFamily::<Vec<(&str, String)>, Gauge>::default();
    build_info.get_or_create(&build.to_vec()).set(1);
    page.add(names::BUILD_INFO, build_info);
    let healthy = page.add(names::HEALTHY, Gauge::default());
    let connections = page.family(names::CONNECTIONS);
    let owner_connections = page.add(names::OWNER_CONNECTIONS, OwnedConnections::default());
    let edges: Family<2, Gauge> = page.family(names::EDGES);
    for (scope, answer) in labels::edges() {
        edges.of([scope.as_str(), answer.as_str()]);
    }
    let edge_regressions: Family<3, Counter> = page.family(names::EDGE_REGRESSIONS);
    for scope in [Scope::Loopback, Scope::EastWest] {
        for (from, to) in labels::REGRESSIONS {
            edge_regressions.of([scope.as_str(), from.as_str(), to.as_str()]);
        }
    }
    let identity_blast_radius =
        page.add(names::IDENTITY_BLAST_RADIUS, Listed::new(names::IDENTITY_BLAST_RADIUS));
    let identity_blast_radius_left_out = page.add(names::IDENTITY_BLAST_RADIUS_LEFT_OUT, Gauge::default());
    let connections_open = page.add(names::CONNECTIONS_OPEN, Gauge::default());
    let findings: Family<3, Counter> = page.family(names::FINDINGS);
    for code in Code::ALL {
        for excepted in labels::EXCEPTED {
            findings.of([code.as_str(), code.severity().as_str(), excepted]);
        }
    }
    let exceptions_expired = page.add(names::EXCEPTIONS_EXPIRED, Gauge::default());
    let handshakes_failed: Family<1, Counter> = page.family(names::HANDSHAKES_FAILED);
    for scope in Scope::ALL {
        handshakes_failed.of([scope.as_str()]);
    }
    let certificates_seen = page.add(names::CERTIFICATES_SEEN, Counter::default());
    let certificates_parse_failed = page.add(names::CERTIFICATES_PARSE_FAILED, Counter::default());
    let certificate_expiry = page.add(names::CERTIFICATE_EXPIRY, Listed::new(names::CERTIFICATE_EXPIRY));
    let certificate_lifetime =
        page.add(names::CERTIFICATE_LIFETIME, Listed::new(names::CERTIFICATE_LIFETIME));
    let certificate_expiry_left_out = page.add(names::CERTIFICATE_EXPIRY_LEFT_OUT, Gauge::default());
    let library_files: Family<2, Gauge> = page.family(names::LIBRARY_FILES);
    for library in Library::ALL.map(Library::as_str).into_iter().chain([labels::OTHER]) {
        for state in labels::PROBE_STATES {
            library_files.of([library, state.as_str()]);
        }
    }
    let library_events_lost: Family<1, Counter> = page.family(names::LIBRARY_EVENTS_LOST);
    for cause in labels::LIBRARY_LOSSES {
        library_events_lost.of([cause]);
    }
    let library_files_passed_over: Family<1, Counter> = page.family(names::LIBRARY_FILES_PASSED_OVER);
    for reason in labels::PASSED_OVER {
        library_files_passed_over.of([reason]);
    }
    let unknown = page.family(names::UNKNOWN);
    let events: Family<1, Counter> = page.family(names::EVENTS);
    let events = EventKind::ALL.iter().map(|kind| events.of([kind.as_str()])).collect();
    let events_lost: Family<1, Counter> = page.family(names::EVENTS_LOST);
    for cause in LossCause::ALL {
        events_lost.of([cause.as_str()]);
    }
    let open_files_unseen: Family<1, Gauge> = page.family(names::OPEN_FILES_UNSEEN);
    for what in labels::OPEN_FILES {
        open_files_unseen.of([what]);
    }
    let library_evidence: Family<2, Counter> = page.family(names::LIBRARY_EVIDENCE);
    for library in Library::ALL {
        for outcome in LibraryOutcome::ALL {
            library_evidence.of([library.as_str(), outcome.as_str()]);
        }
    }
    let events_truncated: Family<1, Counter> = page.family(names::EVENTS_TRUNCATED);
    for reason in labels::TRUNCATION_REASONS {
        events_truncated.of([reason]);
    }
    let records: Family<1, Counter> = page.family(names::RECORDS);
    for schema in labels::SCHEMAS {
        records.of([schema]);
    }
    let handshake_bytes = page.add(names::HANDSHAKE_BYTES, Histogram::new(byte_buckets()));
    let shipped_beyond_handshake_bytes =
        page.add(names::SHIPPED_BEYOND_HANDSHAKE_BYTES, Histogram::new(byte_buckets()));
    let shipped_beyond_handshake_ratio =
        page.add(names::SHIPPED_BEYOND_HANDSHAKE_RATIO, Histogram::new(RATIO_BUCKETS));
    let decision_latency = page.add(names::DECISION_LATENCY, Histogram::new(latency_buckets()));
    let stages: Family<1, Seconds> = page.family(names::STAGE_SECONDS);
    let stages = Stage::ALL.iter().map(|stage| stages.of([stage.as_str()])).collect();
    let table_entries = page.family(names::TABLE_ENTRIES);
    let table_bound = page.family(names::TABLE_BOUND);
    let table_evictions = page.family(names::TABLE_EVICTIONS);
    let watch_clients = page.add(names::WATCH_CLIENTS, Gauge::default());
    let watch_records_dropped = page.add(names::WATCH_RECORDS_DROPPED, Counter::default());
    let history = HistoryMetrics {
        written: page.add(names::HISTORY_RECORDS, Counter::default()),
        lost: page.family(names::HISTORY_LOST),
        state: page.family(names::HISTORY_STATE),
        bytes: page.add(names::HISTORY_BYTES, Gauge::default()),
        oldest: page.add(names::HISTORY_OLDEST, super::process::SecondsGauge::default()),
        removed: page.family(names::HISTORY_REMOVED),
        batch: page.add(names::HISTORY_BATCH_SECONDS, Histogram::new(latency_buckets())),
    };
    history.begin();
    let config_reloads: Family<1, Counter> = page.family(names::CONFIG_RELOADS);
    for result in ConfigReload::ALL {
        config_reloads.of([result.as_str()]);
    }
    let config_last_reload_successful = page.add(names::CONFIG_LAST_RELOAD_SUCCESSFUL, Gauge::default());
    // The daemon only starts with a configuration that is right.
    config_last_reload_successful.set(1);
    let log_lines_suppressed = page.add(names::LOG_LINES_SUPPRESSED, Counter::default());
    let process = ProcessMetrics {
        cpu_seconds: page.add(names::PROCESS_CPU_SECONDS, Seconds::default()),
        resident_memory: page.add(names::PROCESS_RESIDENT_MEMORY, Gauge::default()),
        open_fds: page.add(names::PROCESS_OPEN_FDS, Gauge::default()),
        start_time: page.add(names::PROCESS_START_TIME, super::process::SecondsGauge::default()),
    };
    Families {
        registry: page.0,
        healthy,
        connections,
        owner_connections,
        edges,
        edge_regressions,
        identity_blast_radius,
        identity_blast_radius_left_out,
        connections_open,
        findings,
        handshakes_failed,
        certificates_seen,
        certificates_parse_failed,
        certificate_expiry,
        certificate_lifetime,
        certificate_expiry_left_out,
        library_files,
        library_events_lost,
        open_files_unseen,
        library_files_passed_over,
        unknown,
        events,
        events_lost,
        library_evidence,
        events_truncated,
        table_entries,
        table_bound,
        table_evictions,
        exceptions_expired,
        handshake_bytes,
        shipped_beyond_handshake_bytes,
        shipped_beyond_handshake_ratio,
        decision_latency,
        history,
        config_reloads,
        config_last_reload_successful,
        watch_clients,
        watch_records_dropped,
        log_lines_suppressed,
        records,
        stages,
        process,
    }
}
