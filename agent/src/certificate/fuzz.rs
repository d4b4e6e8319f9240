//! Fuzz body: any bytes as a certificate.

use super::{MAX_ENTRIES, describe, identity};

/// Whatever the bytes are: a fingerprint, bounded lists, no control characters, and a reason if nothing was read.
pub fn fuzz(data: &[u8]) {
    let record = describe(data);
    assert_eq!(record.sha256.len(), 64);
    assert!(record.subject.is_some() || record.parse_error.is_some());
    let lists = [
        &record.san.dns,
        &record.san.uri,
        &record.san.ip,
        &record.san.email,
        &record.crl_distribution_points,
    ];
    for list in lists {
        assert!(list.len() <= MAX_ENTRIES);
    }
    let strings = record.subject.iter().chain(&record.issuer).chain(lists.into_iter().flatten());
    for text in strings.chain(identity(&record).iter()) {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
