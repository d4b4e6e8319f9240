//! Certificate: the DER of one X.509 certificate → its public record.
//!
//! Enters: bytes that a peer sent, so anything. Leaves: a [`CertificateRecord`] with all that could be read, element
//! by element; what could not is named in `parse_error`. Refuses: judging (expired, weak, trusted), keeping the
//! DER, and lists without end: each has a bound, and reaching it is said.
//!
//! Strings in a record carry no control characters, whatever the certificate holds.

use sha2::{Digest, Sha256};

use crate::record::{CERTIFICATE_SCHEMA, CertificateRecord};

mod algorithm;
mod extension;
mod field;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod name;
mod svid;
#[cfg(test)]
mod tests;

pub use svid::{MAX_SPIFFE_ID, SpiffeId, spiffe_id};

/// Longest certificate that is parsed: the bound on the message that carries it.
pub const MAX_DER: usize = 128 << 10;
/// Entries kept of each list (SANs, distribution points, key usages): CDN certificates have about 100 names.
pub const MAX_ENTRIES: usize = 256;
/// Extensions looked at: real certificates have about 10.
const MAX_EXTENSIONS: usize = 64;
/// Bytes of a name, URI or other string that are kept; DNS names have at most 255, and SPIFFE IDs are the longest that matter.
const MAX_TEXT: usize = MAX_SPIFFE_ID;

/// Everything that can be read of a certificate.
pub fn describe(der: &[u8]) -> CertificateRecord {
    let mut reading = Reading {
        record: CertificateRecord {
            schema: CERTIFICATE_SCHEMA.to_owned(),
            sha256: hex(&fingerprint(der)),
            ..CertificateRecord::default()
        },
        problems: Vec::new(),
    };
    if der.len() > MAX_DER {
        reading.problem("longer than the bound on what is parsed");
    } else {
        field::certificate(der, &mut reading);
    }
    let Reading { mut record, problems } = reading;
    record.parse_error = (!problems.is_empty()).then(|| problems.join("; "));
    (record.spiffe_id, record.svid_problem) = svid::claimed(&record);
    record
}

/// Who a certificate names: the SPIFFE ID, else the first DNS SAN that is written like a host's name, else the subject. What is
/// written in a DNS SAN passes for no name of another kind.
pub fn identity(certificate: &CertificateRecord) -> Option<String> {
    let host = || certificate.san.dns.iter().find(|name| is_host(name));
    let subject = || certificate.subject.as_ref().filter(|subject| !subject.is_empty());
    certificate.spiffe_id.as_ref().or_else(host).or_else(subject).cloned()
}

/// Whether a DNS SAN is written like the name of a host, or of all hosts below a name (`*.example.com`).
fn is_host(name: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let name = name.strip_prefix("*.").unwrap_or(name);
    !name.is_empty() && name.bytes().all(of_name)
}

/// SHA-256 of the DER.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// A record in the making, and what went wrong.
struct Reading {
    record: CertificateRecord,
    problems: Vec<&'static str>,
}

impl Reading {
    fn problem(&mut self, problem: &'static str) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
