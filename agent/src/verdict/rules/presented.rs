//! Rules on what an end presented: identities, keys and purposes of certificates.

use smallvec::SmallVec;

use super::{Add, Subject, cut, name};
use crate::record::{
    Authentication, CertificateRecord, ConnectionRecord, EndpointRecord, EvidenceName, IdentityFitName,
    SideName,
};
use crate::verdict::{Code, Policy, Sharing};

/// Names listed in a summary.
const MAX_NAMES: usize = 4;

/// How the certificate of an end came to count on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It was shown, and the handshake went on: the peer found the proof of its key right, which is not verified here.
    Shown,
    /// It was shown on the connection whose session this one resumes.
    Inherited,
}

/// How the certificate of a side came to count; `None` if that side has shown none, or was refused.
pub fn presence(connection: &ConnectionRecord, side: SideName) -> Option<Presence> {
    let went_on = connection.authentication != Authentication::NotEstablished
        && connection.tls.as_ref().is_some_and(|tls| tls.handshake == "complete");
    let evidence = match side {
        SideName::Client => connection.evidence.client,
        SideName::Server => connection.evidence.server,
    };
    match evidence {
        EvidenceName::Certificate | EvidenceName::Library if went_on => Some(Presence::Shown),
        EvidenceName::Inherited if went_on => Some(Presence::Inherited),
        _ => None,
    }
}

/// One end, and its certificate.
struct Presenter<'a> {
    side: SideName,
    end: &'a EndpointRecord,
    leaf: &'a CertificateRecord,
    sharing: Option<&'a Sharing>,
    presence: Presence,
}

/// The ends whose certificate counts.
fn presenters<'a>(subject: Subject<'a>) -> impl Iterator<Item = Presenter<'a>> {
    let connection = subject.connection;
    [
        (SideName::Client, &connection.client, subject.client_chain, subject.client_sharing),
        (SideName::Server, &connection.server, subject.server_chain, subject.server_sharing),
    ]
    .into_iter()
    .filter_map(|(side, end, chain, sharing)| {
        let presence = presence(connection, side)?;
        let leaf = chain.first().filter(|leaf| Some(&leaf.sha256) == end.certificates.first())?;
        Some(Presenter { side, end, leaf, sharing, presence })
    })
}

pub(super) fn presented(subject: Subject<'_>, policy: &Policy, add: &mut Add<'_>) {
    let all: SmallVec<[Presenter<'_>; 2]> = presenters(subject).collect();
    for presenter in &all {
        identity_fits(presenter, policy, add);
    }
    let shown = || all.iter().filter(|presenter| presenter.presence == Presence::Shown);
    // One certificate at both ends is one finding.
    let mut shared = None;
    for presenter in shown().filter(|presenter| presenter.sharing.is_some()) {
        if shared.replace(&presenter.leaf.sha256) != Some(&presenter.leaf.sha256) {
            is_not_shared(presenter, add);
        }
    }
    for presenter in shown() {
        keeps_purpose(presenter, add);
    }
}

/// Also of a resumed session: whose identity counts is not its workload's either way.
fn identity_fits(presenter: &Presenter<'_>, policy: &Policy, add: &mut Add<'_>) {
    let (end, leaf) = (presenter.end, presenter.leaf);
    let Some(fit) = end.identity_fit.as_ref().filter(|fit| fit.status == IdentityFitName::DoesNotFit) else {
        return;
    };
    let rule = policy.identities.iter().find(|rule| Some(&rule.name) == fit.rule.as_ref());
    let beyond = match (rule, &end.workload) {
        (Some(rule), Some(workload)) => rule.beyond(workload, leaf, MAX_NAMES + 1),
        _ => Vec::new(),
    };
    let presented = match beyond.split_at_checked(MAX_NAMES) {
        _ if beyond.is_empty() => "a certificate that names nobody".to_owned(),
        Some((listed, [_, ..])) => format!("{} and more", list(listed)),
        _ => list(&beyond),
    };
    let problem = leaf.svid_problem.as_ref();
    let summary = format!(
        "{} presented {presented}{}; its rule ({}) lets it present {}",
        name(end),
        problem.map_or_else(String::new, |problem| format!(", with no claim to a SPIFFE ID ({problem})")),
        cut(fit.rule.as_deref().unwrap_or_default()),
        list(&fit.expected),
    );
    add(Code::IdentityDoesNotFitWorkload, Some(presenter.side), Some(leaf.sha256.clone()), summary);
}

fn is_not_shared(presenter: &Presenter<'_>, add: &mut Add<'_>) {
    let Some(sharing) = presenter.sharing else { return };
    let what = if sharing.same_certificate { "the certificate" } else { "a certificate with the key" };
    let summary = format!(
        "{} presented {what} of {}, as did {}",
        name(presenter.end),
        holder(presenter),
        list(&sharing.others),
    );
    let certificate = Some(presenter.leaf.sha256.clone());
    add(Code::CertificateSharedByWorkloads, Some(presenter.side), certificate, summary);
}

/// RFC 5280 section 4.2.1.12: without the extension, and with `anyExtendedKeyUsage`, there is no limit.
fn keeps_purpose(presenter: &Presenter<'_>, add: &mut Add<'_>) {
    let (purpose, role) = match presenter.side {
        SideName::Client => ("clientAuth", "client"),
        SideName::Server => ("serverAuth", "server"),
    };
    let purposes = &presenter.leaf.extended_key_usage;
    if purposes.is_empty() || purposes.iter().any(|one| one == purpose || one == "anyExtendedKeyUsage") {
        return;
    }
    let summary = format!(
        "{} presented the certificate of {} as a {role}, and its extended key usage allows only {}",
        name(presenter.end),
        holder(presenter),
        list(purposes),
    );
    let certificate = Some(presenter.leaf.sha256.clone());
    add(Code::CertificateUsedAgainstItsPurpose, Some(presenter.side), certificate, summary);
}

fn holder(presenter: &Presenter<'_>) -> String {
    presenter
        .end
        .identity
        .as_deref()
        .map_or_else(|| "nobody by name".to_owned(), |identity| cut(identity).into_owned())
}

fn list(names: &[impl AsRef<str>]) -> String {
    let mut all: Vec<String> =
        names.iter().take(MAX_NAMES).map(|name| cut(name.as_ref()).into_owned()).collect();
    if names.len() > MAX_NAMES {
        all.push(format!("{} more", names.len() - MAX_NAMES));
    }
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests;
