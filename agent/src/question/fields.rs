//! Which fields `countersign.connection/1` has.

use std::sync::OnceLock;

use serde_json::Value;

use crate::record::{
    AlertRecord, Authentication, ByteCounts, CONNECTION_SCHEMA, ConfidenceRecord, ConnectionRecord,
    DirectionBytes, Encryption, EndpointRecord, EvidenceName, EvidenceRecord, HolderRecord, IdentityFitName,
    IdentityFitRecord, LabelsRecord, ParentRecord, ProcessRecord, Scope, SideName, TlsRecord, WallTime,
    WorkloadRecord,
};

/// Whether the record has a field of this path that is a single value or a list of them.
pub(super) fn is_field(path: &str) -> bool {
    static ALL: OnceLock<Value> = OnceLock::new();
    let mut value = ALL.get_or_init(|| serde_json::to_value(with_every_field()).unwrap_or_default());
    for name in path.split('.') {
        while let Value::Array(elements) = value {
            let Some(first) = elements.first() else { return false };
            value = first;
        }
        let Some(next) = value.get(name) else { return false };
        value = next;
    }
    match value {
        Value::Array(elements) => !elements.first().is_some_and(Value::is_object),
        value => !value.is_object(),
    }
}

/// A record in which whatever has fields is there.
pub(super) fn with_every_field() -> ConnectionRecord {
    let process = ProcessRecord { parents: vec![ParentRecord::default()], ..ProcessRecord::default() };
    let holder = HolderRecord { process: process.clone().into(), role: "".into(), source: "".into() };
    let fit =
        IdentityFitRecord { status: IdentityFitName::Unknown, rule: None, expected: vec![], reason: None };
    let end = || EndpointRecord {
        process: Some(process.clone().into()),
        processes: vec![holder.clone()],
        workload: Some(WorkloadRecord::default().into()),
        labels: Some(LabelsRecord::default().into()),
        identity_fit: Some(fit.clone().into()),
        ..EndpointRecord::default()
    };
    ConnectionRecord {
        schema: CONNECTION_SCHEMA.into(),
        id: String::new(),
        revision: 0,
        r#final: false,
        session_id: None,
        host: None,
        host_id: None,
        boot_id: None,
        agent_version: None,
        source: "".into(),
        file: None,
        opened: WallTime(0),
        decided: None,
        closed: None,
        close_reason: None,
        scope: Scope::Loopback,
        interface: None,
        client: end(),
        server: end(),
        observed_from: vec![],
        protocol: "".into(),
        upgraded_from: None,
        encryption: Encryption::Unknown,
        authentication: Authentication::Unknown,
        evidence: EvidenceRecord {
            server: EvidenceName::None,
            client: EvidenceName::None,
            reason: None,
            disagreement: None,
        },
        confidence: ConfidenceRecord { server: None, client: None },
        credential_in_clear: None,
        cleartext_examined: DirectionBytes::default(),
        capture_complete: false,
        capture_reason: None,
        tls: Some(tls().into()),
        findings: vec![],
        authorization: None,
        policy_version: None,
        bytes: Some(ByteCounts::default()),
    }
}

fn tls() -> TlsRecord {
    let alert = AlertRecord { from: SideName::Client, level: "".into(), description: "".into() };
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
        resumed: "".into(),
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
        client_authentication: "".into(),
        client_authentication_outcome: None,
        alerts: vec![alert],
        history: String::new(),
        handshake: "".into(),
    }
}
