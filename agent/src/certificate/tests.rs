use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::*;
use crate::record::{SubjectAlternativeNames, WallTime};

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date_time_ymd(2024, 2, 3);
    params.not_after = date_time_ymd(2034, 2, 3);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn full() -> Vec<u8> {
    made(|params| {
        params.distinguished_name.push(DnType::OrganizationName, "Fixtures, Inc.");
        params.distinguished_name.push(DnType::CommonName, "#leaf \u{7}\u{202e}<x>");
        params.subject_alt_names = vec![
            dns("one.example"),
            dns("two.example"),
            uri("spiffe://example.org/leaf"),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::Rfc822Name(Ia5String::try_from("a@example.org").unwrap()),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::Other(vec![1, 2, 3, 4]),
        ];
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec!["http://crl.example/1".into()] }];
        params.use_authority_key_identifier_extension = true;
    })
}

#[test]
fn everything_that_a_certificate_says_is_given() {
    let der = full();
    let record = describe(&der);
    assert_eq!(record.parse_error, None);
    assert_eq!(record.schema, CERTIFICATE_SCHEMA);
    assert_eq!(record.sha256, hex(&fingerprint(&der)));
    assert_eq!(record.subject.as_deref(), Some(r"CN=\#leaf \07\e2\80\ae\<x\>,O=Fixtures\, Inc."));
    assert_eq!(record.issuer, record.subject);
    assert_eq!(record.not_before, Some(WallTime(1_706_918_400_000_000_000)));
    assert_eq!(
        record.not_after.map(|time| time.to_string()).as_deref(),
        Some("2034-02-03T00:00:00.000000000Z")
    );
    assert_eq!(record.san.dns, ["one.example", "two.example"]);
    assert_eq!(record.san.uri, ["spiffe://example.org/leaf"]);
    assert_eq!(record.san.ip, ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(record.san.email, ["a@example.org"]);
    assert_eq!(record.spiffe_id.as_deref(), Some("spiffe://example.org/leaf"));
    assert_eq!(record.svid_problem, None);
    assert_eq!((record.key_algorithm.as_deref(), record.key_bits), (Some("ec"), Some(256)));
    assert_eq!(record.signature_algorithm.as_deref(), Some("ecdsa-with-SHA256"));
    assert_eq!((record.is_ca, record.self_signed), (Some(false), Some(true)));
    assert_eq!(record.key_usage, ["digitalSignature", "keyAgreement"]);
    assert_eq!(record.extended_key_usage, ["serverAuth", "clientAuth", "1.2.3.4"]);
    assert_eq!(record.crl_distribution_points, ["http://crl.example/1"]);
    assert!(record.authority_key_id.is_some());
    assert_eq!(record.spki_sha256.map(|hash| hash.len()), Some(64));
    assert!(record.serial.is_some_and(|serial| !serial.is_empty()));
}

#[test]
fn keys_have_their_size() {
    for (algorithm, name, bits) in
        [(&rcgen::PKCS_ECDSA_P384_SHA384, "ec", Some(384)), (&rcgen::PKCS_ED25519, "ed25519", Some(255))]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
        let record = describe(&der);
        assert_eq!((record.key_algorithm.as_deref(), record.key_bits), (Some(name), bits));
    }
    // 2048 bits, made by OpenSSL; its modulus has a leading zero byte.
    let record = describe(include_bytes!("fixtures/rsa.der"));
    assert_eq!((record.key_algorithm.as_deref(), record.key_bits), (Some("rsa"), Some(2048)));
    assert_eq!(record.parse_error, None);
    assert_eq!(record.subject.as_deref(), Some(r"CN=srvrsa,O=Fixtures\, Inc."));
    assert_eq!(record.self_signed, Some(false));
}

#[test]
fn the_identity_is_the_spiffe_id_else_the_first_dns_name_else_the_subject() {
    assert_eq!(identity(&describe(&full())).as_deref(), Some("spiffe://example.org/leaf"));
    let two = made(|params| {
        params.subject_alt_names =
            vec![uri("spiffe://example.org/a"), uri("spiffe://example.org/b"), dns("name.example")];
    });
    let described = describe(&two);
    assert_eq!((described.spiffe_id, described.svid_problem.as_deref()), (None, Some("several_uris")));
    assert_eq!(identity(&describe(&two)).as_deref(), Some("name.example"));
    let plain = made(|params| params.distinguished_name.push(DnType::CommonName, "plain"));
    assert_eq!(identity(&describe(&plain)).as_deref(), Some("CN=plain"));
    assert_eq!(identity(&describe(&made(|_params| {}))), None);
}

#[test]
fn a_dns_name_that_is_written_like_another_kind_is_no_identity() {
    for name in [
        "spiffe://prod/ns/shop/sa/web",
        "CN=admin",
        "a@b.example",
        "*",
        "*.",
        "a.*.b",
        "a b",
        "10.0.0.1/8",
        "é",
    ] {
        let record = |names: &[&str]| CertificateRecord {
            subject: Some("CN=web".to_owned()),
            san: SubjectAlternativeNames {
                dns: names.iter().map(|name| (*name).to_owned()).collect(),
                ..SubjectAlternativeNames::default()
            },
            ..CertificateRecord::default()
        };
        assert_eq!(identity(&record(&[name])).as_deref(), Some("CN=web"), "{name}");
        assert_eq!(
            identity(&record(&[name, "*.web_1.example."])).as_deref(),
            Some("*.web_1.example."),
            "{name}"
        );
    }
}

#[test]
fn an_authority_is_told_from_a_leaf() {
    let authority = made(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let record = describe(&authority);
    assert_eq!((record.is_ca, record.self_signed), (Some(true), Some(true)));
    assert!(record.subject_key_id.is_some());
}

#[test]
fn names_of_kinds_that_are_not_read_are_counted() {
    let other = || SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "admin@example.org".into()));
    let der = made(|params| params.subject_alt_names = vec![other(), dns("web.internal"), other()]);
    let record = describe(&der);
    assert_eq!(record.parse_error, None);
    assert_eq!((record.san.dns.len(), record.san.unread), (1, 2));
}

#[test]
fn lists_are_bounded_and_say_so() {
    let many = made(|params| {
        params.subject_alt_names =
            (0..MAX_ENTRIES + 1).map(|index| dns(&format!("{index}.example"))).collect();
    });
    let record = describe(&many);
    assert_eq!(record.san.dns.len(), MAX_ENTRIES);
    assert!(record.parse_error.is_some_and(|error| error.contains("more entries")));
    let long = made(|params| params.subject_alt_names = vec![dns(&"a".repeat(MAX_TEXT + 1))]);
    let record = describe(&long);
    assert_eq!(record.san.dns[0].len(), MAX_TEXT);
    assert!(record.parse_error.is_some_and(|error| error.contains("longer than is kept")));
}

#[test]
fn one_odd_field_hides_no_other() {
    let der = full();
    // The SAN extension, by its OID 2.5.29.17: damage the tag of its first name.
    let at = der.windows(5).position(|bytes| bytes == [6, 3, 0x55, 0x1d, 17]).unwrap();
    let names = (at..der.len()).find(|&index| der[index] == 0x82).unwrap();
    let mut odd = der.clone();
    odd[names + 1] = 0xff;
    let record = describe(&odd);
    assert!(record.parse_error.is_some());
    assert_eq!(record.subject, describe(&der).subject);
    assert_eq!(record.key_bits, Some(256));
    assert_eq!(record.key_usage, ["digitalSignature", "keyAgreement"]);
    // An expiry that is no time.
    let at = der.windows(15).position(|bytes| bytes == b"\x17\x0d340203000000Z").unwrap();
    odd.clone_from(&der);
    odd[at + 4] = b'x';
    let record = describe(&odd);
    assert_eq!(record.parse_error.as_deref(), Some("validity did not parse"));
    assert!(record.not_before.is_some() && record.not_after.is_none());
    assert_eq!(record.san.dns.len(), 2);
}

#[test]
fn a_certificate_without_expiry_has_the_last_moment_that_can_be_named() {
    let endless = made(|params| params.not_after = date_time_ymd(9999, 12, 31));
    assert_eq!(describe(&endless).not_after, Some(WallTime(i64::MAX)));
}

#[test]
fn bytes_that_are_no_certificate_have_only_a_fingerprint() {
    for bytes in [&b""[..], b"\x30", b"hello", b"\x30\x80", b"\x30\x03\x02\x01\x00", &[0x30; 64]] {
        let record = describe(bytes);
        assert_eq!(record.sha256.len(), 64);
        assert!(record.parse_error.is_some() && record.subject.is_none(), "{bytes:?}");
    }
    assert!(describe(&vec![0x30; MAX_DER + 1]).parse_error.is_some());
}

#[test]
fn hostile_certificates_neither_panic_nor_smuggle_control_characters() {
    let corpus = [full(), include_bytes!("fixtures/rsa.der").to_vec()];
    for der in &corpus {
        for end in 0..der.len() {
            fuzz::fuzz(&der[..end]);
        }
    }
    let mut seed = 0x0123_4567_89ab_cdef_u64;
    let mut random = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 1).unwrap() % bound
    };
    for round in 0..20_000 {
        let mut der = corpus[round % corpus.len()].clone();
        for _ in 0..=random(3) {
            let at = random(der.len());
            der[at] = u8::try_from(random(256)).unwrap();
        }
        fuzz::fuzz(&der);
    }
}
