use super::*;
use crate::question::tests::{ask, history};
use crate::record::{
    CERTIFICATE_SCHEMA, CONNECTION_SCHEMA, CertificateRecord, ConnectionRecord, Record,
    SubjectAlternativeNames, sample,
};
use crate::store::Writer;
use crate::store::sample::full;

#[test]
fn a_subject_is_taken_for_all_that_it_can_be() {
    let mut other: ConnectionRecord = full(9);
    other.client.workload = Some(sample::unit("10.0.0.2").into());
    other.client.port = 1234;
    let tls = crate::record::TlsRecord { server_name: Some("db.test".to_owned()), ..sample::tls() };
    other.tls = Some(tls.into());
    let (folder, mut reader) = history("who", [full(0), full(1), other]);
    let certificate = CertificateRecord {
        schema: CERTIFICATE_SCHEMA.to_owned(),
        sha256: "ab".repeat(32),
        spki_sha256: Some("12".repeat(32)),
        serial: Some("0a1b".to_owned()),
        san: SubjectAlternativeNames { dns: vec!["*.db.test".to_owned()], ..Default::default() },
        ..CertificateRecord::default()
    };
    Writer::open(&folder.file()).unwrap().write(&[Record::Certificate(certificate.into())]).unwrap();
    for (subject, understood, connections) in [
        ("10.0.0.1", &["address"][..], 3),
        ("10.0.0.2", &["address", "workload"], 3),
        ("10.0.0.2:8443", &["address_and_port"], 3),
        ("10.0.0.1:1234", &["address_and_port"], 1),
        ("900", &["pid"], 3),
        ("/usr/sbin/nginx", &["executable"], 3),
        ("client.service", &["workload"], 2),
        ("systemd:client.service", &["workload"], 2),
        ("spiffe://test/client", &["identity"], 3),
        ("*.db.test", &["identity"], 3),
        ("db.test", &["server_name"], 1),
        ("0A:1B", &["serial"], 3),
        ("abababab", &["fingerprint"], 3),
        ("1212121212", &["key"], 3),
        ("00112233445566778899aabbccddeeff", &["session_id"], 3),
    ] {
        let (lines, page) = ask(&mut reader, "who", &format!("subject={}", subject.replace('*', "%2A")));
        assert_eq!(lines[0]["understood_as"], serde_json::json!(understood), "{subject}");
        let found = lines.iter().filter(|line| line["schema"] == CONNECTION_SCHEMA).count();
        assert_eq!((found, page.next), (connections, None), "{subject}: {lines:#?}");
    }
    let certificate = &ask(&mut reader, "who", "subject=abababab").0[1];
    assert_eq!(
        (&certificate["connections"], &certificate["roles"]),
        (&3.into(), &serde_json::json!(["client"]))
    );
    assert_eq!(ask(&mut reader, "who", "subject=nobody").1.count, 0);
    assert_eq!(ask(&mut reader, "who", "subject=10.0.0.1:1").1.count, 1, "the address alone is known");
}

#[test]
fn what_is_known_stands_before_the_newest_connections_on_the_first_page_only() {
    let (_folder, mut reader) = history("who-pages", (0..3).map(full));
    let (lines, page) = ask(&mut reader, "who", "subject=client.service&limit=2");
    let subject = &lines[0];
    assert_eq!((lines.len(), &subject["connections"]), (3, &3.into()));
    assert_eq!(subject["client"]["authentication"], serde_json::json!({"none": 3}));
    assert_eq!(subject["server"]["connections"], 0);
    assert_eq!(subject["addresses"], serde_json::json!(["10.0.0.1"]));
    assert_eq!(subject["identities"], serde_json::json!(["spiffe://test/client"]));
    assert_eq!(subject["peers"], serde_json::json!(["address:10.0.0.2"]));
    let after = format!("subject=client.service&limit=2&after={}", page.next.unwrap());
    let (lines, page) = ask(&mut reader, "who", &after);
    assert_eq!((lines.len(), lines[0]["schema"].as_str(), page.next), (1, Some(CONNECTION_SCHEMA), None));
    let (lines, _) = ask(&mut reader, "who", "subject=901");
    assert_eq!((&lines[0]["connections"], &lines[0]["processes"][0]["pid"]), (&().into(), &901.into()));
    for refused in ["subject=", &format!("subject={}", full(0).id)] {
        let question = crate::question::Question::parse("who", refused).unwrap();
        let mut all = crate::question::tests::Everything::default();
        assert!(question.answer(&mut reader, WallTime(0), &mut all).is_err(), "{refused}");
    }
}
