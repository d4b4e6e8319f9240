use std::ops::ControlFlow;
use std::sync::Arc;

use super::made::{History, from_to, minute};
use super::*;
use crate::record::*;
use crate::store::Writer;
use crate::store::sample::{Folder, OPENED, full, id};

/// Takes everything.
#[derive(Default)]
pub(super) struct Everything(pub Vec<serde_json::Value>);

impl Asker for Everything {
    fn line(&mut self, line: Vec<u8>) -> ControlFlow<()> {
        self.0.push(serde_json::from_slice(&line).unwrap());
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _done: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A history with these connections, and its reader.
pub(super) fn history(
    name: &str,
    connections: impl IntoIterator<Item = ConnectionRecord>,
) -> (Folder, Reader) {
    let folder = Folder::new(name);
    let records: Vec<Record> = connections.into_iter().map(|one| Record::Connection(one.into())).collect();
    Writer::open(&folder.file()).unwrap().write(&records).unwrap();
    let reader = Reader::open(&folder.file()).unwrap();
    (folder, reader)
}

/// Its answer, and the page behind it.
pub(super) fn ask(reader: &mut Reader, name: &str, query: &str) -> (Vec<serde_json::Value>, PageRecord) {
    let question = Question::parse(name, query).unwrap_or_else(|error| panic!("{query}: {error}"));
    assert_eq!(Question::parse(name, &question.query()).unwrap(), question, "{query}");
    let mut all = Everything::default();
    let page = question.answer(reader, WallTime(OPENED + 1_000), &mut all).unwrap();
    all.0.pop();
    (all.0, page)
}

/// The numbers that [`full`] was made with.
fn numbers(lines: &[serde_json::Value]) -> Vec<i64> {
    let opened =
        |line: &serde_json::Value| serde_json::from_value::<WallTime>(line["opened"].clone()).unwrap().0;
    lines.iter().map(|line| opened(line) - OPENED).collect()
}

/// Three of the workload `client.service`, and two of a pod, which differ in all that can be asked for.
fn varied() -> Vec<ConnectionRecord> {
    let mut other = full(3);
    other.authentication = Authentication::Mutual;
    other.encryption = Encryption::Tls;
    other.protocol = "tls".into();
    other.scope = Scope::EastWest;
    other.findings.clear();
    other.session_id = Some("ff".repeat(16));
    other.client.port = 41_000;
    other.client.address = "10.0.0.9".to_owned();
    other.client.identity = Some("null".to_owned());
    other.client.certificates = vec!["ef".repeat(32)];
    let pod = WorkloadRecord {
        kind: "kubernetes".into(),
        name: "prod/db-0".to_owned(),
        namespace: Some("prod".to_owned()),
        pod: Some("db-0".to_owned()),
        service_account: Some("db".to_owned()),
        ..WorkloadRecord::default()
    };
    other.client.workload = Some(pod.into());
    other.client.labels =
        Some(LabelsRecord { owner: Some("team \"a\"".to_owned()), ..Default::default() }.into());
    let process = ProcessRecord { pid: 77, comm: "db".to_owned(), uid: 5, ..ProcessRecord::default() };
    other.client.process = Some(process.clone().into());
    other.client.processes =
        vec![HolderRecord { process: process.into(), role: "accept".into(), source: "release".into() }];
    other.server.port = 5432;
    other.server.dialled_port = Some(5433);
    other.tls = Some(
        TlsRecord {
            version: Some("1.3".into()),
            server_name: Some("db.test".to_owned()),
            ja4: Some("t13".to_owned()),
            ..(**full(3).tls.as_ref().unwrap()).clone()
        }
        .into(),
    );
    other.bytes = None;
    let last = ConnectionRecord {
        id: id(OPENED + 4, 4),
        opened: WallTime(OPENED + 4),
        r#final: true,
        ..other.clone()
    };
    vec![full(0), full(1), full(2), other, last]
}

#[test]
fn every_filter_selects_and_all_must_match() {
    let (_folder, mut reader) = history("filters", varied());
    const UNIT: &[i64] = &[2, 1, 0];
    const POD: &[i64] = &[4, 3];
    const ALL: &[i64] = &[4, 3, 2, 1, 0];
    for (query, expected) in [
        ("", ALL),
        ("client=10.0.0.9", POD),
        ("client=client.service", UNIT),
        ("client=systemd:client.service", UNIT),
        ("client=10.0.0.2", &[]),
        ("server=10.0.0.2", ALL),
        ("port=5432", POD),
        ("port=5433&port=1", POD),
        ("pid=77", POD),
        ("pid=901", UNIT),
        ("pid=77&pid=900", ALL),
        ("unit=client.service", UNIT),
        ("workload=db-0", POD),
        ("workload=service_account:prod/db", POD),
        ("workload=prod", &[]),
        ("workload=null", &[]),
        ("owner=team+%22a%22", POD),
        ("identity=null", POD),
        ("certificate=EFEFefef", POD),
        ("certificate=abababab", UNIT),
        ("authentication=mutual", POD),
        ("authentication=mutual&scope=loopback", &[]),
        ("authentication=none&authentication=mutual", ALL),
        ("scope=east_west", POD),
        ("protocol=tls", POD),
        ("encryption=tls", POD),
        ("finding=unauthenticated_east_west", UNIT),
        ("tls_version=1.3", POD),
        ("server_name=db.test", POD),
        ("session_id=ffffffffffffffffffffffffffffffff", POD),
        ("where=tls.ja4%3Dt13", POD),
        ("where=client.workload.namespace%3Dprod", POD),
        ("where=client.labels.owner%3Dnull", UNIT),
        ("where=client.process.uid%3D5", POD),
        ("where=client.process.executable%3Dnull", POD),
        ("where=client.processes.role%3Duse", UNIT),
        ("where=client.processes.process.comm%3Ddb", POD),
        ("where=client.process.parents.comm%3Dsystemd", UNIT),
        ("where=server.process.pid%3Dnull", ALL),
        ("where=client.port%3D41000", POD),
        ("where=client.translated%3D10.9.0.1:1234", ALL),
        ("where=bytes.server_to_client%3D2000", UNIT),
        ("where=bytes.client_to_server%3Dnull", POD),
        ("where=final%3Dtrue", &[4]),
        ("where=final%3Dtrue&workload=client.service", &[]),
        ("where=client.port%3D41000&where=final%3Dfalse", &[3]),
        ("where=server.port%3D5432&where=authentication%3Dmutual", POD),
        ("where=server.port%3Dx", &[]),
    ] {
        assert_eq!(numbers(&ask(&mut reader, "connections", query).0), expected, "{query}");
        // The same page by page.
        let (mut paged, mut after) = (Vec::new(), String::new());
        loop {
            let (lines, page) = ask(&mut reader, "connections", &format!("{query}&limit=1{after}"));
            paged.extend(numbers(&lines));
            let Some(next) = page.next else { break };
            after = format!("&after={next}");
        }
        assert_eq!(paged, expected, "{query}, page by page");
    }
    // An object has no value.
    for wrong in [
        "where=tls",
        "where=bytes%3Dnull",
        "where=colour%3Dred",
        "certificate=abc",
        "certificate=xyzxyzxy",
        "scope=moon",
    ] {
        let question = Question::parse("connections", wrong);
        let mut all = Everything::default();
        let refused = question.and_then(|question| question.answer(&mut reader, WallTime(0), &mut all));
        assert!(matches!(refused, Err(QuestionError::Refused(_))), "{wrong}");
    }
}

#[test]
fn frequent_and_rare_ones_are_found_either_way_and_pages_stay_while_others_are_written() {
    let rare = |number: u64| {
        let mut connection = full(number);
        connection.server.port = 1;
        connection.client.address = "10.0.0.77".to_owned();
        connection
    };
    let all = (0..10_000).map(|number| if number % 997 == 0 { rare(number) } else { full(number) });
    let (folder, mut reader) = history("many", all);
    let found = numbers(&ask(&mut reader, "connections", "port=1").0);
    assert_eq!(found, (0..=10).rev().map(|number| number * 997).collect::<Vec<_>>());
    let (lines, page) = ask(&mut reader, "connections", "port=8443&limit=3");
    assert_eq!(numbers(&lines), [9999, 9998, 9997]);
    let more: Vec<Record> = (10_000..10_010).map(|number| Record::Connection(full(number).into())).collect();
    Writer::open(&folder.file()).unwrap().write(&more).unwrap();
    let after = format!("port=8443&limit=2&after={}", page.next.unwrap());
    assert_eq!(numbers(&ask(&mut reader, "connections", &after).0), [9996, 9995]);
    let narrow = format!("port=1&since={}&until={}", WallTime(OPENED + 997), WallTime(OPENED + 1994));
    assert_eq!(numbers(&ask(&mut reader, "connections", &narrow).0), [997]);
    assert_eq!(numbers(&ask(&mut reader, "connections", "pid=900&limit=2").0), [10_009, 10_008]);
}

#[test]
fn a_question_is_the_same_as_a_request() {
    let question = Question::Connections(ConnectionsQuestion {
        since: Some(Moment::Ago(7_200)),
        limit: Some(5),
        ..ConnectionsQuestion::default()
    });
    assert_eq!(question.query(), "since=7200s&limit=5");
    assert_eq!(Question::parse("connections", &question.query()).unwrap(), question);
    assert!(matches!(Question::parse("connections", "colour=red"), Err(QuestionError::Refused(_))));
    assert!(matches!(Question::parse("weather", ""), Err(QuestionError::Unknown(_))));
}

#[test]
fn connections_come_newest_first_and_page_by_page() {
    let folder = Folder::new("pages");
    let records: Vec<Record> = (0..5).map(|number| Record::Connection(full(number).into())).collect();
    Writer::open(&folder.file()).unwrap().write(&records).unwrap();
    let mut reader = Reader::open(&folder.file()).unwrap();
    let mut ask = |after: Option<String>| {
        let question = ConnectionsQuestion { limit: Some(2), after, ..ConnectionsQuestion::default() };
        let mut all = Everything::default();
        let page = Question::Connections(question).answer(&mut reader, WallTime(OPENED), &mut all).unwrap();
        let last = all.0.pop().unwrap();
        assert_eq!(last, serde_json::to_value(&page).unwrap(), "the last line says whether this was all");
        let ids: Vec<String> = all.0.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (ids, page.next)
    };
    let id = |number: u64| id(OPENED + number as i64, number);
    let (first, next) = ask(None);
    assert_eq!(first, [id(4), id(3)]);
    let (second, next) = ask(next);
    assert_eq!(second, [id(2), id(1)]);
    assert_eq!(ask(next), (vec![id(0)], None));
}

/// A visitor's connection to a workload of this host, which a process holds.
fn visit(visitor: &str, server: &str, minutes: i64, pid: u32) -> ConnectionRecord {
    let mut record = from_to("nobody", server, minutes);
    let process: Arc<ProcessRecord> =
        ProcessRecord { pid, start_time: pid.into(), comm: "worker".to_owned(), ..ProcessRecord::default() }
            .into();
    record.scope = Scope::NorthSouth;
    record.client = EndpointRecord { address: visitor.to_owned(), port: 40_000, ..EndpointRecord::default() };
    record.server.processes =
        vec![HolderRecord { process: Arc::clone(&process), role: "accept".into(), source: "accept".into() }];
    record.server.process = Some(process);
    record
}

#[test]
fn times_in_which_other_visitors_came_hide_nothing() {
    let asked = "203.0.113.9";
    // Worker 2 of the same server came only after the visitor had gone.
    let of_one = [(20, 1), (30, 1), (40, 1)].map(|(minutes, pid)| visit(asked, "one", minutes, pid));
    let of_others =
        [(45, 1), (100, 2), (200, 2)].map(|(minutes, pid)| visit("203.0.113.1", "one", minutes, pid));
    let filler = (0..200).map(|minutes| from_to("a", "b", minutes));
    let all = of_one.into_iter().chain(of_others).chain([visit(asked, "two", 35, 3)]).chain(filler);
    let history = History::of("walk-visitors", all.collect(), vec![]);
    for (limit, expected) in [(1, &[40][..]), (2, &[40, 35]), (3, &[40, 35, 30]), (10, &[40, 35, 30, 20])] {
        let found = history.ask(ConnectionsQuestion {
            client: vec![asked.to_owned()],
            pid: vec![1, 2, 3],
            limit: Some(limit),
            ..ConnectionsQuestion::default()
        });
        let opened: Vec<WallTime> =
            found.iter().map(|line| serde_json::from_value(line["opened"].clone()).unwrap()).collect();
        assert_eq!(opened, expected.iter().copied().map(minute).collect::<Vec<_>>(), "{limit}");
    }
}
