//! Questions about a history, as responders ask them of a copied file: the expected answer of each.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use countersign::record::{CertificateRecord, ConnectionRecord, Record, WallTime};
use countersign::store::Writer;
use countersign_tests::{Mount, Testbed, output_of, ready};
use serde_json::{Value, json};

use super::asked::{self, Whom};

fn ask(file: &Path, arguments: &[&str]) -> Result<Output> {
    asked::ask(Whom::File(file), arguments)
}

/// The records of an answer, and its last line.
fn answer(file: &Path, arguments: &[&str]) -> Result<(Vec<Value>, Value)> {
    asked::answer(Whom::File(file), arguments)
}

/// When the first connection was opened.
const OPENED: i64 = 1_790_000_000_000_000_000;
/// A name that would clear a terminal, break a line and reorder what follows.
const HOSTILE: &str = "a\u{1b}[2J\n\u{202e}\"b";

fn id(number: u64) -> String {
    let milliseconds = (OPENED / 1_000_000).cast_unsigned() + number;
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&number.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &chance).into_uuid().hyphenated().to_string()
}

/// Opened so many milliseconds after the first; what the answer says of it is `more`.
pub fn connection(number: u64, more: &Value) -> Result<Record> {
    let opened = WallTime(OPENED + number.cast_signed() * 1_000_000);
    let end = |address: &str, port: u64| json!({"address": address, "port": port, "translated": [], "processes": [], "certificates": []});
    let mut record = json!({
        "schema": "countersign.connection/1", "id": id(number), "revision": 0, "final": true, "source": "live",
        "opened": opened, "scope": "east_west", "client": end("10.0.0.1", 40_000 + number % 20_000),
        "server": end("10.0.0.2", 5432), "observed_from": ["client"], "protocol": "postgresql",
        "encryption": "none", "authentication": "none",
        "evidence": {"server": "none", "client": "none", "reason": null, "disagreement": null},
        "confidence": {"server": null, "client": null}, "cleartext_examined": {"client": 0, "server": 0},
        "capture_complete": true, "findings": ["unauthenticated_east_west"],
    });
    merge(&mut record, more);
    let record: ConnectionRecord = serde_json::from_value(record).context("a connection")?;
    Ok(Record::Connection(record.into()))
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            more.iter()
                .for_each(|(name, value)| merge(into.entry(name.clone()).or_insert(Value::Null), value));
        }
        (into, more) => *into = more.clone(),
    }
}

/// A file in a folder of its own: 3,000 connections without authentication, and one with a certificate and a hostile name.
fn history() -> Result<PathBuf> {
    let file = Testbed::shared().folder("history")?.join("copied.db");
    let mut records = (0..3_000).map(|number| connection(number, &json!({}))).collect::<Result<Vec<_>>>()?;
    let workload = json!({"kind": "systemd", "name": HOSTILE, "unit": HOSTILE});
    let process = json!({"pid": 77, "start_time": 5, "comm": "app", "executable": "/srv/app", "uid": 0});
    records.push(connection(
        3_000,
        &json!({
            "authentication": "mutual", "encryption": "tls", "protocol": "tls", "findings": [],
            "client": {
                "workload": workload, "process": process, "identity": "spiffe://test/app", "certificates": ["ab".repeat(32)],
            },
        }),
    )?);
    let certificate = CertificateRecord {
        schema: "countersign.certificate/1".to_owned(),
        sha256: "ab".repeat(32),
        serial: Some("0a1b2c".to_owned()),
        spiffe_id: Some("spiffe://test/app".to_owned()),
        ..CertificateRecord::default()
    };
    records.push(Record::Certificate(certificate.into()));
    Writer::open(&file)?.write(&records)?;
    Ok(file)
}

#[test]
fn each_question_has_its_answer_from_a_copied_file() -> Result<()> {
    let file = history()?;
    let (lines, page) = answer(&file, &["connections", "--authentication", "mutual"])?;
    ensure!(lines.len() == 1 && lines[0]["id"] == id(3_000), "{lines:#?}");
    ensure!(page["next"].is_null() && page["cut"].is_null(), "{page}");
    let (lines, _) = answer(&file, &["connections", "--where", "client.process.uid=0"])?;
    ensure!(lines.len() == 1, "{lines:#?}");

    let (lines, _) = answer(&file, &["edges", "--sort", "connections"])?;
    ensure!(lines.len() == 2 && lines[0]["connections"] == 3_000, "{lines:#?}");
    ensure!(lines[0]["authentication"] == json!({"none": 3_000}), "{lines:#?}");
    ensure!(
        lines[1]["client"]["key"] == format!("systemd:{HOSTILE}").replacen("systemd", "workload:systemd", 1)
    );

    let (lines, _) = answer(&file, &["certificates", "--identity", "spiffe://test/app"])?;
    ensure!(lines.len() == 1 && lines[0]["roles"] == json!(["client"]), "{lines:#?}");
    let (lines, page) = answer(&file, &["findings"])?;
    ensure!(lines.is_empty() && page["count"] == 0, "{page}");
    let (lines, _) = answer(&file, &["workloads"])?;
    ensure!(lines.len() == 1 && lines[0]["client"]["connections"] == 1, "{lines:#?}");
    ensure!(lines[0]["presented"][0]["identity"] == "spiffe://test/app", "{lines:#?}");

    for subject in ["spiffe://test/app", "0a1b2c", "abababab", "77", "/srv/app", "10.0.0.1:43000"] {
        let (lines, _) = answer(&file, &["who", subject])?;
        let last = lines.last().with_context(|| subject.to_owned())?;
        ensure!(
            lines[0]["schema"] == "countersign.subject/1" && last["id"] == id(3_000),
            "{subject}: {lines:#?}"
        );
    }
    let (lines, _) = answer(&file, &["explain", &id(3_000)])?;
    ensure!(lines[0]["kept"] == "whole" && lines[0].to_string().contains("spiffe://test/app"), "{lines:#?}");
    Ok(())
}

#[test]
fn exit_codes_tell_scripts_what_was_found_and_names_touch_no_terminal() -> Result<()> {
    let file = history()?;
    for (arguments, expected) in [
        (&["connections"][..], 0),
        (&["connections", "--port", "1"], 1),
        (&["connections", "--where", "colour=red"], 2),
        (&["connections", "--after", "x"], 2),
        (&["edges"], 0),
        (&["certificates"], 0),
        (&["workloads"], 0),
        (&["workloads", "--kind", "container"], 1),
        (&["certificates", "--where", "colour=red"], 2),
        (&["findings"], 1),
        (&["who", "10.0.0.1"], 0),
        (&["who", "nobody"], 1),
        (&["explain", "7"], 2),
        (&["explain", &id(3_000)], 0),
        (&["explain", &id(9_999)], 1),
    ] {
        let output = ask(&file, arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(expected), "{arguments:?}: {:?} {errors}", output.status);
        let text = String::from_utf8(output.stdout)?;
        let harmful = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
        ensure!(!text.contains(harmful), "{arguments:?}: {text:?}");
    }
    let missing = ask(Path::new("/nowhere/countersign.db"), &["edges"])?;
    ensure!(missing.status.code() == Some(3), "{missing:?}");
    let text = String::from_utf8(missing.stderr)?;
    ensure!(text.contains("there is no history at /nowhere/countersign.db"), "{text}");
    Ok(())
}

#[test]
fn twenty_at_once_read_all_pages_while_the_file_is_written() -> Result<()> {
    let file = history()?;
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let file = file.clone();
            std::thread::spawn(move || -> Result<usize> {
                let (mut count, mut after) = (0, None);
                loop {
                    let mut arguments = vec!["connections", "--authentication", "none", "--limit", "1000"];
                    arguments.extend(["--until", "2026-09-21T14:13:23Z"]);
                    let place: String;
                    if let Some(next) = after.take() {
                        place = next;
                        arguments.extend(["--after", &place]);
                    }
                    let (lines, page) = answer(&file, &arguments)?;
                    count += lines.len();
                    match page["next"].as_str() {
                        Some(next) => after = Some(next.to_owned()),
                        None => return Ok(count),
                    }
                }
            })
        })
        .collect();
    let mut writer = Writer::open(&file)?;
    let mut number = 4_000;
    while !readers.iter().all(std::thread::JoinHandle::is_finished) {
        writer.write(&[connection(number, &json!({}))?])?;
        number += 1;
    }
    for reader in readers {
        let count = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        ensure!(count == 3_000, "{count}");
    }
    Ok(())
}

#[test]
fn a_copy_is_read_where_nothing_can_be_written_unless_a_part_of_it_lies_beside_it() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let whole = history()?;
    let folder = Testbed::shared().folder("read-only")?;
    let _disk = Mount::new(&folder, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"])?;
    let copy = folder.join("a copy?.db");
    std::fs::copy(&whole, &copy)?;
    let half = folder.join("half.db");
    let mut writer = Writer::open(&half)?;
    writer.write(&[connection(1, &json!({}))?])?;
    let (beside, kept) = (folder.join("half.db-wal"), folder.join("kept"));
    std::fs::copy(&beside, &kept)?;
    drop(writer);
    std::fs::rename(&kept, &beside)?;
    output_of(Command::new("mount").args(["-o", "remount,ro"]).arg(&folder))?;
    let (lines, _) = answer(&copy, &["connections", "--limit", "5"])?;
    ensure!(lines.len() == 5, "{lines:#?}");
    let output = ask(&half, &["connections"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3) && said.contains("sqlite3"), "{said}");
    Ok(())
}
