//! The whole page against its golden, and against Prometheus' own linter.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::event::Timestamp;
use crate::publication::{Expiring, ExpiringCertificate, Reaching, Widest};
use crate::record::sample;
use crate::record::{
    Authentication, EndpointRecord, EvidenceRecord, GAP_SCHEMA, GapRecord, LabelsRecord, Scope, Severity,
    SideName, TlsRecord, WallTime,
};

const GOLDEN: &str = include_str!("golden.txt");
const SAMPLE: ProcessSample = ProcessSample {
    cpu_seconds: 1.5,
    resident_bytes: 4096,
    open_fds: 12,
    start_time_seconds: 1_700_000_000.5,
};

fn connection() -> ConnectionRecord {
    ConnectionRecord {
        r#final: true,
        scope: Scope::EastWest,
        client: EndpointRecord { process_unknown: Some("remote".into()), ..EndpointRecord::default() },
        server: EndpointRecord {
            process_unknown: Some("never_accepted".into()),
            ..EndpointRecord::default()
        },
        observed_from: vec![SideName::Server],
        protocol: "tls".into(),
        authentication: Authentication::Unknown,
        evidence: EvidenceRecord {
            server: EvidenceName::Inferred,
            client: EvidenceName::Unknown,
            reason: Some("early_data".into()),
            disagreement: None,
        },
        tls: Some(Arc::new(TlsRecord {
            version: Some("1.3".into()),
            handshake: "failed".into(),
            ..sample::tls()
        })),
        ..sample::connection(1)
    }
}

/// An end of which the file of owners says whose it is.
fn owned_by(owner: &str) -> EndpointRecord {
    let environment = Some("production".to_owned());
    let purpose = Some("sells \"things\"".to_owned());
    let labels = LabelsRecord { owner: Some(owner.to_owned()), purpose, environment };
    EndpointRecord { labels: Some(labels.into()), ..connection().client }
}

/// The certificate of a workload under a name, as many seconds before its end as it has lived.
fn expiring(workload: &str, identity: &str) -> ExpiringCertificate {
    ExpiringCertificate {
        workload: workload.to_owned(),
        role: SideName::Client,
        identity: identity.to_owned(),
        not_before: WallTime(1_700_000_000_500_000_000),
        not_after: WallTime(1_800_000_000_000_000_000),
    }
}

fn reaching(identity: &str, servers: u64) -> Reaching {
    Reaching { identity: identity.to_owned(), servers }
}

/// Everything counted at least once.
fn busy() -> Metrics {
    let metrics = Metrics::new("6.1.0-test");
    metrics.connection(&connection());
    let plain = ConnectionRecord {
        observed_from: vec![SideName::Client, SideName::Server],
        protocol: "chosen by a hostile peer\n".into(),
        authentication: Authentication::None,
        evidence: EvidenceRecord {
            server: EvidenceName::None,
            client: EvidenceName::None,
            reason: None,
            disagreement: None,
        },
        capture_reason: Some("budget".into()),
        tls: None,
        ..connection()
    };
    metrics.connection(&plain);
    metrics.connection(&ConnectionRecord { client: owned_by("web \"team\"\u{1b}\n"), ..plain });
    metrics.healthy(true);
    metrics.edges(
        &[((Scope::EastWest, Authentication::Mutual), 3), ((Scope::Loopback, Authentication::None), 2)]
            .into(),
    );
    metrics.regression(Scope::EastWest, Authentication::Mutual, Authentication::None);
    metrics.regression(Scope::Loopback, Authentication::Psk, Authentication::Anonymous);
    let widest = vec![reaching("spiffe://prod/ns/shop/sa/web", 12), reaching("\u{202e}\"a\n", 1)];
    metrics.blast_radius(&Widest { identities: widest, left_out: 5 });
    let certificates = vec![
        expiring("systemd:billing.service", "spiffe://prod/billing"),
        expiring("executable:/tmp/\u{1b}[2J", "sha256:0123456789abcdef"),
    ];
    metrics.certificates_expiring(&Expiring { certificates, left_out: 4 });
    metrics.open_connections(7);
    metrics.finding(Code::UnauthenticatedEastWest, Severity::High, false);
    metrics.finding(Code::UnauthenticatedEastWest, Severity::High, true);
    metrics.exceptions_expired(1);
    metrics.certificate(true);
    metrics.certificate(false);
    metrics.shipped(3_000, 0);
    metrics.shipped(20_000, 300);
    metrics.decided_after(Duration::from_millis(3));
    metrics.event(&Event::Subflow { at: Timestamp(0), socket: crate::event::SocketCookie(1) });
    metrics.lost(LossCause::RingFull, 5);
    let mut counts = LibraryCounts::default();
    counts.add(Library::Go, LibraryOutcome::Ambiguous);
    metrics.library_evidence(&counts);
    counts.add(Library::Go, LibraryOutcome::Ambiguous);
    metrics.library_evidence(&counts);
    metrics.truncated("budget");
    metrics.table("connections", 7, 65_536);
    metrics.table_evictions("connections", 3);
    metrics.table_evictions("connections", 4);
    metrics.config_reload(ConfigReload::Refused);
    metrics.history_batch(1_000, Duration::from_millis(20));
    metrics.history_lost(HistoryLoss::Full, 17);
    metrics.history_removed(HistoryRemoval::Folded, 3);
    metrics.history_state(HistoryState::Full);
    metrics.history_size(4096, Some(WallTime(1_700_000_000_500_000_000)));
    metrics.watch_clients(2);
    metrics.watch_records_dropped(9);
    metrics.log_lines_suppressed(11);
    let gap = GapRecord {
        schema: GAP_SCHEMA.into(),
        from: None,
        to: WallTime(0),
        cause: "ring_full".to_owned(),
        lost: None,
    };
    metrics.record(&Record::Gap(Arc::new(gap)));
    metrics.stage(Stage::Publish, Duration::from_millis(250));
    metrics
}

#[test]
fn the_page_is_as_the_golden_has_it() {
    let page = busy().render_with(&SAMPLE).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var_os("COUNTERSIGN_UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/golden.txt");
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(page, GOLDEN, "set COUNTERSIGN_UPDATE_GOLDEN=1 if the change is wanted");
}

#[test]
fn every_family_is_on_the_page_once_and_in_order() {
    let page = busy().render_with(&SAMPLE);
    let families: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let described: Vec<&str> = names::ALL
        .iter()
        .map(|description| description.name.strip_suffix("_total").unwrap_or(description.name))
        .collect();
    assert_eq!(families, described);
}

#[test]
fn what_a_peer_sends_never_becomes_a_label() {
    let metrics = busy();
    for number in 0..1000 {
        let protocol = format!("protocol {number}");
        metrics.connection(&ConnectionRecord { protocol: protocol.into(), ..connection() });
        metrics.unknown("process", &format!("reason {number}"));
        metrics.table(&format!("table {number}"), 1, 1);
        metrics.truncated(&format!("reason {number}"));
    }
    let added = metrics.render_with(&SAMPLE).lines().count() - busy().render_with(&SAMPLE).lines().count();
    assert!(added <= 6, "{added} new lines");
}

#[test]
fn a_file_of_a_thousand_owners_makes_a_bounded_page_and_loses_no_connection() {
    let metrics = Metrics::new("6.1.0-test");
    for number in 0..1000 {
        let client = owned_by(&format!("team {}", number % 500));
        metrics.connection(&ConnectionRecord {
            client,
            observed_from: vec![SideName::Client],
            ..connection()
        });
    }
    let page = metrics.render_text();
    let counts: Vec<u64> = page
        .lines()
        .filter(|line| line.starts_with("countersign_owner_connections_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (owners::MAX_OWNERS + 1, 1000));
    let others =
        r#"{owner="other",purpose="other",environment="other",role="client",authentication="unknown"} 872"#;
    assert!(page.contains(others), "{page}");
    // Owners that a new file names are told apart, however many there were before.
    metrics.forget_owners();
    let renamed = ConnectionRecord {
        client: owned_by("renamed"),
        observed_from: vec![SideName::Client],
        ..connection()
    };
    metrics.connection(&renamed);
    let page = metrics.render_text();
    assert!(
        page.contains(r#"{owner="renamed",purpose="sells \"things\"",environment="production""#),
        "{page}"
    );
    assert!(!page.contains(r#"{owner="other""#), "{page}");
}

#[test]
fn names_that_are_the_same_once_they_are_cut_are_one_sample() {
    let metrics = Metrics::new("6.1.0-test");
    let long = |end: &str| format!("{}{end}", "x".repeat(5000));
    let later =
        ExpiringCertificate { not_after: WallTime(1_900_000_000_000_000_000), ..expiring("w", &long("b")) };
    let certificates = vec![expiring("w", &long("a")), later];
    metrics.certificates_expiring(&Expiring { certificates, left_out: 0 });
    metrics.blast_radius(&Widest {
        identities: vec![reaching(&long("a"), 3), reaching(&long("b"), 2)],
        left_out: 0,
    });
    let page = metrics.render_text();
    for family in
        ["certificate_expiry_timestamp_seconds", "certificate_lifetime_seconds", "identity_blast_radius"]
    {
        let prefix = format!("countersign_{family}{{");
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(&prefix)).collect();
        assert!(lines.len() == 1 && lines[0].len() < 400 && lines[0].contains("xx…"), "{lines:?}");
    }
    assert!(page.contains("…\"} 1800000000\n"), "the one with the least of its life left");
    assert!(page.contains("…\"} 100000000\n") && page.contains("…\"} 3\n"), "its life, and the widest");
    // What is not told any more is not on the next page.
    metrics.certificates_expiring(&Expiring::default());
    metrics.blast_radius(&Widest::default());
    assert!(!metrics.render_text().contains("xx…"));
}

#[test]
fn readers_of_the_older_format_get_counters_under_their_full_name() {
    let (content_type, page) = busy().page(None);
    assert_eq!(content_type, TEXT_CONTENT_TYPE);
    assert!(page.contains("# TYPE countersign_events_lost_total counter\n"));
    assert!(page.contains("\ncountersign_events_lost_total{cause=\"ring_full\"} 5\n"));
    assert!(!page.contains("# EOF") && !page.contains("_total_total"));
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let (content_type, page) = busy().page(Some(accept));
    assert_eq!(content_type, OPENMETRICS_CONTENT_TYPE);
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn a_scrape_later_counts_processor_time_up_and_never_down() {
    let metrics = busy();
    metrics.render_with(&SAMPLE);
    let later = metrics.render_with(&ProcessSample { cpu_seconds: 2.0, ..SAMPLE });
    assert!(later.contains("\nprocess_cpu_seconds_total 2.0\n"));
    assert!(metrics.render_with(&SAMPLE).contains("\nprocess_cpu_seconds_total 2.0\n"));
}

/// Prometheus' own linter; skipped, by name, where it is not installed.
#[test]
fn promtool_finds_nothing_to_say() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = spawned else {
        eprintln!("skipped promtool_finds_nothing_to_say: promtool is not installed (Debian: prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(busy().render_text().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
}
