//! SPIFFE IDs, and the profile of the certificates that carry them (X.509-SVID).

use crate::record::{CertificateRecord, Text};

/// Longest SPIFFE ID in bytes (SPIFFE-ID section 2.3).
pub const MAX_SPIFFE_ID: usize = 2048;
/// Longest name of a trust domain in bytes (the same section).
const MAX_TRUST_DOMAIN: usize = 255;
const SCHEME: &str = "spiffe://";

/// A SPIFFE ID by its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpiffeId<'a> {
    /// Who vouches for it.
    pub trust_domain: &'a str,
    /// With its first `/`; empty for the trust domain itself.
    pub path: &'a str,
}

/// A SPIFFE ID (SPIFFE-ID section 2); `None` if the text is none. Scheme and trust domain are lower-case, so that equal
/// IDs are equal texts; a port, user, query, fragment, escape or dot segment has no place in it.
pub fn spiffe_id(text: &str) -> Option<SpiffeId<'_>> {
    let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= MAX_SPIFFE_ID)?;
    let (trust_domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let of_domain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    let is_domain =
        (1..=MAX_TRUST_DOMAIN).contains(&trust_domain.len()) && trust_domain.bytes().all(of_domain);
    let of_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(of_path);
    let is_path = path.is_empty() || path.split('/').skip(1).all(is_segment);
    (is_domain && is_path).then_some(SpiffeId { trust_domain, path })
}

/// The SPIFFE ID that a certificate may claim, or why it may not although it names one. Neither for a
/// certificate without a URI of that scheme.
pub(super) fn claimed(record: &CertificateRecord) -> (Option<String>, Option<Text>) {
    let is_spiffe =
        |uri: &&String| uri.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let Some(uri) = record.san.uri.iter().find(is_spiffe) else { return (None, None) };
    match problem(uri, record) {
        Some(problem) => (None, Some(problem.into())),
        None => (Some(uri.clone()), None),
    }
}

/// What the X.509-SVID profile forbids: what validators have to refuse (section 5.2), and key usages (section 4.3).
fn problem(uri: &str, record: &CertificateRecord) -> Option<&'static str> {
    let uses = |usage: &str| record.key_usage.iter().any(|named| named == usage);
    if record.san.uri.len() > 1 {
        return Some("several_uris");
    }
    let Some(id) = spiffe_id(uri) else { return Some("not_a_spiffe_id") };
    if record.parse_error.is_some() {
        Some("not_read_in_full")
    } else if record.is_ca == Some(true) {
        // The ID of a signing certificate is that of its trust domain (section 3.2).
        match (id.path.is_empty(), uses("keyCertSign")) {
            (false, _) => Some("authority_with_path"),
            (true, false) => Some("authority_without_key_cert_sign"),
            (true, true) => None,
        }
    } else if id.path.is_empty() {
        Some("no_path")
    } else if uses("keyCertSign") || uses("cRLSign") {
        Some("signing_key_usage")
    } else if !uses("digitalSignature") {
        Some("no_digital_signature")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SubjectAlternativeNames;

    #[test]
    fn a_spiffe_id_is_what_the_standard_says() {
        let id = |trust_domain, path| Some(SpiffeId { trust_domain, path });
        assert_eq!(
            spiffe_id("spiffe://prod.example_1-a/ns/Web/sa/a.b"),
            id("prod.example_1-a", "/ns/Web/sa/a.b")
        );
        assert_eq!(spiffe_id("spiffe://prod"), id("prod", ""));
        let longest = format!("spiffe://{}/{}", "d".repeat(255), "p".repeat(2048 - 9 - 255 - 1));
        assert!(spiffe_id(&longest).is_some());
        for text in [
            "",
            "spiffe://",
            "spiffe:///web",
            "SPIFFE://prod/web",
            "https://prod/web",
            "spiffe:/prod/web",
            "spiffe://Prod/web",
            "spiffe://prod:443/web",
            "spiffe://admin@prod/web",
            "spiffe://prod/",
            "spiffe://prod/web/",
            "spiffe://prod//web",
            "spiffe://prod/./web",
            "spiffe://prod/../web",
            "spiffe://prod/web?x",
            "spiffe://prod/web#x",
            "spiffe://prod/w%65b",
            "spiffe://prod/wéb",
            "spiffe://prod/web\\0a",
            " spiffe://prod/web",
            &format!("{longest}p"),
            &format!("spiffe://{}/web", "d".repeat(256)),
        ] {
            assert_eq!(spiffe_id(text), None, "{text}");
        }
    }

    fn record(uris: &[&str], is_ca: bool, key_usage: &[&str]) -> CertificateRecord {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CertificateRecord {
            san: SubjectAlternativeNames { uri: texts(uris), ..SubjectAlternativeNames::default() },
            is_ca: Some(is_ca),
            key_usage: texts(key_usage),
            ..CertificateRecord::default()
        }
    }

    #[test]
    fn a_certificate_claims_its_spiffe_id_only_by_the_profile() {
        let leaf = ["spiffe://prod/web"].as_slice();
        let sign = ["digitalSignature"].as_slice();
        for (uris, is_ca, key_usage, problem) in [
            (leaf, false, sign, None),
            (leaf, false, &["digitalSignature", "keyEncipherment"], None),
            (&["https://prod/web"], false, sign, None),
            (&["spiffe://prod"], true, &["keyCertSign", "cRLSign"], None),
            (&["spiffe://prod/web", "https://prod/web"], false, sign, Some("several_uris")),
            (&["spiffe://prod/web", "spiffe://prod/admin"], false, sign, Some("several_uris")),
            (&["spiffe://prod/web/"], false, sign, Some("not_a_spiffe_id")),
            (&["Spiffe://prod/web"], false, sign, Some("not_a_spiffe_id")),
            (&["spiffe://prod"], false, sign, Some("no_path")),
            (leaf, false, &[], Some("no_digital_signature")),
            (leaf, false, &["digitalSignature", "keyCertSign"], Some("signing_key_usage")),
            (leaf, false, &["digitalSignature", "cRLSign"], Some("signing_key_usage")),
            (leaf, true, &["keyCertSign"], Some("authority_with_path")),
            (&["spiffe://prod"], true, sign, Some("authority_without_key_cert_sign")),
        ] {
            let (id, found) = claimed(&record(uris, is_ca, key_usage));
            assert_eq!(found.as_deref(), problem, "{uris:?} {is_ca} {key_usage:?}");
            let names_one = uris[0].starts_with("spiffe://");
            assert_eq!(id.as_deref(), (problem.is_none() && names_one).then_some(uris[0]));
        }
        let mut odd = record(leaf, false, sign);
        odd.parse_error = Some("an extension did not parse".to_owned());
        assert_eq!(claimed(&odd), (None, Some("not_read_in_full".into())));
    }
}
