//! The fields of TBSCertificate (RFC 5280 section 4.1), each read by itself so that one odd field hides no other.

use x509_parser::asn1_rs::{Any, Class, FromDer, Header};
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use super::{MAX_EXTENSIONS, Reading, algorithm, extension, hex, name};
use crate::record::WallTime;

const NANOSECONDS: i64 = 1_000_000_000;
/// Longest serial number that is printed: RFC 5280 section 4.1.2.2 allows 20 bytes.
const MAX_SERIAL: usize = 64;

/// Reads `der` into `reading`.
pub(super) fn certificate(der: &[u8], reading: &mut Reading) {
    let Some((outer, trailing)) = Element::take(der) else {
        return reading.problem("not DER");
    };
    if !trailing.is_empty() {
        reading.problem("bytes after the certificate");
    }
    let Some((tbs, after_tbs)) = Element::take(outer.content).filter(|_| outer.is_sequence()) else {
        return reading.problem("no TBSCertificate");
    };
    match Element::take(after_tbs) {
        Some((algorithm, signature)) => {
            if Element::take(signature).is_none() {
                reading.problem("no signature");
            }
            signature_algorithm(algorithm, reading);
        }
        None => reading.problem("no signatureAlgorithm"),
    }
    fields(tbs.content, reading);
}

fn fields(tbs: &[u8], reading: &mut Reading) {
    let mut rest = tbs;
    let mut next = || {
        let (element, after) = Element::take(rest)?;
        rest = after;
        Some(element)
    };
    let mut first = next();
    // version [0] EXPLICIT DEFAULT v1
    if first.is_some_and(|element| element.is_context(0)) {
        first = next();
    }
    let Some(serial) = first else { return reading.problem("TBSCertificate is cut") };
    reading.record.serial = Some(hex(&serial.content[..serial.content.len().min(MAX_SERIAL)]));
    let (Some(_signature), Some(issuer), Some(validity_field), Some(subject), Some(key)) =
        (next(), next(), next(), next(), next())
    else {
        return reading.problem("TBSCertificate is cut");
    };
    reading.record.issuer = distinguished_name(issuer, "issuer did not parse", reading);
    reading.record.subject = distinguished_name(subject, "subject did not parse", reading);
    validity(validity_field, reading);
    public_key(key, reading);
    for _ in 0..3 {
        let Some(element) = next() else { break };
        // issuerUniqueID [1] and subjectUniqueID [2] are not read.
        if element.is_context(3) {
            extensions(element, reading);
        }
    }
    let agrees = match (&reading.record.authority_key_id, &reading.record.subject_key_id) {
        (Some(authority), Some(subject)) => authority == subject,
        _ => true,
    };
    reading.record.self_signed = Some(issuer.whole == subject.whole && agrees);
    // Absent basicConstraints means no CA (RFC 5280 section 4.2.1.9).
    reading.record.is_ca.get_or_insert(false);
}

fn distinguished_name(element: Element<'_>, problem: &'static str, reading: &mut Reading) -> Option<String> {
    match X509Name::from_der(element.whole) {
        Ok((_, parsed)) => Some(name::rfc4514(&parsed)),
        Err(_) => {
            reading.problem(problem);
            None
        }
    }
}

fn validity(element: Element<'_>, reading: &mut Reading) {
    let mut rest = element.content;
    let mut time = || {
        let (element, after) = Element::take(rest)?;
        rest = after;
        let (_, time) = ASN1Time::from_der(element.whole).ok()?;
        // Years past 2262, such as "no expiry" (RFC 5280 section 4.1.2.5), become the last moment that can be named.
        Some(WallTime(time.timestamp().saturating_mul(NANOSECONDS)))
    };
    (reading.record.not_before, reading.record.not_after) = (time(), time());
    if reading.record.not_before.is_none() || reading.record.not_after.is_none() {
        reading.problem("validity did not parse");
    }
}

fn public_key(element: Element<'_>, reading: &mut Reading) {
    reading.record.spki_sha256 = Some(hex(&super::fingerprint(element.whole)));
    match SubjectPublicKeyInfo::from_der(element.whole) {
        Ok((_, key)) => {
            let (algorithm, bits) = algorithm::public_key(&key);
            reading.record.key_algorithm = Some(algorithm);
            reading.record.key_bits = bits;
        }
        Err(_) => reading.problem("subjectPublicKeyInfo did not parse"),
    }
}

fn signature_algorithm(element: Element<'_>, reading: &mut Reading) {
    match AlgorithmIdentifier::from_der(element.whole) {
        Ok((_, parsed)) => reading.record.signature_algorithm = Some(algorithm::signature(&parsed.algorithm)),
        Err(_) => reading.problem("signatureAlgorithm did not parse"),
    }
}

fn extensions(element: Element<'_>, reading: &mut Reading) {
    let Some((list, _)) = Element::take(element.content) else {
        return reading.problem("extensions did not parse");
    };
    let mut rest = list.content;
    for _ in 0..MAX_EXTENSIONS {
        if rest.is_empty() {
            return;
        }
        let Some((extension, after)) = Element::take(rest) else {
            return reading.problem("extensions are cut");
        };
        rest = after;
        extension::read(extension.whole, reading);
    }
    if !rest.is_empty() {
        reading.problem("more extensions than are read");
    }
}

/// One DER element.
#[derive(Clone, Copy)]
struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
    class: Class,
    tag: u32,
}

impl<'a> Element<'a> {
    /// The first element of `bytes`, and what follows it.
    fn take(bytes: &'a [u8]) -> Option<(Element<'a>, &'a [u8])> {
        let (rest, any) = Any::from_der(bytes).ok()?;
        let header: &Header<'_> = &any.header;
        let whole = &bytes[..bytes.len() - rest.len()];
        let element = Element { whole, content: any.data, class: header.class(), tag: header.tag().0 };
        Some((element, rest))
    }

    fn is_sequence(self) -> bool {
        self.class == Class::Universal && self.tag == 16
    }

    fn is_context(self, tag: u32) -> bool {
        self.class == Class::ContextSpecific && self.tag == tag
    }
}
