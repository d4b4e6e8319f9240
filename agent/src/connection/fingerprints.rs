//! Fingerprints of certificates that were met: most handshakes show one that was met before, and to compare its bytes
//! costs less than SHA-256 of them.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::Fingerprint;
use crate::certificate;

/// Bytes of certificates remembered: some hundreds, more than a host or a capture shows often.
const MAX_BYTES: usize = 512 << 10;

/// Bounded; when it is full it begins anew.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    /// Keyed with a random hash: certificates are an adversary's to choose.
    known: HashMap<Bytes, Fingerprint, RandomState>,
    bytes: usize,
}

impl Fingerprints {
    /// The fingerprint of a certificate. `der` should own what it holds, which may be kept.
    pub fn of(&mut self, der: &Bytes) -> Fingerprint {
        if let Some(known) = self.known.get(der) {
            return *known;
        }
        let fingerprint = Fingerprint(certificate::fingerprint(der));
        if self.bytes + der.len() > MAX_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        if der.len() <= MAX_BYTES {
            self.bytes += der.len();
            self.known.insert(der.clone(), fingerprint);
        }
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_the_bytes_however_many_certificates_are_met() {
        let mut fingerprints = Fingerprints::default();
        let certificate = |number: usize| Bytes::from(vec![number as u8; 1000 + number / 256]);
        for number in [0, 1, 0].into_iter().chain(0..2000).chain([0, 1]) {
            let der = certificate(number);
            assert_eq!(fingerprints.of(&der).0, certificate::fingerprint(&der));
            assert!(fingerprints.bytes <= MAX_BYTES);
            let held: usize = fingerprints.known.keys().map(Bytes::len).sum();
            assert_eq!(held, fingerprints.bytes);
        }
        let long = Bytes::from(vec![7; MAX_BYTES + 1]);
        assert_eq!(fingerprints.of(&long).0, certificate::fingerprint(&long));
        assert_eq!(fingerprints.bytes, 0);
    }
}
