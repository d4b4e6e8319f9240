//! The connections of a busy host, always the same ones.

use std::sync::Arc;

use countersign::record::{
    ByteCounts, CertificateRecord, CloseReasonName, ConnectionRecord, EndpointRecord, FINDING_SCHEMA,
    FindingRecord, ProcessRecord, Record, Scope, Severity, WallTime,
};
use serde_json::json;

pub const WORKLOADS: u64 = 300;
const EDGES: u64 = 3_000;
const CERTIFICATES: u64 = 5_000;
/// Clients from elsewhere.
const VISITORS: u64 = 50_000;
/// Servers of so many edges are reached from elsewhere.
const PUBLIC: u64 = 16;
/// One of so many connections is written twice, since it lasts.
pub const LASTING: u64 = 20;
/// One of so many connections is from elsewhere.
const FOREIGN: u64 = 10;
/// One of so many connections is from a process that lives for it alone.
const SHORT_LIVED: u64 = 50;
/// Nanoseconds between two connections: 5,000 a second.
const PAUSE: i64 = 200_000;
const BEGIN: i64 = 1_790_000_000_000_000_000;
const DAY: i64 = 86_400_000_000_000;

/// A number that looks like chance and is always the same (splitmix64).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One of `count`, the first ones far more often than the last ones.
pub fn skewed(number: u64, count: u64) -> u64 {
    let part = (mix(number) >> 11) as f64 / (1_u64 << 53) as f64;
    ((part * part * part) * count as f64) as u64
}

pub fn opened(number: u64) -> i64 {
    BEGIN + number.cast_signed() * PAUSE + (mix(number) % 100_000).cast_signed()
}

pub fn id(number: u64) -> String {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&mix(number).to_be_bytes());
    let milliseconds = (opened(number) / 1_000_000).cast_unsigned();
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &chance).into_uuid().hyphenated().to_string()
}

pub fn fingerprint(number: u64) -> String {
    format!("{:016x}{:016x}{:016x}{:016x}", mix(number), mix(number + 1), mix(number + 2), number)
}

/// Names of a workload.
pub fn workload(of: u64) -> String {
    format!("shop/service-{of}")
}

pub fn identity(of: u64) -> String {
    format!("spiffe://prod/ns/shop/sa/service-{of}")
}

pub fn address(of: u64) -> String {
    format!("10.1.{}.{}", of / 200, of % 200 + 1)
}

pub fn visitor(number: u64) -> String {
    let visitor = skewed(number + 5, VISITORS);
    format!("203.{}.{}.{}", visitor >> 16, (visitor >> 8) & 255, visitor & 255)
}

/// What the connections have in common.
pub struct Host {
    edges: Vec<ConnectionRecord>,
    /// With clients from elsewhere, who show nothing: else there were more identities than certificates.
    public: Vec<ConnectionRecord>,
}

impl Host {
    pub fn make() -> Host {
        let with = |scope| move |number| edge(number, scope);
        Host {
            edges: (0..EDGES).map(with(Scope::EastWest)).collect(),
            public: (0..PUBLIC).map(with(Scope::NorthSouth)).collect(),
        }
    }

    pub fn repeated(&self) -> Vec<Record> {
        let certificate = |number| {
            let identity = identity(number % WORKLOADS);
            Record::Certificate(Arc::new(CertificateRecord {
                sha256: fingerprint(number),
                spki_sha256: Some(fingerprint(number / 2)),
                subject: Some(format!("CN=service-{}", number % WORKLOADS)),
                issuer: Some("CN=Intermediate CA 1,O=Example".to_owned()),
                serial: Some(format!("{:032x}", mix(number))),
                spiffe_id: Some(identity),
                not_before: Some(WallTime(BEGIN - 30 * DAY)),
                not_after: Some(WallTime(BEGIN + (mix(number) % 360).cast_signed() * DAY)),
                first_seen: Some(WallTime(BEGIN)),
                ..CertificateRecord::default()
            }))
        };
        let finding = |number: u64| {
            Record::Finding(Arc::new(FindingRecord {
                schema: FINDING_SCHEMA.into(),
                id: format!("finding-{number}"),
                code: "server_only_tls_east_west".into(),
                severity: Severity::Medium,
                host: None,
                connection: Some(id(number)),
                certificate: None,
                workload: Some(workload(number % WORKLOADS)),
                edge: None,
                first_seen: WallTime(opened(number)),
                last_seen: WallTime(opened(number)),
                resolved: None,
                count: 1 + mix(number) % 1_000,
                summary: "a workload reached another one without showing a certificate".to_owned(),
                remedy: "give the client a certificate".into(),
                controls: Vec::new(),
                exception: None,
            }))
        };
        (0..CERTIFICATES).map(certificate).chain((0..EDGES).map(finding)).collect()
    }

    /// The last word on a connection.
    pub fn connection(&self, number: u64) -> ConnectionRecord {
        let foreign = number.is_multiple_of(FOREIGN);
        let edge = skewed(number, EDGES);
        let mut record = match foreign {
            true => self.public[(edge % PUBLIC) as usize].clone(),
            false => self.edges[edge as usize].clone(),
        };
        let opened = opened(number);
        let lasted = 2_000_000 + (mix(number + 7) % 40_000_000).cast_signed();
        record.id = id(number);
        record.revision = u32::from(number.is_multiple_of(LASTING));
        record.r#final = true;
        record.opened = WallTime(opened);
        record.decided = Some(WallTime(opened + 1_500_000));
        record.closed = Some(WallTime(opened + lasted));
        record.close_reason = Some(CloseReasonName::Fin);
        record.session_id = record.tls.is_some().then(|| fingerprint(number)[..32].to_owned());
        record.bytes = Some(ByteCounts {
            client_to_server: 200 + mix(number) % 4_000,
            server_to_client: 1_000 + mix(number + 3) % 60_000,
        });
        record.client.port = 32_768 + (mix(number) % 28_000) as u16;
        if foreign {
            record.client.address = visitor(number);
        } else if number % SHORT_LIVED == 1 {
            short_lived(&mut record, number);
        }
        record
    }
}

/// The client's process is one that no other connection has.
fn short_lived(record: &mut ConnectionRecord, number: u64) {
    let Some(process) = &record.client.process else { return };
    let process = Arc::new(ProcessRecord {
        pid: 1_000 + (mix(number) % 30_000) as u32,
        start_time: number,
        started: Some(WallTime(opened(number) - 1_000_000)),
        ..ProcessRecord::clone(process)
    });
    for holder in &mut record.client.processes {
        holder.process = Arc::clone(&process);
    }
    record.client.process = Some(process);
}

/// An edge, as the records of its connections have it.
fn edge(number: u64, scope: Scope) -> ConnectionRecord {
    let (client, server) = (mix(number) % WORKLOADS, mix(number * 3 + 1) % WORKLOADS);
    let foreign = scope == Scope::NorthSouth;
    let mutual = number.is_multiple_of(3) && !foreign;
    let process = |of: u64| {
        json!({
            "pid": 1_000 + of, "start_time": 5_000 + of, "started": "2026-09-01T00:00:00.000000000Z",
            "executable": format!("/usr/bin/service-{of}"), "comm": format!("service-{of}"), "uid": 1_000 + of % 50,
            "user": format!("service{}", of % 50), "parents": [{"pid": 1, "start_time": 1, "comm": "systemd"}],
            "namespace_pid": 1, "pid_namespace": 4_026_531_836_u64, "executable_device": "0:65024",
            "executable_inode": 1_000 + of,
        })
    };
    let end = |of: u64, port: u64, shown: bool, role: &str| {
        let (leaf, root) = (of + WORKLOADS * (number % 16), 4_999);
        let certificates = if shown { vec![fingerprint(leaf), fingerprint(root)] } else { Vec::new() };
        json!({
            "address": address(of), "port": port, "translated": [],
            "netns": 4_026_532_000_u64 + of, "process": process(of), "process_unknown": null,
            "processes": [{"process": process(of), "role": role, "source": "getpeername"}],
            "owner_source": role, "certificates": certificates,
            "workload": {"kind": "kubernetes", "name": workload(of), "namespace": "shop",
                "pod": format!("service-{of}-7d9c5b9f4-x2x{}", of % 10), "container": "app",
                "image": format!("registry.example/shop/service-{of}:1.{}", of % 40), "unknown": "service_account"},
            "identity": shown.then(|| identity(of)),
        })
    };
    let record = json!({
        "schema": "countersign.connection/1", "id": "", "revision": 0, "final": true, "session_id": null,
        "host": "node-17.example", "host_id": "9f1c9b8f5a3e4d2c8b7a6f5e4d3c2b1a",
        "boot_id": "0c0b7a3e-0000-4000-8000-000000000000", "agent_version": "0.1.0", "source": "live", "file": null,
        "opened": "2026-09-01T00:00:00.000000000Z", "decided": null, "closed": null, "close_reason": null,
        "scope": "east_west", "interface": "eth0", "client": end(client, 0, mutual, "connect"),
        "server": end(server, 8_000 + number % 7, !number.is_multiple_of(11), "accept"), "observed_from": ["client", "server"],
        "protocol": "tls", "upgraded_from": null, "encryption": "tls",
        "authentication": if mutual { "mutual" } else { "server_only" },
        "evidence": {"server": "library", "client": "inferred", "reason": null, "disagreement": null},
        "confidence": {"server": "high", "client": "medium"}, "credential_in_clear": null,
        "cleartext_examined": {"client": 0, "server": 0}, "capture_complete": true, "capture_reason": null,
        "tls": tls(server, number, mutual),
        "findings": if mutual || foreign { vec![] } else { vec!["server_only_tls_east_west"] }, "authorization": null,
        "policy_version": "3f9a5c1e2b7d4860", "bytes": null,
    });
    let mut record: ConnectionRecord =
        serde_json::from_value(record).unwrap_or_else(|error| panic!("the generator's record: {error}"));
    if foreign {
        record.scope = scope;
        record.client =
            EndpointRecord { process_unknown: Some("remote".into()), ..EndpointRecord::default() };
    }
    record
}

fn tls(server: u64, number: u64, mutual: bool) -> serde_json::Value {
    json!({"version_offered": "1.3", "version": "1.3", "cipher_suite": "TLS_AES_128_GCM_SHA256",
            "cipher_suite_id": "0x1301", "group": "x25519", "server_name": format!("service-{server}.shop.svc"),
            "alpn_offered": ["h2", "http/1.1"], "alpn": null, "ja4": format!("t13d1516h2_8daaf6152771_{:012x}", number % 40),
            "resumed": "no", "early_data": false, "hello_retry_request": false, "encrypted_client_hello": false,
            "ocsp_staple": null, "client_authentication": if mutual { "presented" } else { "not_requested" },
            "client_authentication_outcome": null, "alerts": [], "history": "Cse", "handshake": "complete"})
}
