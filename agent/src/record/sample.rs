//! Records for tests: nothing is known of them but what the test says.

use super::*;

/// What a daemon with one probed file says.
pub(crate) fn library_files() -> LibraryFiles {
    LibraryFiles { enabled: true, files: vec![library_file()] }
}

/// A file that is probed.
pub(crate) fn library_file() -> LibraryFileRecord {
    LibraryFileRecord {
        schema: LIBRARY_SCHEMA.to_owned(),
        path: "/usr/lib/x86_64-linux-gnu/libcrypto.so.3".to_owned(),
        inode: 42,
        device: 65024,
        library: Some("openssl".to_owned()),
        version: Some("3.0.17".to_owned()),
        state: ProbeState::Probed,
        reason: None,
        processes: vec![7, 9],
        process_count: 2,
    }
}

/// A connection of which nothing is known.
pub(crate) fn connection(number: u32) -> ConnectionRecord {
    let evidence = EvidenceRecord {
        server: EvidenceName::None,
        client: EvidenceName::None,
        reason: None,
        disagreement: None,
    };
    ConnectionRecord {
        schema: CONNECTION_SCHEMA.into(),
        id: format!("{number:08}"),
        revision: 1,
        r#final: false,
        session_id: None,
        host: None,
        host_id: None,
        boot_id: None,
        agent_version: None,
        source: "live".into(),
        file: None,
        opened: WallTime(0),
        decided: None,
        closed: None,
        close_reason: None,
        scope: Scope::Loopback,
        interface: None,
        client: EndpointRecord { address: "127.0.0.1".into(), port: 50_000, ..EndpointRecord::default() },
        server: EndpointRecord { address: "127.0.0.1".into(), port: 80, ..EndpointRecord::default() },
        observed_from: vec![],
        protocol: "http/1".into(),
        upgraded_from: None,
        encryption: Encryption::None,
        authentication: Authentication::None,
        evidence,
        confidence: ConfidenceRecord { server: None, client: None },
        credential_in_clear: None,
        cleartext_examined: DirectionBytes::default(),
        capture_complete: true,
        capture_reason: None,
        tls: None,
        findings: vec![],
        authorization: None,
        policy_version: None,
        bytes: None,
    }
}

/// TLS of which nothing is known but that the handshake is over.
pub(crate) fn tls() -> TlsRecord {
    TlsRecord {
        version_offered: None,
        version: None,
        cipher_suite: None,
        cipher_suite_id: None,
        group: None,
        server_name: None,
        alpn_offered: vec![],
        alpn: None,
        ja4: None,
        resumed: "no".into(),
        early_data: false,
        hello_retry_request: false,
        encrypted_client_hello: false,
        encrypted_client_hello_form: None,
        ocsp_staple: None,
        delegated_credential_offered: false,
        certificate_compression_offered: vec![],
        raw_public_key_offered: false,
        client_certificate_type: None,
        server_certificate_type: None,
        client_public_key_sha256: None,
        server_public_key_sha256: None,
        client_authentication: "unknown".into(),
        client_authentication_outcome: None,
        alerts: vec![],
        history: String::new(),
        handshake: "complete".into(),
    }
}

/// A workload that presented one leaf, to verifying peers.
pub(crate) fn known_workload(name: &str) -> KnownWorkloadRecord {
    let workload = WorkloadRecord { kind: "systemd".into(), name: name.into(), ..WorkloadRecord::default() };
    let seen = |authentication, connections| RoleRecord {
        connections,
        authentication: [(authentication, connections)].into(),
        unknown: Default::default(),
    };
    let leaf = PresentedRecord {
        sha256: "ab".repeat(32),
        spki_sha256: Some("cd".repeat(32)),
        identity: Some(format!("{name}.test")),
        spiffe_id: None,
        san: SubjectAlternativeNames { dns: vec![format!("{name}.test")], ..Default::default() },
        subject: Some(format!("CN={name}")),
        issuer: Some("CN=issuer".to_owned()),
        not_before: Some(WallTime(0)),
        not_after: Some(WallTime(1_800_000_000_000_000_000)),
        names_left_out: 0,
        client: 3,
        server: 0,
        verification: [(VerificationName::Verified, 2)].into(),
        parse_error: None,
        identity_fit: None,
        first_seen: WallTime(0),
        last_seen: WallTime(1_700_000_000_000_000_000),
    };
    KnownWorkloadRecord {
        schema: WORKLOAD_SCHEMA.into(),
        key: workload.key(),
        host: Some("host".to_owned()),
        workload: workload.into(),
        labels: None,
        process: Some(LastProcessRecord { pid: 7, start_time: 1, comm: name.to_owned() }),
        executables: vec!["/usr/bin/true".to_owned()],
        users: vec!["root".to_owned()],
        first_seen: WallTime(0),
        last_seen: WallTime(1_700_000_000_000_000_000),
        open_connections: 1,
        client: seen(Authentication::Mutual, 3),
        server: seen(Authentication::None, 2),
        scopes: [(Scope::EastWest, 5)].into(),
        findings: [("unauthenticated_east_west".into(), 2)].into(),
        certificates: vec![leaf],
        left_out: LeftOutRecord::default(),
    }
}

/// A unit of the system.
pub(crate) fn unit(name: &str) -> WorkloadRecord {
    WorkloadRecord {
        kind: "systemd".into(),
        name: name.to_owned(),
        unit: Some(name.to_owned()),
        ..WorkloadRecord::default()
    }
}
