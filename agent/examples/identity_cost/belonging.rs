//! What is said of a connection's ends once they are known: whose they are, whether their certificates fit them, who else
//! presents those, and what becomes of it in the list of workloads.

use std::sync::Arc;

use countersign::connection::Fingerprint;
use countersign::identity::KnownProcess;
use countersign::ownership::{Owned, OwnerRule, Owners};
use countersign::publication::{Belonging, Chains, Leaves, Noted, Uses, Workloads};
use countersign::record::{CertificateRecord, ConnectionRecord, IdentityFitName, LabelsRecord, WallTime};
use countersign::verdict::{FitRule, Selector};
use serde_json::json;

/// Rules on owners: one for each of so many namespaces, the one that means the pods last.
const OWNER_RULES: usize = 50;

/// The rooms behind the table of processes, as the daemon uses them.
pub struct Said {
    belonging: Belonging,
    uses: Uses,
    workloads: Workloads,
    record: ConnectionRecord,
}

impl Said {
    pub fn new() -> anyhow::Result<Said> {
        let owner = |namespace: &str| -> anyhow::Result<OwnerRule> {
            let selector = Selector::of_workloads(&format!("namespace:{namespace}"))?;
            let labels = LabelsRecord { owner: Some(namespace.to_owned()), ..LabelsRecord::default() };
            Ok(OwnerRule { owned: Owned::Workload(selector), labels: Arc::new(labels) })
        };
        let others = (1..OWNER_RULES).map(|number| owner(&format!("team-{number}")));
        let owners = Arc::new(Owners::new(others.chain([owner("prod")]).collect::<anyhow::Result<_>>()?));
        let templates = vec!["spiffe://prod/ns/{namespace}/pod/{pod}".parse()?];
        let rules = vec![Arc::new(FitRule::new(Selector::of_workloads("namespace:prod")?, templates))];
        let workloads = Workloads::new(None);
        workloads.set_rules(Arc::clone(&owners), rules.clone());
        Ok(Said {
            belonging: Belonging::new(owners, rules),
            uses: Uses::default(),
            workloads,
            record: record()?,
        })
    }

    /// Both revisions of a connection: with its verdict, and at its end.
    pub fn connection(
        &mut self,
        ends: [(&KnownProcess, &Arc<CertificateRecord>, Fingerprint); 2],
        now: WallTime,
    ) {
        let [(client, client_leaf, client_print), (server, server_leaf, server_print)] = ends;
        let chains = Chains { client: vec![Arc::clone(client_leaf)], server: vec![Arc::clone(server_leaf)] };
        let (mut uses, mut noted) = ([None; 2], Noted::default());
        for last in [false, true] {
            let record = &mut self.record;
            for (end, process, leaf) in
                [(&mut record.client, client, client_leaf), (&mut record.server, server, server_leaf)]
            {
                end.process = Some(Arc::clone(&process.record));
                end.workload.clone_from(&process.workload);
                end.certificates = vec![leaf.sha256.clone()];
                end.identity.clone_from(&leaf.spiffe_id);
            }
            record.r#final = last;
            self.belonging.fill(record, [Some(client_print), Some(server_print)], &chains);
            for ((process, leaf), before) in
                [(client, client_leaf), (server, server_leaf)].into_iter().zip(&mut uses)
            {
                let Some(workload) = &process.workload else { continue };
                *before = self.uses.note(leaf, workload, now, *before);
                drop(self.uses.sharing(leaf, workload, now));
            }
            let leaves = Leaves { client: Some(client_leaf), server: Some(server_leaf) };
            self.workloads.note(record, leaves, now, &mut noted);
        }
    }

    /// Whether the last connection was judged as it had to be, and how many workloads and certificates are remembered.
    pub fn result(&self) -> (bool, usize, usize) {
        let fits = [&self.record.client, &self.record.server].into_iter().all(|end| {
            let fit = end.identity_fit.as_ref().map(|fit| fit.status);
            fit == Some(IdentityFitName::Fits) && end.labels.is_some()
        });
        let sizes = self.workloads.sizes();
        (fits, sizes.workloads, sizes.presented)
    }
}

/// The certificate of a pod.
pub fn certificate(number: u32) -> (Arc<CertificateRecord>, Fingerprint) {
    let mut fingerprint = [0; 32];
    fingerprint[..4].copy_from_slice(&number.to_be_bytes());
    let certificate = CertificateRecord {
        sha256: format!("{number:064x}"),
        spki_sha256: Some(format!("{number:064x}")),
        spiffe_id: Some(format!("spiffe://prod/ns/prod/pod/app-{number}")),
        ..CertificateRecord::default()
    };
    (Arc::new(certificate), Fingerprint(fingerprint))
}

/// A mutual connection.
fn record() -> anyhow::Result<ConnectionRecord> {
    let end = |port: u16| json!({"address": "10.0.0.1", "port": port, "translated": [], "processes": [], "certificates": []});
    let tls = json!({"version_offered": null, "version": "1.2", "cipher_suite": null, "cipher_suite_id": null, "group": null,
        "server_name": null, "alpn_offered": [], "alpn": null, "ja4": null, "resumed": "no", "early_data": false,
        "hello_retry_request": false, "encrypted_client_hello": false, "ocsp_staple": null,
        "client_authentication": "presented", "client_authentication_outcome": "accepted", "alerts": [],
        "history": "Cs", "handshake": "complete"});
    Ok(serde_json::from_value(json!({
        "schema": "countersign.connection/1", "id": "", "revision": 0, "final": false, "session_id": null, "host": null,
        "host_id": null, "boot_id": null, "agent_version": null, "source": "live", "file": null,
        "opened": "2026-09-01T00:00:00.000000000Z", "decided": null, "closed": null, "close_reason": null,
        "scope": "east_west", "interface": null, "client": end(40_000), "server": end(443),
        "observed_from": ["client", "server"], "protocol": "tls", "upgraded_from": null, "encryption": "tls",
        "authentication": "mutual",
        "evidence": {"server": "certificate", "client": "certificate", "reason": null, "disagreement": null},
        "confidence": {"server": null, "client": null}, "credential_in_clear": null,
        "cleartext_examined": {"client": 0, "server": 0}, "capture_complete": true, "capture_reason": null,
        "tls": tls,
        "findings": [], "authorization": null, "policy_version": null, "bytes": null,
    }))?)
}
