//! Which fields records have, by which they can be chosen.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::Value;

use super::{Condition, QuestionError};
use crate::record::{
    AlertRecord, Authentication, ByteCounts, CERTIFICATE_SCHEMA, CONNECTION_SCHEMA, CertificateRecord,
    ConfidenceRecord, ConnectionRecord, DirectionBytes, Encryption, EndpointRecord, EvidenceName,
    EvidenceRecord, ExceptionRecord, FINDING_SCHEMA, FindingRecord, HolderRecord, IdentityFitName,
    IdentityFitRecord, LabelsRecord, ParentRecord, ProcessRecord, RoleRecord, Scope, Severity, ShownRecord,
    SideName, TlsRecord, WORKLOAD_HISTORY_SCHEMA, WallTime, WorkloadHistoryRecord, WorkloadRecord,
};
use crate::store::StoreError;

/// A kind of record whose fields can be asked for.
pub(super) struct Kind {
    schema: &'static str,
    /// One in which whatever has fields is there.
    whole: Value,
}

/// `countersign.connection/1`
pub(super) fn connection() -> &'static Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    KIND.get_or_init(|| Kind::of(CONNECTION_SCHEMA, &with_every_field()))
}

/// `countersign.certificate/1`
pub(super) fn certificate() -> &'static Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    KIND.get_or_init(|| Kind::of(CERTIFICATE_SCHEMA, &CertificateRecord::default()))
}

/// `countersign.finding/1`
pub(super) fn finding() -> &'static Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    KIND.get_or_init(|| Kind::of(FINDING_SCHEMA, &whole_finding()))
}

/// `countersign.workload_history/1`
pub(super) fn workload() -> &'static Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    KIND.get_or_init(|| Kind::of(WORKLOAD_HISTORY_SCHEMA, &whole_workload()))
}

impl Kind {
    fn of(schema: &'static str, whole: &impl Serialize) -> Kind {
        Kind { schema, whole: serde_json::to_value(whole).unwrap_or_default() }
    }

    /// Whether it has a field of this path that is a single value or a list of them.
    fn has(&self, path: &str) -> bool {
        let mut value = &self.whole;
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
}

/// Refuses conditions on fields that this kind of record does not have.
pub(super) fn check(conditions: &[Condition], kind: &Kind) -> Result<(), QuestionError> {
    match conditions.iter().find(|condition| !kind.has(condition.field())) {
        None => Ok(()),
        Some(condition) => {
            let field: String = condition.field().chars().take(100).collect();
            Err(QuestionError::Refused(format!(
                "where: `{field}` is no field of {} that has one value: docs/record.md lists them",
                kind.schema
            )))
        }
    }
}

/// Whether a record fulfils them all.
pub(super) fn holds(conditions: &[Condition], record: &impl Serialize) -> Result<bool, QuestionError> {
    if conditions.is_empty() {
        return Ok(true);
    }
    let value = serde_json::to_value(record).map_err(StoreError::Record)?;
    Ok(conditions.iter().all(|condition| condition.holds(&value)))
}

pub(super) fn whole_finding() -> FindingRecord {
    let exception = ExceptionRecord { owner: String::new(), reason: String::new(), expires: String::new() };
    FindingRecord {
        schema: FINDING_SCHEMA.into(),
        id: String::new(),
        code: "".into(),
        severity: Severity::Info,
        host: None,
        connection: None,
        certificate: None,
        workload: None,
        edge: None,
        first_seen: WallTime(0),
        last_seen: WallTime(0),
        resolved: None,
        count: 0,
        summary: String::new(),
        remedy: "".into(),
        controls: vec![],
        exception: Some(exception),
    }
}

pub(super) fn whole_workload() -> WorkloadHistoryRecord {
    let shown = ShownRecord {
        identity: None,
        certificate: None,
        not_after: None,
        client: 0,
        server: 0,
        identity_fit: Some(whole_fit()),
        first_seen: WallTime(0),
        last_seen: WallTime(0),
    };
    WorkloadHistoryRecord {
        schema: WORKLOAD_HISTORY_SCHEMA.into(),
        key: String::new(),
        workload: WorkloadRecord::default(),
        labels: Some(LabelsRecord::default()),
        first_seen: WallTime(0),
        last_seen: WallTime(0),
        client: RoleRecord::default(),
        server: RoleRecord::default(),
        scopes: BTreeMap::new(),
        findings: BTreeMap::new(),
        presented: vec![shown],
        presented_left_out: 0,
    }
}

fn whole_fit() -> IdentityFitRecord {
    IdentityFitRecord { status: IdentityFitName::Unknown, rule: None, expected: vec![], reason: None }
}

/// A record in which whatever has fields is there.
pub(super) fn with_every_field() -> ConnectionRecord {
    let process = ProcessRecord { parents: vec![ParentRecord::default()], ..ProcessRecord::default() };
    let holder = HolderRecord { process: process.clone().into(), role: "".into(), source: "".into() };
    let end = || EndpointRecord {
        process: Some(process.clone().into()),
        processes: vec![holder.clone()],
        workload: Some(WorkloadRecord::default().into()),
        labels: Some(LabelsRecord::default().into()),
        identity_fit: Some(whole_fit().into()),
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
