//! Whom a certificate names.

use crate::certificate::spiffe_id;
use crate::record::CertificateRecord;

/// One name of the holder of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PresentedName<'a> {
    Spiffe(&'a str),
    Dns(&'a str),
    Uri(&'a str),
    Address(&'a str),
    Email(&'a str),
    Subject { whole: &'a str, common_name: Option<&'a str> },
}

impl<'a> PresentedName<'a> {
    /// The SPIFFE ID if there is one that counts; else all alternative names; else the subject.
    pub(super) fn of(certificate: &'a CertificateRecord) -> Vec<PresentedName<'a>> {
        if let Some(id) = certificate.spiffe_id.as_deref().or_else(|| unread_svid(certificate)) {
            return vec![PresentedName::Spiffe(id)];
        }
        let san = &certificate.san;
        let mut names: Vec<PresentedName<'a>> = san.dns.iter().map(|name| PresentedName::Dns(name)).collect();
        names.extend(san.uri.iter().map(|uri| PresentedName::Uri(uri)));
        names.extend(san.ip.iter().map(|address| PresentedName::Address(address)));
        names.extend(san.email.iter().map(|address| PresentedName::Email(address)));
        if names.is_empty()
            && let Some(whole) = certificate.subject.as_deref().filter(|subject| !subject.is_empty())
        {
            names.push(PresentedName::Subject { whole, common_name: common_name(whole) });
        }
        names
    }

    /// Whether the certificate may name more than these: something of it was not read, or is of a kind that records do not show.
    pub(super) fn are_cut(certificate: &CertificateRecord) -> bool {
        let counts_all = certificate.spiffe_id.is_none();
        certificate.parse_error.is_some() || (counts_all && certificate.san.unread > 0)
    }

    pub(super) fn as_str(&self) -> &'a str {
        match self {
            PresentedName::Spiffe(name)
            | PresentedName::Dns(name)
            | PresentedName::Uri(name)
            | PresentedName::Address(name)
            | PresentedName::Email(name)
            | PresentedName::Subject { whole: name, .. } => name,
        }
    }
}

/// The SPIFFE ID of a certificate that has no claim to it only because something of it was not read.
fn unread_svid(certificate: &CertificateRecord) -> Option<&str> {
    match certificate.san.uri.as_slice() {
        [uri] if certificate.parse_error.is_some() => spiffe_id(uri).map(|_| uri.as_str()),
        _ => None,
    }
}

/// The one common name of a subject (RFC 4514). Escapes are left as they are: no host name has one.
fn common_name(subject: &str) -> Option<&str> {
    let mut names = attributes(subject).filter_map(|(attribute, _)| attribute.strip_prefix("CN="));
    names.next().filter(|_| names.next().is_none())
}

/// The attributes of a subject (RFC 4514), each with the separator that ends it, if one does: `,` or `+`.
pub(super) fn attributes(subject: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    let mut rest = Some(subject);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut escaped = false;
        let end = text.char_indices().find(|(_, char)| {
            let ends = matches!(char, ',' | '+') && !escaped;
            escaped = *char == '\\' && !escaped;
            ends
        });
        rest = end.map(|(end, _)| &text[end + 1..]);
        Some((end.map_or(text, |(end, _)| &text[..end]), end.map(|(_, separator)| separator)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_is_the_only_one_and_not_within_another_value() {
        for (subject, name) in [
            ("CN=web.internal", Some("web.internal")),
            ("CN=web,O=Shop", Some("web")),
            ("O=Shop,CN=web", Some("web")),
            ("O=Shop+CN=web,C=DE", Some("web")),
            (r"O=x\,CN=admin,CN=web", Some("web")),
            (r"O=x\\,CN=web", Some("web")),
            (r"O=x\,CN=admin", None),
            ("CN=web,CN=admin", None),
            ("O=Shop", None),
            ("", None),
            (r"CN=web\", Some(r"web\")),
        ] {
            assert_eq!(common_name(subject), name, "{subject}");
        }
    }
}
