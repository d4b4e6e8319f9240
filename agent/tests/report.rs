//! The report opens in a browser without a complaint, and names in it stay text.

#![expect(clippy::unwrap_used, reason = "a test program; clippy's exemption covers test functions only")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use countersign::record::{CertificateRecord, ConnectionRecord, FindingRecord, Record, WallTime};
use countersign::report::report;
use countersign::store::{Reader, Writer};
use serde_json::{Value, json};

/// Noon of the day on which the report is made.
const NOW: i64 = 1_790_078_400_000_000_000;
const MINUTE: i64 = 60_000_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Client, server, port, what is established, how many.
const EDGES: [(&str, &str, u16, &str, u32); 16] = [
    ("web.service", "api.service", 8443, "mutual", 240),
    ("web.service", "redis.service", 6379, "none", 90),
    ("api.service", "postgresql.service", 5432, "server_only", 120),
    ("api.service", "payments.service", 8443, "mutual", 60),
    ("payments.service", "postgresql.service", 5432, "mutual", 40),
    ("payments.service", "vault.service", 8200, "mutual", 12),
    ("cron.service", "postgresql.service", 5432, "none", 24),
    ("backup.service", "postgresql.service", 5432, "unknown", 3),
    ("metrics.service", "api.service", 9100, "none", 48),
    ("metrics.service", "payments.service", 9100, "none", 48),
    ("metrics.service", "web.service", 9100, "server_only", 48),
    ("legacy.service", "ldap.service", 636, "anonymous", 5),
    ("worker.service", "queue.service", 5671, "psk", 30),
    ("api.service", "queue.service", 5671, "mutual", 75),
    ("partner.service", "api.service", 8443, "not_established", 7),
    ("<script>document.title='owned'</script>", "\"><img src=x onerror=alert(1)>\u{202e}", 443, "none", 2),
];

fn id(opened: i64, number: u64) -> String {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&number.to_be_bytes());
    let id = uuid::Builder::from_unix_timestamp_millis((opened / 1_000_000).cast_unsigned(), &chance);
    id.into_uuid().hyphenated().to_string()
}

fn time(at: i64) -> Value {
    serde_json::to_value(WallTime(at)).unwrap()
}

fn end(name: &str, port: u16, certificate: Option<usize>) -> Value {
    let kind = if name.ends_with(".service") { "systemd" } else { "container" };
    json!({
        "address": "10.0.0.1", "port": port, "translated": [], "processes": [],
        "workload": { "kind": kind, "name": name, "unit": name },
        "certificates": certificate.map(sha256).into_iter().collect::<Vec<_>>(),
        "identity": certificate.map(|_| format!("spiffe://example.org/{name}")),
    })
}

fn sha256(number: usize) -> String {
    format!("{number:02x}").repeat(32)
}

fn connection(edge: usize, opened: i64, number: u64) -> Record {
    let (client, server, port, authentication, _) = EDGES[edge];
    let encryption = if authentication == "none" { "none" } else { "tls" };
    let is = |wanted: &[&str]| wanted.contains(&authentication);
    let findings = if is(&["none"]) { json!(["unauthenticated_east_west"]) } else { json!([]) };
    let record: ConnectionRecord = serde_json::from_value(json!({
        "schema": "countersign.connection/1", "id": id(opened, number), "revision": 1, "final": true,
        "host": "db-7.example.org", "source": "live", "opened": time(opened), "closed": time(opened + MINUTE / 60),
        "close_reason": "fin", "scope": if edge % 5 == 3 { "loopback" } else { "east_west" },
        "client": end(client, 40_000, is(&["mutual"]).then_some(edge)),
        "server": end(server, port, is(&["mutual", "server_only"]).then_some(edge + 32)),
        "observed_from": ["client", "server"], "protocol": "tls", "encryption": encryption,
        "authentication": authentication,
        "evidence": { "server": "certificate", "client": "certificate", "reason": is(&["unknown"]).then_some("mid_stream") },
        "confidence": {}, "cleartext_examined": { "client": 0, "server": 0 }, "capture_complete": !is(&["unknown"]),
        "capture_reason": is(&["unknown"]).then_some("mid_stream"), "findings": findings,
    }))
    .unwrap();
    Record::Connection(Arc::new(record))
}

fn certificate(number: usize, name: &str) -> Record {
    Record::Certificate(Arc::new(CertificateRecord {
        schema: "countersign.certificate/1".to_owned(),
        sha256: sha256(number),
        subject: Some(format!("CN={name}")),
        issuer: Some("CN=Issuing CA 2,O=Example".to_owned()),
        spiffe_id: Some(format!("spiffe://example.org/{name}")),
        not_before: Some(WallTime(NOW - 90 * DAY)),
        not_after: Some(WallTime(NOW + (number as i64 * 7 - 3) * DAY)),
        first_seen: Some(WallTime(NOW - DAY)),
        ..CertificateRecord::default()
    }))
}

fn finding(edge: usize) -> Record {
    let (client, server, port, ..) = EDGES[edge];
    let record: FindingRecord = serde_json::from_value(json!({
        "schema": "countersign.finding/1", "id": format!("f{edge}"), "code": "unauthenticated_east_west", "severity": "high",
        "edge": format!("{client} → {server}:{port}"), "first_seen": time(NOW - DAY), "last_seen": time(NOW - MINUTE), "count": 1,
        "summary": format!("{client} reached {server}:{port} and neither side proved who it is"),
        "remedy": "Put the service behind mutual TLS, or record who accepts this and until when in an [[exception]].",
        "controls": ["NIST CSF 2.0 PR.AA-03", "NIST SP 800-207 tenet 2", "OWASP NHI4:2025"],
    }))
    .unwrap();
    Record::Finding(Arc::new(record))
}

/// A history of a day, and the report of it.
fn made(folder: &Path) -> PathBuf {
    let mut records = Vec::new();
    for (edge, (client, server, _, authentication, count)) in EDGES.into_iter().enumerate() {
        for number in 0..count {
            let number = u64::from(number) * 64 + edge as u64;
            records.push(connection(edge, NOW - DAY + number as i64 * MINUTE / 16, number));
        }
        match authentication {
            "mutual" => records.extend([certificate(edge, client), certificate(edge + 32, server)]),
            "server_only" => records.push(certificate(edge + 32, server)),
            "none" => records.push(finding(edge)),
            _ => {}
        }
    }
    records.push(Record::Gap(Arc::new(
        serde_json::from_value(json!({
            "schema": "countersign.gap/1", "from": time(NOW - DAY), "to": time(NOW - DAY + MINUTE),
            "cause": "agent_down", "lost": null,
        }))
        .unwrap(),
    )));
    let file = folder.join("countersign.db");
    Writer::open(&file).unwrap().write(&records).unwrap();
    let page = report(&Reader::open(&file).unwrap(), WallTime(NOW)).unwrap();
    let output = folder.join("report.html");
    std::fs::write(&output, page).unwrap();
    output
}

/// Chromium, if it is installed.
#[expect(clippy::print_stdout, reason = "a test says why it is skipped")]
fn chromium(folder: &Path, arguments: &[&str], page: &Path) -> Option<(String, String)> {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--timeout=30000",
            &profile,
        ])
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("chromium: {error}"),
        Err(error) => {
            println!("skipped: chromium cannot be started ({error}); `cargo xtask setup` installs it");
            return None;
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some((text(&output.stdout), text(&output.stderr)))
}

#[test]
fn a_browser_shows_the_report_and_complains_about_nothing() {
    let folder = std::env::temp_dir().join(format!("countersign-report-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let page = made(&folder);
    let Some((document, log)) = chromium(&folder, &["--dump-dom"], &page) else { return };
    assert!(!log.contains("CONSOLE"), "the browser complains: {log}");
    assert!(document.contains("<title>Countersign report</title>"), "a name ran");
    assert!(!document.contains("<script") && !document.contains("<img"), "a name became an element");
    assert!(document.contains("web.service"));
    let screenshot = format!("--screenshot={}", folder.join("report.png").display());
    chromium(&folder, &[&screenshot, "--window-size=1100,3400", "--hide-scrollbars"], &page);
    assert!(std::fs::metadata(folder.join("report.png")).unwrap().len() > 20_000, "the page is not empty");
    // A page whose policy is broken is complained about: the browser would have said so.
    let text =
        std::fs::read_to_string(&page).unwrap().replacen("<style>", "<style>b{color:red}</style><style>", 1);
    let broken = folder.join("broken.html");
    std::fs::write(&broken, text).unwrap();
    let Some((_, log)) = chromium(&folder, &["--dump-dom"], &broken) else { return };
    assert!(log.contains("CONSOLE"), "{log}");
    if std::env::var_os("COUNTERSIGN_KEEP").is_none() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
