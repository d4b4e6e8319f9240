use super::*;
use crate::question::tests::{ask, history};
use crate::record::{
    CERTIFICATE_SCHEMA, CONNECTION_SCHEMA, CertificateRecord, ConnectionRecord, Record, Scope,
    SubjectAlternativeNames, sample,
};
use crate::store::Writer;
use crate::store::sample::full;

#[test]
fn a_subject_is_taken_for_all_that_it_can_be() {
    let mut other: ConnectionRecord = full(9);
    other.client.workload = Some(sample::unit("10.0.0.2").into());
    other.client.port = 1234;
    // It could be read as a UUID of version 7, which a connection's id is.
    other.session_id = Some("00112233445576778899aabbccddeeff".into());
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
        ("00112233445566778899aabbccddeeff", &["session_id"], 2),
        ("00112233445576778899aabbccddeeff", &["session_id"], 1),
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

/// Three visits of one address, and one of another.
fn visited() -> Vec<ConnectionRecord> {
    let visit = |number: u64, address: &str| {
        let mut record = full(number);
        record.scope = Scope::NorthSouth;
        record.client = crate::record::EndpointRecord {
            address: address.to_owned(),
            port: 40_000 + number as u16,
            process_unknown: Some("other_host".into()),
            ..sample::connection(1).client
        };
        record
    };
    vec![
        visit(1, "203.0.113.7"),
        visit(2, "203.0.113.8"),
        visit(3, "203.0.113.7"),
        visit(4, "203.0.113.7"),
        full(5),
    ]
}

#[test]
fn clients_from_elsewhere_are_told_apart_by_their_addresses() {
    let (_folder, mut reader) = history("who-visitor", visited());
    let opened = |lines: &[serde_json::Value]| -> Vec<i64> {
        let connections = lines.iter().filter(|line| line["schema"] == CONNECTION_SCHEMA);
        connections.map(|line| line["client"]["port"].as_i64().unwrap() - 40_000).collect()
    };
    let (lines, _) = ask(&mut reader, "who", "subject=203.0.113.7");
    assert_eq!((&lines[0]["connections"], opened(&lines)), (&3.into(), vec![4, 3, 1]));
    assert_eq!(lines[0]["client"]["connections"], 3);
    assert_eq!(lines[0]["addresses"], serde_json::json!(["203.0.113.7"]));
    assert_eq!(lines[0]["peers"], serde_json::json!(["address:10.0.0.2"]));
    assert_eq!(lines[1]["client"]["address"], "203.0.113.7");
    let (lines, _) = ask(&mut reader, "who", "subject=203.0.113.8");
    assert_eq!((&lines[0]["connections"], opened(&lines)), (&1.into(), vec![2]));
    assert_eq!(opened(&ask(&mut reader, "who", "subject=203.0.113.7:40003").0), [3]);
    let (lines, _) = ask(&mut reader, "who", "subject=10.0.0.2");
    assert_eq!((&lines[0]["connections"], opened(&lines).len()), (&5.into(), 5));
    for (query, expected) in [
        ("client=203.0.113.7", &[4, 3, 1][..]),
        ("client=203.0.113.7&client=203.0.113.8", &[4, 3, 2, 1]),
        ("client=203.0.113.7&server=10.0.0.2&scope=north_south", &[4, 3, 1]),
        ("client=203.0.113.7&server=10.0.0.3", &[]),
        ("where=client.address%3D203.0.113.8&pid=900", &[]),
        ("client=203.0.113.8&session_id=00112233445566778899aabbccddeeff", &[2]),
        ("scope=north_south&limit=2", &[4, 3]),
    ] {
        assert_eq!(opened(&ask(&mut reader, "connections", query).0), expected, "{query}");
    }
    let edges = |reader: &mut _, query: &str| {
        let (lines, _) = ask(reader, "edges", query);
        let told = lines.iter().map(|line| (line["client"]["key"].clone(), line["connections"].clone()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(edges(&mut reader, "client=203.0.113.7"), [("external".into(), 3.into())]);
    let from_second = format!("client=203.0.113.7&since={}", WallTime(crate::store::sample::OPENED + 2));
    assert_eq!(edges(&mut reader, &from_second), [("external".into(), 2.into())]);
    let later = format!("client=203.0.113.8&since={}", WallTime(crate::store::sample::OPENED + 3));
    assert_eq!(edges(&mut reader, &later), [], "those of others are not his");
    assert_eq!(
        edges(&mut reader, "where=scope%3Dnorth_south"),
        [("external".into(), 4.into())],
        "who asks for no address is told of all"
    );
}

#[test]
fn processes_are_the_latest_however_many_programs_they_run() {
    const PROCESSES: u32 = 70;
    for programs in [1, 3, PROCESSES] {
        let connection = |number: u32| {
            let mut record = full(number.into());
            let process = |process: &ProcessRecord| ProcessRecord {
                pid: 2_000 + number,
                start_time: number.into(),
                uid: number % programs,
                ..process.clone()
            };
            let process: std::sync::Arc<_> = process(record.client.process.as_ref().unwrap()).into();
            record.client.processes.truncate(1);
            record.client.processes[0].process = process.clone();
            record.client.process = Some(process);
            record
        };
        let (_folder, mut reader) =
            history(&format!("who-processes-{programs}"), (0..PROCESSES).map(connection));
        let pids = |lines: &[serde_json::Value]| -> Vec<u64> {
            let processes = lines[0]["processes"].as_array().unwrap();
            processes.iter().map(|process| process["pid"].as_u64().unwrap()).collect()
        };
        let latest: Vec<u64> = (0..SubjectRecord::MAX_NAMES as u64).map(|before| 2_069 - before).collect();
        assert_eq!(pids(&ask(&mut reader, "who", "subject=/usr/sbin/nginx").0), latest, "{programs}");
        assert_eq!(pids(&ask(&mut reader, "who", "subject=2005").0), [2_005]);
    }
}
