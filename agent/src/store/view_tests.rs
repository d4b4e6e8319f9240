//! The views have what the record has, under its names; the documented examples run.

use std::process::Command;

use serde_json::Value;

use super::sample::{Folder, full};
use super::tests::record;
use super::*;
use crate::record::*;

/// Fields with their names joined by `_`; lists, and what is null or free in form, stay whole.
fn flat(prefix: &str, value: &Value, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}_{name}") };
                flat(&name, value, into);
            }
        }
        other => into.push((prefix.to_owned(), other.clone())),
    }
}

/// A row of a view.
fn row(reader: &Reader, sql: &str) -> Vec<(String, rusqlite::types::Value)> {
    let mut statement = reader.database().prepare(sql).unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    statement
        .query_row([], |row| {
            names.iter().enumerate().map(|(index, name)| Ok((name.clone(), row.get(index)?))).collect()
        })
        .unwrap()
}

fn as_column(value: &Value) -> rusqlite::types::Value {
    use rusqlite::types::Value as Sql;
    match value {
        Value::Null => Sql::Null,
        Value::Bool(value) => Sql::Integer(i64::from(*value)),
        Value::Number(number) => Sql::Integer(number.as_i64().unwrap()),
        Value::String(text) => Sql::Text(text.clone()),
        list => Sql::Text(list.to_string()),
    }
}

fn same(column: &rusqlite::types::Value, wanted: &Value) -> bool {
    use rusqlite::types::Value as Sql;
    match (column, wanted) {
        // Fields of objects may come in another order.
        (Sql::Text(text), Value::Array(_)) => serde_json::from_str::<Value>(text).unwrap() == *wanted,
        (column, wanted) => *column == as_column(wanted),
    }
}

fn has_all(row: &[(String, rusqlite::types::Value)], record: &impl serde::Serialize) {
    let mut fields = Vec::new();
    flat("", &serde_json::to_value(record).unwrap(), &mut fields);
    for (name, wanted) in &fields {
        let column = row.iter().find(|(column, _)| column == name);
        // `process_unknown` is a field beside `process`, not in it.
        let is_child = |column: &String| {
            column.starts_with(&format!("{name}_")) && !fields.iter().any(|(field, _)| field == column)
        };
        let children = || row.iter().filter(|(column, _)| is_child(column));
        match column {
            Some((_, column)) => assert!(same(column, wanted), "{name}: {column:?}, not {wanted}"),
            // An object that is null has its fields null.
            None => {
                assert!(wanted.is_null() && children().count() > 0, "{name} is in no column");
                assert!(children().all(|(_, column)| *column == rusqlite::types::Value::Null), "{name}");
            }
        }
    }
}

/// Something in every field that [`full`] leaves out.
fn fuller(number: u64) -> ConnectionRecord {
    let mut record = full(number);
    let labels = LabelsRecord {
        owner: Some("team".to_owned()),
        purpose: Some("shop".to_owned()),
        environment: Some("production".to_owned()),
    };
    let fit = IdentityFitRecord {
        status: IdentityFitName::ALL[0],
        rule: Some("any".into()),
        expected: vec!["a".to_owned(), "b".to_owned()],
        reason: Some("r".into()),
    };
    record.client.labels = Some(labels.into());
    record.client.identity_fit = Some(fit.into());
    record.server.dialled_address = Some("10.9.9.9".to_owned());
    record.server.dialled_port = Some(99);
    record.server.netns = Some(5);
    record.observed_from = SideName::ALL.to_vec();
    record.confidence = ConfidenceRecord { server: Some(ConfidenceName::High), client: None };
    record
}

#[test]
fn every_field_of_the_record_is_a_column() {
    let folder = Folder::new("views");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let records = [fuller(1), full(2)];
    writer.write(&records.each_ref().map(record)).unwrap();
    let reader = Reader::open(&folder.file()).unwrap();
    for record in &records {
        let row = row(&reader, &format!("SELECT * FROM connections WHERE id = '{}'", record.id));
        has_all(&row, record);
    }
}

#[test]
fn other_records_have_their_columns_too() {
    let folder = Folder::new("other-views");
    let mut writer = Writer::open(&folder.file()).unwrap();
    let certificate = CertificateRecord {
        schema: CERTIFICATE_SCHEMA.to_owned(),
        sha256: "ab".repeat(32),
        subject: Some("CN=x".to_owned()),
        not_after: Some(WallTime(1_900_000_000_000_000_000)),
        first_seen: Some(WallTime(1_790_000_000_000_000_000)),
        key_usage: vec!["digitalSignature".to_owned()],
        ..CertificateRecord::default()
    };
    let gap = GapRecord {
        schema: GAP_SCHEMA.into(),
        from: Some(WallTime(1_790_000_000_000_000_001)),
        to: WallTime(1_790_000_000_000_000_002),
        cause: "ring_full".to_owned(),
        lost: Some(3),
    };
    writer
        .write(&[Record::Certificate(certificate.clone().into()), Record::Gap(gap.clone().into())])
        .unwrap();
    let reader = Reader::open(&folder.file()).unwrap();
    let mut found = row(&reader, "SELECT *, 'countersign.certificate/1' AS schema FROM certificates");
    found.retain(|(name, _)| name != "last_seen");
    found.push(("last_seen".to_owned(), rusqlite::types::Value::Null));
    has_all(&found, &certificate);
    has_all(&row(&reader, "SELECT *, 'countersign.gap/1' AS schema FROM gaps"), &gap);
    writer.write(&[record(&full(1))]).unwrap();
    let workload = full(1).client.workload.unwrap();
    has_all(&row(&reader, "SELECT * FROM workloads"), &*workload);
    has_all(
        &row(&reader, "SELECT * FROM processes WHERE pid = 900"),
        &**full(1).client.process.as_ref().unwrap(),
    );
}

#[test]
fn the_documented_examples_run() {
    if Command::new("sqlite3").arg("-version").output().is_err() {
        eprintln!("skipped the_documented_examples_run: sqlite3 is not installed (Debian: sqlite3)");
        return;
    }
    let folder = Folder::new("examples");
    let mut writer = Writer::open(&folder.file()).unwrap();
    writer.write(&[record(&full(1))]).unwrap();
    let text = include_str!("../../../docs/schema.md");
    let examples: Vec<&str> =
        text.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 7, "{}", examples.len());
    for example in examples {
        let output =
            Command::new("sqlite3").arg("-readonly").arg(folder.file()).arg(example).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{example}: {said}");
    }
    let edges =
        Command::new("sqlite3").arg(folder.file()).arg("SELECT connections FROM edges").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&edges.stdout), "1\n");
}
