//! Names of key and signature algorithms, and sizes of keys.

use x509_parser::asn1_rs::Oid;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Algorithm (name, or OID) and size in bits where it is known.
pub(super) fn public_key(key: &SubjectPublicKeyInfo<'_>) -> (String, Option<u32>) {
    let oid = key.algorithm.algorithm.to_id_string();
    let (name, bits) = match oid.as_str() {
        "1.2.840.113549.1.1.1" => ("rsa", rsa_bits(key)),
        "1.2.840.113549.1.1.10" => ("rsa_pss", rsa_bits(key)),
        "1.2.840.10045.2.1" => ("ec", curve_bits(key)),
        "1.2.840.10040.4.1" => ("dsa", None),
        "1.3.101.110" => ("x25519", Some(255)),
        "1.3.101.111" => ("x448", Some(448)),
        "1.3.101.112" => ("ed25519", Some(255)),
        "1.3.101.113" => ("ed448", Some(448)),
        "2.16.840.1.101.3.4.3.17" => ("ml_dsa_44", None),
        "2.16.840.1.101.3.4.3.18" => ("ml_dsa_65", None),
        "2.16.840.1.101.3.4.3.19" => ("ml_dsa_87", None),
        _ => (oid.as_str(), None),
    };
    (name.to_owned(), bits)
}

/// Bits of the modulus, leading zeros left out.
fn rsa_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<u32> {
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else { return None };
    let first = rsa.modulus.iter().position(|&byte| byte != 0)?;
    let bits = (rsa.modulus.len() - first) * 8 - rsa.modulus[first].leading_zeros() as usize;
    u32::try_from(bits).ok()
}

/// By the named curve (RFC 5480 section 2.1.1.1, RFC 5639, SEC 2).
fn curve_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<u32> {
    let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
    Some(match curve.as_str() {
        "1.2.840.10045.3.1.1" => 192,
        "1.3.132.0.33" => 224,
        "1.2.840.10045.3.1.7" | "1.3.132.0.10" | "1.3.36.3.3.2.8.1.1.7" | "1.2.156.10197.1.301" => 256,
        "1.3.132.0.34" | "1.3.36.3.3.2.8.1.1.11" => 384,
        "1.3.36.3.3.2.8.1.1.13" => 512,
        "1.3.132.0.35" => 521,
        _ => return None,
    })
}

/// Name of a signature algorithm (RFC 3279, 4055, 5758, 8410, FIPS 204), or its OID.
pub(super) fn signature(oid: &Oid<'_>) -> String {
    let oid = oid.to_id_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.2" => "md2WithRSAEncryption",
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassaPss",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.113549.1.1.14" => "sha224WithRSAEncryption",
        "1.2.840.10040.4.3" => "dsa-with-sha1",
        "2.16.840.1.101.3.4.3.1" => "dsa-with-sha224",
        "2.16.840.1.101.3.4.3.2" => "dsa-with-sha256",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.1" => "ecdsa-with-SHA224",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "ed25519",
        "1.3.101.113" => "ed448",
        "1.2.156.10197.1.501" => "sm2-with-SM3",
        "2.16.840.1.101.3.4.3.17" => "ml-dsa-44",
        "2.16.840.1.101.3.4.3.18" => "ml-dsa-65",
        "2.16.840.1.101.3.4.3.19" => "ml-dsa-87",
        other => other,
    };
    name.to_owned()
}
