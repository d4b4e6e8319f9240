//! What each connection of the peer must come out as.

use std::collections::HashMap;

use serde_json::{Value, json};

/// Compares the peer's truths with the records of `countersign watch --json`; both are JSON Lines.
pub fn compare(truths: &str, records: &str) {
    let newest = newest_revisions(records);
    let mut faults = Vec::new();
    let mut count = 0;
    for line in truths.lines() {
        let truth: Value = serde_json::from_str(line).unwrap();
        let name = format!("{} {}", text(&truth, "/mode"), text(&truth, "/version"));
        let ports = (truth["client_port"].clone(), truth["server_port"].clone());
        let found: Vec<&Value> = newest
            .values()
            .filter(|record| (&record["client"]["port"], &record["server"]["port"]) == (&ports.0, &ports.1))
            .collect();
        let [record] = found.as_slice() else {
            faults.push(format!("{name}: {} records instead of one", found.len()));
            continue;
        };
        for (pointer, wanted) in wanted(&truth, record) {
            let seen = record.pointer(pointer).unwrap_or(&Value::Null);
            if *seen != wanted {
                faults.push(format!("{name}: {pointer} is {seen} instead of {wanted}; {record}"));
            }
        }
        println!(
            "{name:<28} {:<12} client {:<12} {}",
            text(record, "/authentication"),
            text(record, "/evidence/client"),
            text(record, "/tls/client_authentication"),
        );
        count += 1;
    }
    assert!(faults.is_empty(), "{}\nall records:\n{records}", faults.join("\n"));
    assert_eq!(count, 7, "the peer holds seven connections");
}

fn newest_revisions(records: &str) -> HashMap<String, Value> {
    let mut newest: HashMap<String, Value> = HashMap::new();
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        if record["schema"] != "countersign.connection/1" {
            continue;
        }
        let known = newest.entry(text(&record, "/id")).or_default();
        if known["revision"].as_u64() <= record["revision"].as_u64() {
            *known = record;
        }
    }
    newest
}

fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// Pointers into the record and their values. Behind TLS 1.3 certificates are seen in the peer's own library, once it is
/// probed: a program that nobody ran before may be over by then.
fn wanted(truth: &Value, record: &Value) -> Vec<(&'static str, Value)> {
    let mode = text(truth, "/mode");
    let is_tls = mode != "plaintext";
    let certificates_in_clear = truth["version"] == "1.2";
    let at_library = |side: &str| record["evidence"][side] == "library";
    let chain = |side: &str, name: &str| match &truth[name] {
        Value::Null => json!([]),
        _ if !certificates_in_clear && !at_library(side) => json!([]),
        fingerprint => json!([fingerprint]),
    };
    let mut wanted = vec![
        ("/final", json!(true)),
        ("/scope", json!("loopback")),
        ("/observed_from", json!(["client", "server"])),
        ("/client/process/pid", truth["client_pid"].clone()),
        ("/server/process/pid", truth["server_pid"].clone()),
        ("/client/process/comm", json!("peer")),
        ("/capture_complete", json!(true)),
        ("/client/certificates", chain("client", "client_certificate")),
        ("/server/certificates", chain("server", "server_certificate")),
        ("/protocol", json!(if is_tls { "tls" } else { "http/1" })),
        ("/encryption", json!(if is_tls { "tls" } else { "none" })),
        (
            "/authentication",
            json!(match mode.as_str() {
                "plaintext" => "none",
                "mutual" => "mutual",
                _ => "server_only",
            }),
        ),
        (
            "/evidence/client",
            json!(match (mode.as_str(), certificates_in_clear) {
                ("plaintext", _) => "none",
                ("mutual", false) if at_library("client") => "library",
                (_, false) => "inferred",
                ("mutual", true) => "certificate",
                (_, true) => "handshake",
            }),
        ),
    ];
    if is_tls {
        wanted.extend([
            ("/tls/version", truth["version"].clone()),
            ("/tls/server_name", truth["server_name"].clone()),
            ("/tls/handshake", json!("complete")),
            (
                "/tls/client_authentication",
                json!(match mode.as_str() {
                    "mutual" => "presented",
                    "requested_none_sent" => "requested_none_sent",
                    _ => "not_requested",
                }),
            ),
        ]);
    }
    if mode == "mutual" {
        wanted.push(("/tls/client_authentication_outcome", json!("accepted")));
    }
    wanted
}
