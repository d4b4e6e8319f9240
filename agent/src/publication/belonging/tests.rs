use super::*;
use crate::ownership::{Owned, OwnerRule};
use crate::record::*;
use crate::verdict::Selector;

const LEAF: Fingerprint = Fingerprint([7; 32]);

fn owners() -> Arc<Owners> {
    let rule = |owned, owner: &str| {
        let labels = LabelsRecord { owner: Some(owner.to_owned()), ..LabelsRecord::default() };
        OwnerRule { owned, labels: Arc::new(labels) }
    };
    Arc::new(Owners::new(vec![
        rule(Owned::Workload(Selector::of_workloads("unit:web.service").unwrap()), "team-web"),
        rule(Owned::Identity("*.internal".to_owned()), "team-mesh"),
    ]))
}

fn rules() -> Vec<Arc<FitRule>> {
    let selector = Selector::of_workloads("unit:*.service").unwrap();
    vec![Arc::new(FitRule::new(selector, vec!["{unit}.internal".parse().unwrap()]))]
}

fn unit(name: &str) -> Arc<WorkloadRecord> {
    let unit = Some(name.to_owned());
    Arc::new(WorkloadRecord {
        kind: "systemd".into(),
        name: name.to_owned(),
        unit,
        ..WorkloadRecord::default()
    })
}

/// A client here talks to a server elsewhere; both show this certificate.
fn scene(name: &str) -> (ConnectionRecord, Chains) {
    let san = SubjectAlternativeNames { dns: vec![name.to_owned()], ..SubjectAlternativeNames::default() };
    let leaf = Arc::new(CertificateRecord { sha256: "07".repeat(32), san, ..CertificateRecord::default() });
    let end = |workload| EndpointRecord {
        workload,
        certificates: vec![leaf.sha256.clone()],
        identity: Some(name.to_owned()),
        ..EndpointRecord::default()
    };
    let record = ConnectionRecord {
        client: end(Some(unit("web.service"))),
        server: end(None),
        observed_from: vec![SideName::Client],
        authentication: Authentication::Mutual,
        evidence: EvidenceRecord {
            server: EvidenceName::Certificate,
            client: EvidenceName::Certificate,
            reason: None,
            disagreement: None,
        },
        tls: Some(Arc::new(sample::tls())),
        ..sample::connection(1)
    };
    (record, Chains { client: vec![Arc::clone(&leaf)], server: vec![leaf] })
}

fn owner(end: &EndpointRecord) -> Option<&str> {
    end.labels.as_ref()?.owner.as_deref()
}

fn status(end: &EndpointRecord) -> Option<IdentityFitName> {
    end.identity_fit.as_ref().map(|fit| fit.status)
}

#[test]
fn an_end_here_is_its_workloads_and_one_elsewhere_its_identitys() {
    let mut belonging = Belonging::new(owners(), rules());
    let (mut record, known) = scene("web.internal");
    belonging.fill(&mut record, [Some(LEAF); 2], &known);
    assert_eq!((owner(&record.client), owner(&record.server)), (Some("team-web"), Some("team-mesh")));
    assert_eq!((status(&record.client), status(&record.server)), (Some(IdentityFitName::Fits), None));
    // An identity that a workload here shows says nothing of whose the workload is.
    record.client.workload = Some(unit("db.service"));
    belonging.fill(&mut record, [Some(LEAF); 2], &known);
    assert_eq!((owner(&record.client), status(&record.client)), (None, Some(IdentityFitName::DoesNotFit)));
    record.client.workload = None;
    belonging.fill(&mut record, [Some(LEAF); 2], &known);
    assert_eq!((owner(&record.client), status(&record.client)), (None, Some(IdentityFitName::Unknown)));
}

#[test]
fn a_name_that_was_refused_has_no_owner() {
    let mut belonging = Belonging::new(owners(), Vec::new());
    let (mut record, known) = scene("web.internal");
    record.authentication = Authentication::NotEstablished;
    belonging.fill(&mut record, [Some(LEAF); 2], &known);
    assert_eq!((owner(&record.client), owner(&record.server)), (Some("team-web"), None));
    assert_eq!(status(&record.client), Some(IdentityFitName::NoRule));
}

#[test]
fn a_certificate_that_was_forgotten_is_not_judged_by_its_issuer() {
    let mut belonging = Belonging::new(owners(), rules());
    let (mut record, known) = scene("web.internal");
    record.client.certificates = vec!["08".repeat(32), "07".repeat(32)];
    belonging.fill(&mut record, [Some(Fingerprint([8; 32])), None], &known);
    assert_eq!(status(&record.client), None);
}

#[test]
fn hostile_names_are_answered_and_what_is_remembered_is_bounded() {
    let mut belonging = Belonging::new(owners(), rules());
    for name in ["a\u{1b}[2J\"\n.internal", &"x".repeat(4096), "\u{fffd}\u{202e}", "*", ""] {
        let (mut record, known) = scene(name);
        record.client.workload = Some(unit(&format!("{name}.service")));
        belonging.fill(&mut record, [Some(LEAF); 2], &known);
        assert_ne!(status(&record.client), Some(IdentityFitName::Fits), "{name}");
    }
    let (mut record, known) = scene("web.internal");
    for number in 0..2 * MAX_REMEMBERED {
        record.client.workload = Some(unit(&format!("{number}.service")));
        let mut other = LEAF;
        other.0[..8].copy_from_slice(&number.to_le_bytes());
        belonging.fill(&mut record, [Some(LEAF), Some(other)], &known);
    }
    let sizes = [belonging.of_workloads.len(), belonging.of_identities.len(), belonging.fits.len()];
    assert!(sizes.iter().all(|size| (1..=MAX_REMEMBERED).contains(size)), "{sizes:?}");
    assert_eq!((belonging.entries(), MAX_ANSWERS), (sizes.iter().sum(), 3 * MAX_REMEMBERED));
    assert!(belonging.forgotten() >= 3 * MAX_REMEMBERED as u64, "{}", belonging.forgotten());
}

#[test]
#[ignore = "a measurement"]
fn cost_of_filling() {
    let mut belonging = Belonging::new(owners(), rules());
    let workloads: Vec<_> = (0..2000).map(|number| unit(&format!("service-{number}.service"))).collect();
    let (mut record, known) = scene("web.internal");
    let count = 200_000_u32;
    let started = std::time::Instant::now();
    for workload in workloads.iter().cycle().take(count as usize) {
        record.client.workload = Some(Arc::clone(workload));
        belonging.fill(&mut record, [Some(LEAF); 2], &known);
    }
    println!("{:?} for each connection of {} workloads", started.elapsed() / count, workloads.len());
}
