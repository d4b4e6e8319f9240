//! Whom a certificate names.

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
        if let Some(id) = &certificate.spiffe_id {
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

/// The one common name of a subject (RFC 4514). Escapes are left as they are: no host name has one.
fn common_name(subject: &str) -> Option<&str> {
    let mut found = None;
    let (mut begin, mut escaped) = (0, false);
    for (index, char) in subject.char_indices().chain([(subject.len(), ',')]) {
        let ends = matches!(char, ',' | '+') && (!escaped || index == subject.len());
        escaped = char == '\\' && !escaped;
        if !ends {
            continue;
        }
        if let Some(name) = subject[begin..index].strip_prefix("CN=")
            && found.replace(name).is_some()
        {
            return None;
        }
        begin = (index + 1).min(subject.len());
    }
    found
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
