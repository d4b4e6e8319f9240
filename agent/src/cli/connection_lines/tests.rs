use serde_json::{Value, json};

use super::*;
use crate::record::sample;

fn line(record: &ConnectionRecord) -> Vec<u8> {
    let mut line = Vec::new();
    json_line(record, &mut line).unwrap();
    line
}

fn connection() -> ConnectionRecord {
    let mut record = sample::connection(7);
    record.tls = Some(Arc::new(sample::tls()));
    record.client.certificates = vec!["ab".repeat(32)];
    // Names that others chose: they look like members, as far as that can be.
    record.client.identity = Some("\",\"port\":80,\"address\":\"127.0.0.1".to_owned());
    record.file = Some("\"bytes\":null,\"id\":\"00000007\"".into());
    record
}

/// The record with one value after the other replaced by others that it can have, at any depth.
fn variations(record: &ConnectionRecord) -> Vec<ConnectionRecord> {
    let texts = [
        "x",
        "fin",
        "reset",
        "east_west",
        "north_south",
        "tls",
        "mutual",
        "server_only",
        "inferred",
        "library",
        "high",
        "medium",
        "wire_library",
        "verified",
        "client",
        "2023-11-14T22:13:20.000000042Z",
    ];
    let mut values: Vec<Value> = texts.map(Value::from).into();
    values.extend([
        json!(null),
        json!(1),
        json!(2),
        json!(true),
        json!(false),
        json!(["client"]),
        json!(["x"]),
    ]);
    let whole = serde_json::to_value(record).unwrap();
    let mut paths = Vec::new();
    list(&whole, String::new(), &mut paths);
    let mut varied = Vec::new();
    for path in paths {
        for value in &values {
            let mut changed = whole.clone();
            *changed.pointer_mut(&path).unwrap() = value.clone();
            varied.extend(serde_json::from_value::<ConnectionRecord>(changed).ok());
        }
    }
    varied
}

fn list(value: &Value, path: String, paths: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        list(value, path.clone(), paths);
        paths.push(path);
    }
}

#[test]
fn a_pattern_serves_only_records_that_it_says_everything_of() {
    let record = connection();
    let pattern = Pattern::of(&record, &line(&record)).unwrap();
    let (mut like, mut unlike) = (0, 0);
    for varied in variations(&record) {
        if !is_like(&record, &varied) {
            unlike += 1;
            continue;
        }
        like += 1;
        let mut filled = Vec::new();
        pattern.fill(&varied, &mut filled).unwrap();
        assert_eq!(String::from_utf8_lossy(&filled), String::from_utf8_lossy(&line(&varied)));
    }
    // Each own value was another one, and each other one made a difference.
    assert!(like > 30 && unlike > 200, "{like} {unlike}");
}

#[test]
fn connections_are_written_as_if_each_were_the_first() {
    let mut records: Vec<ConnectionRecord> = (0..4).map(|_| connection()).collect();
    let tls = records[0].tls.clone();
    for (number, record) in records.iter_mut().enumerate() {
        record.tls.clone_from(&tls);
        record.id = format!("{number}\"");
        record.client.port = number as u16;
        record.session_id = (number % 2 == 0).then(|| "5e".repeat(16));
    }
    // As the second, though a pattern of its own would be in the same place.
    records[2].revision = 9;
    let mut lines = ConnectionLines::new();
    let (mut written, mut expected) = (Vec::new(), Vec::new());
    for record in records.iter().cycle().take(20) {
        lines.write(record, &mut written).unwrap();
        expected.extend(line(record));
    }
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&expected));
    assert_eq!(lines.places.iter().filter(|place| place.pattern.is_some()).count(), 1);
}

#[test]
fn a_line_that_is_too_long_is_not_kept() {
    let mut record = connection();
    record.server.identity = Some("x".repeat(MAX_LINE));
    let mut lines = ConnectionLines::new();
    for _ in 0..3 {
        let mut written = Vec::new();
        lines.write(&record, &mut written).unwrap();
        assert_eq!(written, line(&record));
    }
    assert!(lines.places.iter().all(|place| place.pattern.is_none()));
}
