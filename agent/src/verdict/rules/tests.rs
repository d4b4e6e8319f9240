use super::*;
use crate::record::*;
use crate::verdict::{Exception, Selector};

const OPENED: WallTime = WallTime(1_800_000_000_000_000_000);
const DAY: i64 = 86_400_000_000_000;

fn endpoint(address: &str, port: u16) -> EndpointRecord {
    EndpointRecord { address: address.to_owned(), port, ..EndpointRecord::default() }
}

fn connection(authentication: Authentication) -> ConnectionRecord {
    ConnectionRecord {
        opened: OPENED,
        scope: Scope::EastWest,
        client: endpoint("10.0.0.1", 40_000),
        server: endpoint("10.0.0.2", 5432),
        authentication,
        ..sample::connection(1)
    }
}

fn over_tls(
    authentication: Authentication,
    version: &'static str,
    client_authentication: &'static str,
) -> ConnectionRecord {
    let mut record = connection(authentication);
    record.protocol = "tls".into();
    record.encryption = Encryption::Tls;
    record.tls = Some(Arc::new(TlsRecord {
        version_offered: Some("1.3".into()),
        version: Some(version.into()),
        client_authentication: client_authentication.into(),
        ..sample::tls()
    }));
    record
}

fn certificate(from: i64, to: i64) -> Arc<CertificateRecord> {
    Arc::new(CertificateRecord {
        sha256: "ab".repeat(32),
        subject: Some("CN=db".to_owned()),
        not_before: Some(WallTime(OPENED.0 + from)),
        not_after: Some(WallTime(OPENED.0 + to)),
        ..CertificateRecord::default()
    })
}

fn without_chains(connection: &ConnectionRecord) -> Subject<'_> {
    Subject {
        connection,
        client_chain: &[],
        server_chain: &[],
        client_sharing: None,
        server_sharing: None,
        regression: None,
    }
}

fn codes(record: &ConnectionRecord, policy: &Policy) -> Vec<&'static str> {
    let subject = without_chains(record);
    judge(subject, policy, OPENED).iter().map(|finding| finding.code.as_str()).collect()
}

fn exception(code: Code, expires: &str) -> Exception {
    Exception {
        code,
        from: Selector::Network("10.0.0.0/24".parse().unwrap()),
        to: Selector::Any,
        port: Some(5432),
        owner: "dba".to_owned(),
        reason: "legacy".to_owned(),
        expires: expires.parse().unwrap(),
    }
}

#[test]
fn plaintext_between_internal_hosts_is_found_and_elsewhere_not() {
    let mut record = connection(Authentication::None);
    assert_eq!(codes(&record, &Policy::default()), ["unauthenticated_east_west"]);
    for scope in [Scope::Loopback, Scope::NorthSouth] {
        record.scope = scope;
        assert!(codes(&record, &Policy::default()).is_empty());
    }
}

#[test]
fn nothing_unknown_and_nothing_silent_is_a_finding() {
    assert!(codes(&connection(Authentication::Unknown), &Policy::default()).is_empty());
    let mut silent = connection(Authentication::None);
    silent.protocol = "silent".into();
    assert!(codes(&silent, &Policy::default()).is_empty());
    assert!(codes(&connection(Authentication::NotEstablished), &Policy::default()).is_empty());
}

#[test]
fn tls_with_only_the_server_proven_is_found() {
    let record = over_tls(Authentication::ServerOnly, "1.3", "not_requested");
    assert_eq!(codes(&record, &Policy::default()), ["server_only_tls_east_west"]);
    assert!(codes(&over_tls(Authentication::Mutual, "1.3", "presented"), &Policy::default()).is_empty());
}

#[test]
fn a_certificate_that_was_asked_for_in_vain_is_found() {
    let record = over_tls(Authentication::ServerOnly, "1.2", "requested_none_sent");
    let found = codes(&record, &Policy::default());
    assert_eq!(found, ["server_only_tls_east_west", "client_certificate_requested_not_sent"]);
}

#[test]
fn versions_before_1_2_are_found_once_they_were_agreed_on() {
    for version in ["SSLv2", "SSLv3", "1.0", "1.1"] {
        let mut record = over_tls(Authentication::Mutual, version, "presented");
        assert_eq!(codes(&record, &Policy::default()), ["deprecated_tls_version"]);
        Arc::make_mut(record.tls.as_mut().unwrap()).handshake = "failed".into();
        assert!(codes(&record, &Policy::default()).is_empty());
    }
    assert!(codes(&over_tls(Authentication::Mutual, "1.2", "presented"), &Policy::default()).is_empty());
}

#[test]
fn certificates_outside_their_validity_are_found_only_if_they_were_accepted() {
    let expired = [certificate(-2 * DAY, -DAY)];
    let early = [certificate(DAY, 2 * DAY)];
    let good = [certificate(-DAY, DAY)];
    let judged = |authentication, client: &[_], server: &[_]| -> Vec<&str> {
        let record = over_tls(authentication, "1.2", "presented");
        let subject = Subject { client_chain: client, server_chain: server, ..without_chains(&record) };
        let findings = judge(subject, &Policy::default(), OPENED);
        findings.iter().map(|finding| finding.code.as_str()).collect()
    };
    assert_eq!(judged(Authentication::Mutual, &expired, &good), ["expired_certificate_accepted"]);
    assert_eq!(judged(Authentication::Mutual, &good, &early), ["not_yet_valid_certificate_accepted"]);
    assert!(judged(Authentication::Mutual, &good, &good).is_empty());
    assert!(judged(Authentication::NotEstablished, &expired, &early).is_empty());
    // A capture without times.
    let record =
        ConnectionRecord { opened: WallTime(0), ..over_tls(Authentication::Mutual, "1.2", "presented") };
    let subject = Subject { client_chain: &expired, server_chain: &early, ..without_chains(&record) };
    assert!(judge(subject, &Policy::default(), OPENED).is_empty());
}

#[test]
fn a_credential_in_clear_is_found_where_somebody_else_can_listen() {
    let mut record = connection(Authentication::None);
    record.credential_in_clear = Some("redis_auth".into());
    assert_eq!(codes(&record, &Policy::default()), ["unauthenticated_east_west", "credential_in_clear"]);
    record.scope = Scope::NorthSouth;
    assert_eq!(codes(&record, &Policy::default()), ["credential_in_clear"]);
    record.scope = Scope::Loopback;
    assert!(codes(&record, &Policy::default()).is_empty());
}

#[test]
fn an_end_that_does_not_insist_on_its_peers_certificate_is_found_wherever_it_is() {
    let mut record = over_tls(Authentication::Mutual, "1.3", "presented");
    record.client.certificates = vec!["cd".repeat(32)];
    for scope in [Scope::EastWest, Scope::NorthSouth, Scope::Loopback] {
        record.scope = scope;
        record.client.verification = Some(VerificationName::FailedOverridden);
        record.server.verification = Some(VerificationName::NotAttempted);
        assert_eq!(
            codes(&record, &Policy::default()),
            ["verification_failed_overridden", "peer_not_verified"]
        );
    }
    let subject = without_chains(&record);
    let findings = judge(subject, &Policy::default(), OPENED);
    assert_eq!(findings[0].certificate, None);
    assert_eq!(findings[1].certificate, Some("cd".repeat(32)));
    assert_eq!(findings[1].summary, "10.0.0.2 did not verify the certificate that 10.0.0.1 showed");
    for other in [VerificationName::Verified, VerificationName::Custom, VerificationName::Unknown] {
        record.client.verification = Some(other);
        record.server.verification = None;
        assert!(codes(&record, &Policy::default()).is_empty());
    }
}

#[test]
fn sources_that_disagree_are_found() {
    let mut record = over_tls(Authentication::Unknown, "1.3", "unknown");
    for sources in [DisagreementName::WireLibrary, DisagreementName::Libraries] {
        record.evidence.disagreement = Some(sources);
        assert_eq!(codes(&record, &Policy::default()), ["evidence_disagrees"]);
    }
}

#[test]
fn less_than_was_established_before_is_found_on_either_scope() {
    for (scope, further) in [(Scope::EastWest, vec!["unauthenticated_east_west"]), (Scope::Loopback, vec![])]
    {
        let mut record = connection(Authentication::None);
        record.scope = scope;
        let regression = Some(Regression { from: Authentication::Mutual, last: OPENED });
        let subject = Subject { regression, ..without_chains(&record) };
        let findings = judge(subject, &Policy::default(), OPENED);
        let codes: Vec<_> = findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, [further, vec!["authentication_regressed"]].concat());
        let summary = &findings[codes.len() - 1].summary;
        assert!(summary.contains("were mutual before, last on") && summary.ends_with("is none"), "{summary}");
    }
}

#[test]
fn an_exception_sets_a_finding_apart_but_leaves_it_visible() {
    let record = connection(Authentication::None);
    let exception = Arc::new(exception(Code::UnauthenticatedEastWest, "2999-12-31"));
    let policy = Policy { exceptions: vec![Arc::clone(&exception)], ..Policy::default() };
    let subject = without_chains(&record);
    let findings = judge(subject, &policy, OPENED);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].exception.as_ref(), Some(&exception));
}

#[test]
fn an_exception_covers_only_what_it_names() {
    let exception = exception(Code::UnauthenticatedEastWest, "2999-12-31");
    let record = connection(Authentication::None);
    assert!(exception.covers(Code::UnauthenticatedEastWest, &record));
    assert!(!exception.covers(Code::ServerOnlyTlsEastWest, &record));
    let mut other = record.clone();
    other.server.port = 5433;
    assert!(!exception.covers(Code::UnauthenticatedEastWest, &other));
    let mut other = record;
    other.client.address = "10.0.1.1".to_owned();
    assert!(!exception.covers(Code::UnauthenticatedEastWest, &other));
}

#[test]
fn an_expired_exception_covers_nothing_and_is_itself_found() {
    let policy = Policy {
        exceptions: vec![Arc::new(exception(Code::UnauthenticatedEastWest, "2020-01-31"))],
        ..Policy::default()
    };
    let record = connection(Authentication::None);
    let subject = without_chains(&record);
    let findings = judge(subject, &policy, OPENED);
    assert_eq!(findings[0].exception, None);
    assert_eq!(findings[1].code, Code::ExceptionExpired);
    assert!(findings[1].summary.contains("dba") && findings[1].summary.contains("2020-01-31"));
}

#[test]
fn a_disabled_finding_is_not_reported() {
    let policy = Policy { disabled: vec![Code::UnauthenticatedEastWest], ..Policy::default() };
    assert!(codes(&connection(Authentication::None), &policy).is_empty());
}
