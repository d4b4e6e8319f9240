//! The description of the local API (`api/openapi.json`) says what is asked and answered, no more and no less.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::{whole_finding, whole_workload, with_every_field};
use super::tests::{ask, history};
use super::{Question, QuestionError};
use crate::record::*;
use crate::store::Writer;
use crate::store::sample::full;

fn description() -> Value {
    serde_json::from_str(include_str!("../api/openapi.json")).unwrap()
}

/// Names of a question's fields, as it lists them when it meets another one.
fn fields(name: &str) -> BTreeSet<String> {
    let Err(QuestionError::Refused(text)) = Question::parse(name, "colour=red") else { panic!("{name}") };
    let (_, expected) = text.split_once("expected ").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What is wrong with a value, where.
fn faults(all: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return self::faults(all, &all["components"]["schemas"][name], value, place, faults);
    }
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let of = |alternative| {
            let mut found = Vec::new();
            self::faults(all, alternative, value, place, &mut found);
            found
        };
        let least = alternatives.iter().map(of).min_by_key(Vec::len).unwrap();
        return faults.extend(least);
    }
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = &schema["type"];
    let fits =
        types.is_null() || types == is || types.as_array().is_some_and(|types| types.contains(&is.into()));
    let listed = schema["enum"].as_array().is_none_or(|names| names.contains(value));
    if !fits || !listed || schema.get("const").is_some_and(|only| only != value) {
        faults.push(format!("{place}: {value} is not {schema}"));
    }
    match value {
        Value::Array(elements) => {
            elements.iter().for_each(|one| self::faults(all, &schema["items"], one, place, faults));
        }
        Value::Object(fields) if schema.get("additionalProperties").is_some() => {
            let of = &schema["additionalProperties"];
            fields.values().for_each(|one| self::faults(all, of, one, place, faults));
        }
        Value::Object(fields) if schema.get("properties").is_some() => {
            let described = schema["properties"].as_object().unwrap();
            for name in described.keys().filter(|name| !fields.contains_key(*name)) {
                faults.push(format!("{place}.{name} is described and is not there"));
            }
            for (name, value) in fields {
                match described.get(name) {
                    Some(schema) => self::faults(all, schema, value, &format!("{place}.{name}"), faults),
                    None => faults.push(format!("{place}.{name} is not described")),
                }
            }
        }
        _ => {}
    }
}

fn check(all: &Value, schema: &Value, value: &Value) {
    let mut found = Vec::new();
    faults(all, schema, value, "", &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_question_is_described_with_each_of_its_fields() {
    let all = description();
    assert_eq!(all["openapi"], "3.1.0");
    for name in Question::NAMES {
        let parameters = all["paths"][format!("/v1/{name}")]["get"]["parameters"].as_array();
        let parameters = parameters.unwrap_or_else(|| panic!("{name} is not described"));
        let described: BTreeSet<_> =
            parameters.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(described, fields(name), "{name}");
    }
    let others = ["watch", "workloads", "libraries", "status", "openapi.json", "report"];
    for path in all["paths"].as_object().unwrap().keys() {
        let name = path.strip_prefix("/v1/").unwrap();
        assert!(
            Question::NAMES.contains(&name) || others.contains(&name),
            "{path} is described and not served"
        );
    }
}

#[test]
fn answers_are_what_the_description_says() {
    let all = description();
    let whole = serde_json::to_value(with_every_field()).unwrap();
    check(&all, &all["components"]["schemas"]["ConnectionRecord"], &whole);
    let workload = serde_json::to_value(sample::known_workload("a.service")).unwrap();
    check(&all, &all["components"]["schemas"]["KnownWorkloadRecord"], &workload);
    let workload = serde_json::to_value(whole_workload()).unwrap();
    check(&all, &all["components"]["schemas"]["WorkloadHistoryRecord"], &workload);
    let files = serde_json::to_value(sample::library_files()).unwrap();
    check(&all, &all["components"]["schemas"]["LibraryFiles"], &files);
    let (folder, mut reader) = history("openapi", (0..3).map(full));
    let finding = FindingRecord { id: "1".to_owned(), ..whole_finding() };
    Writer::open(&folder.file()).unwrap().write(&[Record::Finding(finding.into())]).unwrap();
    let id = format!("id={}", full(0).id);
    for (name, query) in [
        ("connections", ""),
        ("edges", ""),
        ("certificates", ""),
        ("findings", "excepted=true"),
        ("who", "subject=900"),
        ("who", "subject=abababab"),
        ("explain", &id),
        ("blast-radius", "subject=spiffe:%2F%2Ftest%2Fclient"),
        ("timeline", "subject=systemd:client.service"),
        ("diff", "before=1h"),
        ("workload-history", ""),
    ] {
        let (lines, page) = ask(&mut reader, name, query);
        assert!(name == "diff" || !lines.is_empty(), "{name}");
        let described = &all["paths"][format!("/v1/{name}")]["get"]["responses"]["200"]["content"];
        let schema = &described["application/x-ndjson"]["schema"];
        for line in lines.iter().chain([&serde_json::to_value(&page).unwrap()]) {
            check(&all, schema, line);
        }
    }
}
