//! The rules: one function per finding.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;

use super::{Code, Finding, Policy};
use crate::record::{
    Authentication, CertificateRecord, ConnectionRecord, DisagreementName, EndpointRecord, Scope, SideName,
    VerificationName, WallTime,
};

mod presented;

pub use presented::{Presence, presence};

/// Characters of a name that stand in a summary: names may have kilobytes, and the record has them.
const MAX_NAME: usize = 200;

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The connection.
    pub connection: &'a ConnectionRecord,
    /// Certificates that the client presented, leaf first.
    pub client_chain: &'a [Arc<CertificateRecord>],
    /// Certificates that the server presented, leaf first.
    pub server_chain: &'a [Arc<CertificateRecord>],
    /// Who else presented the client's certificate or key, if anybody is known to have.
    pub client_sharing: Option<&'a Sharing>,
    /// The same of the server.
    pub server_sharing: Option<&'a Sharing>,
    /// What the two ends had established before, if that was more.
    pub regression: Option<Regression>,
}

/// More than a connection established was established between the same ends before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regression {
    /// What was.
    pub from: Authentication,
    /// When that was established last.
    pub last: WallTime,
}

/// Other workloads that presented a certificate or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// Their names; never empty.
    pub others: Vec<String>,
    /// One of them presented the same certificate, not only the same key.
    pub same_certificate: bool,
}

/// What the policy says about a connection, at most one finding per code, side and certificate. `now` is the moment of the judgement:
/// certificates are held against the moment at which the connection was opened.
pub fn judge(subject: Subject<'_>, policy: &Policy, now: WallTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |code: Code, side: Option<SideName>, certificate: Option<String>, summary: String| {
        if !policy.disabled.contains(&code) {
            let severity = code.severity();
            findings.push(Finding { code, severity, side, certificate, summary, exception: None });
        }
    };
    unauthenticated_east_west(subject.connection, &mut add);
    server_only_east_west(subject.connection, &mut add);
    requested_not_sent(subject.connection, &mut add);
    deprecated_version(subject.connection, &mut add);
    validity(subject, &mut add);
    credential_in_clear(subject.connection, &mut add);
    verification(subject.connection, &mut add);
    evidence_disagrees(subject.connection, &mut add);
    presented::presented(subject, policy, &mut add);
    authentication_regressed(subject, &mut add);
    except(findings, subject.connection, policy, now)
}

/// Takes a finding: code, side, certificate, summary.
type Add<'a> = dyn FnMut(Code, Option<SideName>, Option<String>, String) + 'a;

fn unauthenticated_east_west(connection: &ConnectionRecord, add: &mut Add<'_>) {
    let bare = matches!(connection.authentication, Authentication::None | Authentication::Anonymous);
    if connection.scope != Scope::EastWest || !bare || connection.protocol == "silent" {
        return;
    }
    let summary = format!(
        "{} talked {} to {} and neither side proved who it is",
        name(&connection.client),
        connection.protocol,
        service(&connection.server),
    );
    add(Code::UnauthenticatedEastWest, None, None, summary);
}

fn server_only_east_west(connection: &ConnectionRecord, add: &mut Add<'_>) {
    if connection.scope != Scope::EastWest || connection.authentication != Authentication::ServerOnly {
        return;
    }
    let summary = format!(
        "{} did not prove who it is to {} over TLS {}",
        name(&connection.client),
        service(&connection.server),
        version(connection),
    );
    add(Code::ServerOnlyTlsEastWest, None, None, summary);
}

fn requested_not_sent(connection: &ConnectionRecord, add: &mut Add<'_>) {
    let Some(tls) = &connection.tls else { return };
    if tls.client_authentication != "requested_none_sent"
        || connection.authentication != Authentication::ServerOnly
    {
        return;
    }
    let summary = format!(
        "{} asked {} for a certificate, got none and went on",
        service(&connection.server),
        name(&connection.client),
    );
    add(Code::ClientCertificateRequestedNotSent, None, None, summary);
}

fn deprecated_version(connection: &ConnectionRecord, add: &mut Add<'_>) {
    let Some(tls) = &connection.tls else { return };
    if tls.handshake != "complete"
        || !matches!(tls.version.as_deref(), Some("SSLv2" | "SSLv3" | "1.0" | "1.1"))
    {
        return;
    }
    let offered = tls.version_offered.as_deref().unwrap_or("unknown");
    let summary = format!(
        "{} and {} agreed on TLS {} (offered: up to {offered})",
        name(&connection.client),
        service(&connection.server),
        version(connection),
    );
    add(Code::DeprecatedTlsVersion, None, None, summary);
}

fn validity(subject: Subject<'_>, add: &mut Add<'_>) {
    let connection = subject.connection;
    let went_on = matches!(
        connection.authentication,
        Authentication::ServerOnly | Authentication::Mutual | Authentication::Anonymous
    );
    // A capture can be without times: then nothing is known of the day.
    if !went_on || connection.opened.0 <= 0 {
        return;
    }
    let presented = [
        (SideName::Client, subject.client_chain, &connection.client, &connection.server),
        (SideName::Server, subject.server_chain, &connection.server, &connection.client),
    ];
    for (side, chain, holder, acceptor) in presented {
        for certificate in chain {
            let subject_name =
                cut(certificate.subject.as_deref().unwrap_or("a certificate without a readable subject"));
            if let Some(end) = certificate.not_after
                && end < connection.opened
            {
                let summary = format!(
                    "{} accepted {subject_name} of {}, which expired on {}",
                    name(acceptor),
                    name(holder),
                    day(end),
                );
                add(Code::ExpiredCertificateAccepted, Some(side), Some(certificate.sha256.clone()), summary);
            }
            if let Some(begin) = certificate.not_before
                && begin > connection.opened
            {
                let summary = format!(
                    "{} accepted {subject_name} of {}, which is not valid before {}",
                    name(acceptor),
                    name(holder),
                    day(begin),
                );
                add(
                    Code::NotYetValidCertificateAccepted,
                    Some(side),
                    Some(certificate.sha256.clone()),
                    summary,
                );
            }
        }
    }
}

/// Over loopback nobody else listens.
fn credential_in_clear(connection: &ConnectionRecord, add: &mut Add<'_>) {
    let Some(kind) = &connection.credential_in_clear else { return };
    if connection.scope == Scope::Loopback {
        return;
    }
    let summary = format!(
        "{} sent a credential ({kind}) to {} unencrypted",
        name(&connection.client),
        service(&connection.server),
    );
    add(Code::CredentialInClear, None, None, summary);
}

fn verification(connection: &ConnectionRecord, add: &mut Add<'_>) {
    let (client, server) = (&connection.client, &connection.server);
    for (side, end, peer) in [(SideName::Client, client, server), (SideName::Server, server, client)] {
        let (code, what) = match end.verification {
            Some(VerificationName::FailedOverridden) => {
                (Code::VerificationFailedOverridden, "talked on although it could not verify the certificate")
            }
            Some(VerificationName::NotAttempted) => (Code::PeerNotVerified, "did not verify the certificate"),
            _ => continue,
        };
        let summary = format!("{} {what} that {} showed", name(end), name(peer));
        add(code, Some(side), peer.certificates.first().cloned(), summary);
    }
}

fn evidence_disagrees(connection: &ConnectionRecord, add: &mut Add<'_>) {
    let sources = match connection.evidence.disagreement {
        None => return,
        Some(DisagreementName::WireLibrary) => "what crossed the network and what a TLS library showed",
        Some(DisagreementName::Libraries) => "the certificates that TLS libraries showed",
    };
    let summary = format!(
        "of {} and {}, {sources} are not the same",
        name(&connection.client),
        service(&connection.server),
    );
    add(Code::EvidenceDisagrees, None, None, summary);
}

fn authentication_regressed(subject: Subject<'_>, add: &mut Add<'_>) {
    let connection = subject.connection;
    let Some(Regression { from, last }) = subject.regression else { return };
    let summary = format!(
        "connections of {} to {} were {from} before, last on {}, and this one is {}",
        name(&connection.client),
        service(&connection.server),
        day(last),
        connection.authentication,
    );
    add(Code::AuthenticationRegressed, None, None, summary);
}

/// Sets apart what exceptions cover; one that has expired covers nothing and is itself reported.
fn except(
    mut findings: Vec<Finding>,
    connection: &ConnectionRecord,
    policy: &Policy,
    now: WallTime,
) -> Vec<Finding> {
    if policy.exceptions.is_empty() {
        return findings;
    }
    let today = today(now);
    let mut expired = Vec::new();
    for finding in &mut findings {
        let covering =
            || policy.exceptions.iter().filter(|exception| exception.covers(finding.code, connection));
        if let Some(exception) = covering().find(|exception| !exception.has_expired(today)) {
            finding.exception = Some(Arc::clone(exception));
        } else if let Some(exception) = covering().next() {
            let summary = format!(
                "the exception of {} for {} expired on {}: {}",
                exception.owner,
                finding.code.as_str(),
                exception.expires,
                exception.reason,
            );
            expired.push(summary);
        }
    }
    if !policy.disabled.contains(&Code::ExceptionExpired) {
        let code = Code::ExceptionExpired;
        findings.extend(expired.into_iter().map(|summary| Finding {
            code,
            severity: code.severity(),
            side: None,
            certificate: None,
            summary,
            exception: None,
        }));
    }
    findings
}

fn name(endpoint: &EndpointRecord) -> impl fmt::Display {
    fmt::from_fn(|f| match &endpoint.workload {
        Some(workload) => write!(f, "{} ({})", cut(&workload.name), endpoint.address),
        None => f.write_str(&endpoint.address),
    })
}

fn service(endpoint: &EndpointRecord) -> impl fmt::Display {
    fmt::from_fn(|f| match &endpoint.workload {
        Some(workload) => write!(f, "{} ({}:{})", cut(&workload.name), endpoint.address, endpoint.port),
        None => write!(f, "{}:{}", endpoint.address, endpoint.port),
    })
}

/// As much of a name as a summary holds.
fn cut(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

fn version(connection: &ConnectionRecord) -> &str {
    connection.tls.as_ref().and_then(|tls| tls.version.as_deref()).unwrap_or("of unknown version")
}

fn today(now: WallTime) -> Date {
    let time = jiff::Timestamp::from_nanosecond(i128::from(now.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn day(time: WallTime) -> Date {
    today(time)
}

#[cfg(test)]
mod tests;
