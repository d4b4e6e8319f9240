use std::sync::Arc;

use super::*;
use crate::record::*;
use crate::verdict::{Finding, FitRule, Selector, fit, judge};

fn leaf(dns: &str, extended_key_usage: &[&str]) -> Arc<CertificateRecord> {
    let san = SubjectAlternativeNames { dns: vec![dns.to_owned()], ..SubjectAlternativeNames::default() };
    Arc::new(CertificateRecord {
        sha256: format!("{:0>64}", dns.len()),
        san,
        extended_key_usage: extended_key_usage.iter().map(|usage| (*usage).to_owned()).collect(),
        ..CertificateRecord::default()
    })
}

/// Two units that talk mutual TLS and show these leaves.
fn connection(client: &CertificateRecord, server: &CertificateRecord) -> ConnectionRecord {
    let end = |unit: &str, leaf: &CertificateRecord| EndpointRecord {
        address: "10.0.0.1".to_owned(),
        certificates: vec![leaf.sha256.clone()],
        identity: leaf.san.dns.first().cloned(),
        workload: Some(Arc::new(WorkloadRecord {
            kind: "systemd".into(),
            name: unit.to_owned(),
            unit: Some(unit.to_owned()),
            ..WorkloadRecord::default()
        })),
        ..EndpointRecord::default()
    };
    ConnectionRecord {
        client: end("web.service", client),
        server: end("db.service", server),
        protocol: "tls".into(),
        encryption: Encryption::Tls,
        authentication: Authentication::Mutual,
        evidence: EvidenceRecord {
            server: EvidenceName::Certificate,
            client: EvidenceName::Library,
            reason: None,
            disagreement: None,
        },
        tls: Some(Arc::new(sample::tls())),
        ..sample::connection(1)
    }
}

struct Scene {
    policy: Policy,
    client: Arc<CertificateRecord>,
    server: Arc<CertificateRecord>,
    client_sharing: Option<Sharing>,
    server_sharing: Option<Sharing>,
}

impl Scene {
    fn new(client: Arc<CertificateRecord>, server: Arc<CertificateRecord>) -> Scene {
        Scene { policy: Policy::default(), client, server, client_sharing: None, server_sharing: None }
    }

    fn rule(mut self, selector: &str, may_present: &str) -> Scene {
        let selector = Selector::of_workloads(selector).unwrap();
        let rule = FitRule::new(selector, vec![may_present.parse().unwrap()]);
        self.policy.identities.push(Arc::new(rule));
        self
    }

    fn found(&self, change: impl FnOnce(&mut ConnectionRecord)) -> Vec<Finding> {
        let mut record = connection(&self.client, &self.server);
        for (end, leaf) in [(&mut record.client, &self.client), (&mut record.server, &self.server)] {
            let answer = fit(end.workload.as_deref(), leaf, &self.policy.identities);
            end.identity_fit = Some(Arc::new(answer));
        }
        change(&mut record);
        let subject = Subject {
            connection: &record,
            client_chain: std::slice::from_ref(&self.client),
            server_chain: std::slice::from_ref(&self.server),
            client_sharing: self.client_sharing.as_ref(),
            server_sharing: self.server_sharing.as_ref(),
            regression: None,
        };
        judge(subject, &self.policy, WallTime(0))
    }

    fn codes(&self, change: impl FnOnce(&mut ConnectionRecord)) -> Vec<&'static str> {
        self.found(change).iter().map(|finding| finding.code.as_str()).collect()
    }
}

fn misfit() -> Scene {
    Scene::new(leaf("admin.internal", &[]), leaf("db.internal", &[]))
        .rule("unit:*.service", "{unit}.internal")
}

#[test]
fn an_identity_that_does_not_fit_its_workload_is_found() {
    let findings = misfit().found(|_| {});
    assert_eq!(findings.len(), 1);
    let finding = &findings[0];
    assert_eq!((finding.code, finding.side), (Code::IdentityDoesNotFitWorkload, Some(SideName::Client)));
    assert_eq!(finding.certificate, Some(leaf("admin.internal", &[]).sha256.clone()));
    assert_eq!(
        finding.summary,
        "web.service (10.0.0.1) presented admin.internal; its rule (unit:*.service) lets it present web.internal"
    );
    let fits = Scene::new(leaf("web.internal", &[]), leaf("db.internal", &[]));
    assert!(fits.rule("unit:*.service", "{unit}.internal").codes(|_| {}).is_empty());
}

#[test]
fn a_summary_says_why_a_spiffe_id_does_not_count() {
    let mut odd = CertificateRecord::clone(&leaf("web.internal", &[]));
    odd.san = SubjectAlternativeNames {
        uri: vec!["spiffe://a/web".to_owned()],
        ..SubjectAlternativeNames::default()
    };
    odd.svid_problem = Some("no_digital_signature".into());
    let scene =
        Scene::new(Arc::new(odd), leaf("db.internal", &[])).rule("unit:web.service", "spiffe://a/web");
    assert_eq!(
        scene.found(|_| {})[0].summary,
        "web.service (10.0.0.1) presented spiffe://a/web, with no claim to a SPIFFE ID (no_digital_signature); \
         its rule (unit:web.service) lets it present spiffe://a/web"
    );
}

#[test]
fn only_what_counts_on_the_connection_is_found() {
    let code = ["identity_does_not_fit_workload"];
    assert_eq!(misfit().codes(|record| record.evidence.client = EvidenceName::Inherited), code);
    for evidence in [EvidenceName::Unknown, EvidenceName::Inferred, EvidenceName::Handshake] {
        assert!(misfit().codes(|record| record.evidence.client = evidence).is_empty());
    }
    assert!(misfit().codes(|record| record.authentication = Authentication::NotEstablished).is_empty());
    let failed = |record: &mut ConnectionRecord| {
        Arc::make_mut(record.tls.as_mut().unwrap()).handshake = "failed".into()
    };
    assert!(misfit().codes(failed).is_empty());
    for status in [IdentityFitName::Unknown, IdentityFitName::NoRule, IdentityFitName::Fits] {
        let other = IdentityFitRecord { status, rule: None, expected: Vec::new(), reason: None };
        assert!(misfit().codes(|record| record.client.identity_fit = Some(Arc::new(other))).is_empty());
    }
}

#[test]
fn a_certificate_that_several_workloads_present_is_found() {
    let sharing =
        |same_certificate| Some(Sharing { others: vec!["old.service".to_owned()], same_certificate });
    let mut scene = Scene::new(leaf("web.internal", &[]), leaf("db.internal", &[]));
    assert!(scene.codes(|_| {}).is_empty());
    scene.server_sharing = sharing(true);
    let findings = scene.found(|_| {});
    assert_eq!((findings.len(), findings[0].side), (1, Some(SideName::Server)));
    assert_eq!(
        findings[0].summary,
        "db.service (10.0.0.1) presented the certificate of db.internal, as did old.service"
    );
    scene.server_sharing = sharing(false);
    assert!(
        scene.found(|_| {})[0].summary.contains("presented a certificate with the key of db.internal, as")
    );
    assert!(scene.codes(|record| record.evidence.server = EvidenceName::Inherited).is_empty());
    // Both ends with one certificate are one finding.
    let mut scene = Scene::new(leaf("web.internal", &[]), leaf("web.internal", &[]));
    (scene.client_sharing, scene.server_sharing) = (sharing(true), sharing(true));
    assert_eq!(scene.codes(|_| {}), ["certificate_shared_by_workloads"]);
}

#[test]
fn a_certificate_in_a_role_that_it_is_not_for_is_found() {
    let code = ["certificate_used_against_its_purpose"];
    let used = |client: &[&str], server: &[&str]| {
        Scene::new(leaf("web.internal", client), leaf("db.internal", server)).codes(|_| {})
    };
    assert!(used(&["clientAuth"], &["serverAuth"]).is_empty());
    assert!(used(&["anyExtendedKeyUsage"], &[]).is_empty());
    assert!(used(&["serverAuth", "clientAuth"], &["1.2.3.4", "serverAuth"]).is_empty());
    assert_eq!(used(&["serverAuth"], &["serverAuth"]), code);
    assert_eq!(used(&["clientAuth"], &["clientAuth"]), code);
    assert_eq!(used(&["1.2.3.4"], &["codeSigning"]), [code[0], code[0]]);
    let scene = Scene::new(leaf("web.internal", &["serverAuth"]), leaf("db.internal", &[]));
    assert_eq!(
        scene.found(|_| {})[0].summary,
        "web.service (10.0.0.1) presented the certificate of web.internal as a client, \
         and its extended key usage allows only serverAuth"
    );
    assert!(scene.codes(|record| record.evidence.client = EvidenceName::Inherited).is_empty());
}

#[test]
fn a_summary_is_bounded_however_long_the_names_are() {
    let mut long = CertificateRecord::clone(&leaf("x", &[]));
    long.san.dns = (0..256).map(|number| format!("{number}{}", "é".repeat(2000))).collect();
    let scene = Scene::new(Arc::new(long), leaf("db.internal", &[])).rule("any", "{unit}.internal");
    let long = "web\u{1b}[2J\"\n".repeat(512);
    let findings = scene.found(|record| Arc::make_mut(record.client.workload.as_mut().unwrap()).name = long);
    let misfit = findings.iter().find(|finding| finding.code == Code::IdentityDoesNotFitWorkload).unwrap();
    assert!(misfit.summary.chars().count() < 1500, "{}", misfit.summary.chars().count());
    assert!(misfit.summary.contains("… and more; its rule"));
}
