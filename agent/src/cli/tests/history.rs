//! Questions about the history, as they are typed and printed.

use super::*;
use crate::cli::answer::Printer;
use crate::cli::ask;
use crate::store::Writer;
use crate::store::sample::{Folder, full};

fn history(name: &str) -> Folder {
    let folder = Folder::new(name);
    let records: Vec<Record> = (0..3).map(|number| Record::Connection(full(number).into())).collect();
    Writer::open(&folder.file()).unwrap().write(&records).unwrap();
    folder
}

/// What is printed, and how it ends.
fn asked(folder: &Folder, line: &str) -> (String, Exit) {
    let line = format!("countersign {line} --db {}", folder.file().display());
    let (question, history) = match parse(&line).unwrap() {
        Command::Ask(command) => command.parts(),
        Command::Workloads(arguments) => arguments.asked.parts(),
        _ => panic!("{line}"),
    };
    let mut output = Vec::new();
    let mut printer = Printer::new(&mut output, history.json, false);
    let exit = match history.ask(&question, &mut |line| printer.print(line)) {
        Ok(page) => ask::exit(&page),
        Err(failure) => failure.exit(),
    };
    printer.finish().unwrap();
    (String::from_utf8(output).unwrap(), exit)
}

#[test]
fn connections_are_a_table_or_their_lines_and_end_with_what_is_missing() {
    let folder = history("cli-connections");
    let (text, exit) = asked(&folder, "connections --limit 2");
    assert_eq!(exit, Exit::Success);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("SERVER:PORT") && lines[1] == "-- 2026-09-21", "{text}");
    assert!(
        lines[2].contains("client.service[900]") && lines[4].starts_with("-- there is more: --after "),
        "{text}"
    );
    let (json, _) = asked(&folder, "connections --limit 2 --json");
    let schemas: Vec<String> = json
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["schema"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(schemas, [CONNECTION_SCHEMA, CONNECTION_SCHEMA, PAGE_SCHEMA]);
    let (text, exit) = asked(&folder, "connections --until 2020-01-01");
    assert_eq!((text.as_str(), exit), ("nothing matches\n", Exit::Negative));
    assert_eq!(asked(&folder, "connections --after x").1, Exit::Usage);
    assert_eq!(asked(&folder, "connections --limit 0").1, Exit::Usage);
}

#[test]
fn edges_are_aligned_lines_that_nobody_can_break() {
    let folder = Folder::new("cli-edges");
    let hostile = "a\x1b[2J\n\u{202e}b".repeat(9);
    let mut one = full(1);
    one.client.workload = Some(sample::unit(&hostile).into());
    one.findings = vec![hostile.into()];
    let records = [full(0), one].map(|connection| Record::Connection(connection.into()));
    Writer::open(&folder.file()).unwrap().write(&records).unwrap();
    let (text, exit) = asked(&folder, "edges --sort first-seen");
    assert_eq!(exit, Exit::Success);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[2].contains("client.service") && lines[2].contains("10.0.0.2:8443"), "{text}");
    assert!(lines[2].contains("1 none") && lines[2].contains("2026-09-21"), "{text}");
    assert!(lines.iter().all(|line| display_safe(line) == *line), "{text:?}");
    assert_eq!(asked(&folder, "edges --where final=true").1, Exit::Usage);
}

#[test]
fn certificates_and_findings_are_lines_of_their_tables() {
    let folder = history("cli-certificates");
    let hostile = "a\x1b[2J\n\u{202e}b";
    let certificate = CertificateRecord {
        schema: CERTIFICATE_SCHEMA.to_owned(),
        sha256: "ab".repeat(32),
        subject: Some(hostile.to_owned()),
        not_after: Some(WallTime(0)),
        ..CertificateRecord::default()
    };
    let finding = FindingRecord {
        schema: FINDING_SCHEMA.into(),
        id: "1".to_owned(),
        code: "peer_not_verified".into(),
        severity: Severity::High,
        host: None,
        connection: None,
        certificate: None,
        workload: None,
        edge: None,
        first_seen: WallTime(0),
        last_seen: WallTime(0),
        resolved: None,
        count: 3,
        summary: hostile.to_owned(),
        remedy: "".into(),
        controls: vec![],
        exception: None,
    };
    let records = [Record::Certificate(certificate.into()), Record::Finding(finding.into())];
    Writer::open(&folder.file()).unwrap().write(&records).unwrap();
    let (text, exit) = asked(&folder, "certificates --expired");
    assert_eq!(exit, Exit::Success);
    assert!(text.lines().nth(1).unwrap().starts_with("1970-01-01! abababab a"), "{text}");
    assert!(text.contains("client") && text.contains("systemd:client.service"), "{text}");
    let (findings, _) = asked(&folder, "findings --severity high");
    assert!(findings.lines().nth(1).unwrap().starts_with("high     peer_not_verified "), "{findings}");
    let lines = text.lines().chain(findings.lines());
    assert!(
        lines.clone().count() == 4 && lines.into_iter().all(|line| display_safe(line) == line),
        "{text}{findings}"
    );
    assert_eq!(asked(&folder, "findings --severity critical").1, Exit::Negative);
}

#[test]
fn subjects_and_explanations_are_told_and_nobody_can_break_their_lines() {
    let folder = Folder::new("cli-who");
    let hostile = "a\x1b[2J\n\u{202e}b".repeat(20);
    let mut one = full(1);
    one.client.workload = Some(sample::unit(&hostile).into());
    one.evidence.reason = Some(hostile.into());
    let id = one.id.clone();
    Writer::open(&folder.file()).unwrap().write(&[Record::Connection(one.into())]).unwrap();
    let (who, exit) = asked(&folder, "who 10.0.0.1");
    assert_eq!(exit, Exit::Success);
    assert!(who.starts_with("10.0.0.1: address\n") && who.contains("connections     1\n"), "{who}");
    let (told, exit) = asked(&folder, &format!("explain {id}"));
    assert_eq!(exit, Exit::Success);
    assert!(told.contains("\nauthentication  ") && told.contains("\nnot evaluated   "), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 160), "{told}");
    assert!(who.lines().chain(told.lines()).all(|line| display_safe(line) == line), "{who:?}{told:?}");
    assert_eq!(asked(&folder, "explain 7").1, Exit::Usage);
    assert_eq!(asked(&folder, "who nobody").1, Exit::Negative);
    assert_eq!(asked(&folder, "explain 01900000-0000-7000-8000-000000000000").1, Exit::Negative);
}

#[test]
fn workloads_of_the_history_are_lines_with_what_they_presented_that_nobody_can_break() {
    let folder = history("cli-workloads");
    let hostile = "a\x1b[2J\n\u{202e}b".repeat(9);
    let mut one = full(7);
    one.server.workload = Some(sample::unit(&hostile).into());
    one.server.identity = Some(hostile.clone());
    Writer::open(&folder.file()).unwrap().write(&[Record::Connection(one.into())]).unwrap();
    let (text, exit) = asked(&folder, "workloads");
    assert_eq!(exit, Exit::Success);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("LAST UTC") && lines[0].ends_with("AS SERVER"), "{text}");
    let client = lines.iter().position(|line| line.contains("client.service")).unwrap();
    assert!(lines[client].starts_with("2026-09-21 ") && lines[client].contains("4 none"), "{text}");
    assert!(lines[client + 1].contains("→ spiffe://test/client  client"), "{text}");
    assert!(lines.iter().all(|line| display_safe(line) == *line), "{text:?}");
    assert_eq!(asked(&folder, "workloads --kind container").1, Exit::Negative);
    assert_eq!(asked(&folder, "workloads --where colour=red").1, Exit::Usage);
}
