//! What a cipher suite says about authentication and record sizes.

use tls_parser::{TlsCipherAu, TlsCipherEnc, TlsCipherEncMode, TlsCipherKx, TlsCipherSuite};

use super::Version;

/// IANA name of a cipher suite.
pub fn cipher_suite_name(suite: u16) -> Option<&'static str> {
    TlsCipherSuite::from_id(suite).map(|suite| suite.name)
}

/// NULL encryption: the bytes are readable by anyone.
pub fn suite_is_integrity_only(suite: u16) -> bool {
    TlsCipherSuite::from_id(suite).is_some_and(|suite| suite.enc == TlsCipherEnc::Null)
}

/// Neither side proves anything.
fn suite_is_anonymous(suite: u16) -> bool {
    TlsCipherSuite::from_id(suite).is_some_and(|suite| {
        suite.au == TlsCipherAu::Null
            && matches!(suite.kx, TlsCipherKx::Dh | TlsCipherKx::Ecdh | TlsCipherKx::Null)
    })
}

/// A key known to both sides before takes the place of certificates: PSK without RSA (RFC 4279, RFC 5489), SRP
/// without signature (RFC 5054), Kerberos (RFC 2712), ECCPWD (RFC 8492).
fn suite_has_external_key(suite: u16) -> bool {
    TlsCipherSuite::from_id(suite).is_some_and(|suite| match suite.kx {
        // RSA_PSK sends a certificate (RFC 4279 section 4); the table files it under key exchange RSA.
        TlsCipherKx::Rsa => false,
        TlsCipherKx::Krb5 | TlsCipherKx::Eccpwd | TlsCipherKx::Psk => true,
        _ => matches!(suite.au, TlsCipherAu::Psk | TlsCipherAu::Srp | TlsCipherAu::Krb5),
    })
}

/// What proves the server under a suite of TLS ≤ 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Proof {
    /// A certificate, or a key in its place.
    #[default]
    Certificate,
    /// A key known to both sides before.
    ExternalKey,
    /// Nothing.
    None,
}

pub(super) fn proof(suite: u16) -> Proof {
    if suite_is_anonymous(suite) {
        Proof::None
    } else if suite_has_external_key(suite) {
        Proof::ExternalKey
    } else {
        Proof::Certificate
    }
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

/// Bytes of an alert: level and description (RFC 8446 section 6).
const ALERT: u64 = 2;
/// Bytes of a record's header.
const HEADER: u64 = 5;
/// Bytes of a nonce that AES-GCM and AES-CCM send (RFC 5288 section 3).
const EXPLICIT_NONCE: u64 = 8;

/// The largest record that an alert takes under this suite, without padding that nobody needs; `None` if that is not known.
pub fn alert_record_bytes(suite: u16, version: Version) -> Option<u64> {
    if version.is_modern() {
        return record_sizes(suite).map(|sizes| HEADER + ALERT + u64::from(sizes.overhead));
    }
    let suite = TlsCipherSuite::from_id(suite)?;
    let tag = if suite.name.ends_with("CCM_8") { 8 } else { 16 };
    let mac = u64::from(suite.mac_size / 8);
    let protected = match (suite.enc_mode, suite.enc) {
        (TlsCipherEncMode::Gcm | TlsCipherEncMode::Ccm, _) => EXPLICIT_NONCE + ALERT + tag,
        (_, TlsCipherEnc::Chacha20_Poly1305) => ALERT + tag,
        (TlsCipherEncMode::Cbc, _) => {
            let block = u64::try_from(suite.enc_block_size()).ok().filter(|block| *block > 0)?;
            // At least one byte of padding; the MAC is encrypted, or follows (RFC 7366). The IV is sent since TLS 1.1.
            let inside = (ALERT + mac + 1).next_multiple_of(block);
            let behind = (ALERT + 1).next_multiple_of(block) + mac;
            block + inside.max(behind)
        }
        (TlsCipherEncMode::Null, _) => ALERT + mac,
    };
    Some(HEADER + protected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_takes_the_room_that_its_suite_needs() {
        for (suite, version, bytes) in [
            (0x1301, Version::Tls13, Some(24)),
            (0x1305, Version::Tls13, Some(16)),
            // AES_128_GCM, AES_128_CCM_8, CHACHA20_POLY1305, RC4_128_SHA, NULL_SHA
            (0xc02f, Version::Tls12, Some(31)),
            (0xc0a0, Version::Tls12, Some(23)),
            (0xcca8, Version::Tls12, Some(23)),
            (0x0005, Version::Tls12, Some(27)),
            (0x0002, Version::Tls12, Some(27)),
            // AES_128_CBC_SHA, AES_256_CBC_SHA384, 3DES_EDE_CBC_SHA
            (0xc013, Version::Tls12, Some(57)),
            (0xc028, Version::Tls12, Some(85)),
            (0x000a, Version::Tls10, Some(41)),
            (0xc02f, Version::Tls13, None),
            (0xfafa, Version::Tls12, None),
        ] {
            assert_eq!(alert_record_bytes(suite, version), bytes, "{suite:#x}");
        }
    }

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
