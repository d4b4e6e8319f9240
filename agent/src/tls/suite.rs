//! What a cipher suite says about authentication and record sizes.

use tls_parser::{TlsCipherAu, TlsCipherEnc, TlsCipherKx, TlsCipherSuite};

/// IANA name of a cipher suite.
pub fn cipher_suite_name(suite: u16) -> Option<&'static str> {
    TlsCipherSuite::from_id(suite).map(|suite| suite.name)
}

/// NULL encryption: the bytes are readable by anyone.
pub fn suite_is_integrity_only(suite: u16) -> bool {
    TlsCipherSuite::from_id(suite).is_some_and(|suite| suite.enc == TlsCipherEnc::Null)
}

/// Neither side proves anything.
pub fn suite_is_anonymous(suite: u16) -> bool {
    TlsCipherSuite::from_id(suite).is_some_and(|suite| {
        suite.au == TlsCipherAu::Null
            && matches!(suite.kx, TlsCipherKx::Dh | TlsCipherKx::Ecdh | TlsCipherKx::Null)
    })
}

/// A key known to both sides before takes the place of certificates: PSK without RSA (RFC 4279, RFC 5489), SRP
/// without signature (RFC 5054), Kerberos (RFC 2712), ECCPWD (RFC 8492).
pub(super) fn suite_has_external_key(suite: u16) -> bool {
    TlsCipherSuite::from_id(suite).is_some_and(|suite| match suite.kx {
        // RSA_PSK sends a certificate (RFC 4279 section 4); the table files it under key exchange RSA.
        TlsCipherKx::Rsa => false,
        TlsCipherKx::Krb5 | TlsCipherKx::Eccpwd | TlsCipherKx::Psk => true,
        _ => matches!(suite.au, TlsCipherAu::Psk | TlsCipherAu::Srp | TlsCipherAu::Krb5),
    })
}

/// The key exchange may use the keys of both certificates: static (EC)DH (RFC 5246 section 7.4.2, RFC 4492 section 2).
pub(super) fn suite_has_static_keys(suite: u16) -> bool {
    TlsCipherSuite::from_id(suite).is_some_and(|suite| {
        matches!(suite.kx, TlsCipherKx::Dh | TlsCipherKx::Ecdh) && suite.au != TlsCipherAu::Null
    })
}

/// How ServerKeyExchange of this suite names its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyExchange {
    /// ECDH parameters at once (RFC 8422 section 5.4).
    EllipticCurve,
    /// Behind a PSK identity hint (RFC 5489 section 2).
    EllipticCurveAfterHint,
    /// It has no named group.
    Other,
}

pub(super) fn key_exchange(suite: u16) -> KeyExchange {
    match TlsCipherSuite::from_id(suite) {
        Some(suite) if matches!(suite.kx, TlsCipherKx::Ecdhe | TlsCipherKx::Ecdh) => match suite.au {
            TlsCipherAu::Psk => KeyExchange::EllipticCurveAfterHint,
            _ => KeyExchange::EllipticCurve,
        },
        _ => KeyExchange::Other,
    }
}

/// Sizes of a TLS 1.3 suite's records (TLS13_INFERENCE, "From the ServerHello").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordSizes {
    /// A Finished message: handshake header and hash.
    pub finished: u16,
    /// What encryption adds: inner content type and tag.
    pub overhead: u16,
}

/// `None` for suites whose overhead is not known.
pub(super) fn record_sizes(suite: u16) -> Option<RecordSizes> {
    match suite {
        0x1301 | 0x1303 | 0x1304 => Some(RecordSizes { finished: 36, overhead: 17 }),
        0x1302 => Some(RecordSizes { finished: 52, overhead: 17 }),
        // CCM_8: a tag of 8 bytes.
        0x1305 => Some(RecordSizes { finished: 36, overhead: 9 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_told_apart_by_what_they_prove() {
        assert_eq!(cipher_suite_name(0x1301), Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(cipher_suite_name(0xc02f), Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert_eq!(cipher_suite_name(0xfafa), None);
        assert!(suite_is_integrity_only(0x003b) && suite_is_integrity_only(0xc0b4));
        assert!(!suite_is_integrity_only(0x1301));
        for anonymous in [0x0018, 0x001b, 0x0034, 0xc018, 0xc019] {
            assert!(suite_is_anonymous(anonymous), "{anonymous:#x}");
        }
        // PSK, DHE_PSK, ECDHE_PSK, SRP, KRB5
        for external in [0x008c, 0x00aa, 0xc035, 0xc01d, 0x001e, 0xccac, 0xccad, 0xccab] {
            assert!(suite_has_external_key(external) && !suite_is_anonymous(external), "{external:#x}");
        }
        // RSA, RSA_PSK, SRP_RSA, ECDHE_RSA, DHE_RSA, TLS 1.3
        for certified in [0x002f, 0x0094, 0xc01e, 0xc02f, 0x0033, 0x1301] {
            assert!(!suite_has_external_key(certified) && !suite_is_anonymous(certified), "{certified:#x}");
        }
        // DH_RSA, DH_DSS, ECDH_ECDSA, ECDH_RSA
        for fixed in [0x0031, 0x0030, 0x00a0, 0xc004, 0xc00e, 0xc025] {
            assert!(suite_has_static_keys(fixed), "{fixed:#x}");
        }
        // RSA, DHE_RSA, ECDHE_RSA, ECDHE_ECDSA, DH_anon, ECDH_anon, PSK, TLS 1.3
        for other in [0x002f, 0x0033, 0xc02f, 0xc02b, 0x0018, 0xc018, 0x008c, 0x1301] {
            assert!(!suite_has_static_keys(other), "{other:#x}");
        }
        assert_eq!(key_exchange(0xc035), KeyExchange::EllipticCurveAfterHint);
        assert_eq!(key_exchange(0xc02b), KeyExchange::EllipticCurve);
        assert_eq!(key_exchange(0x0033), KeyExchange::Other);
    }
}
