//! Questions about the history, asked of the daemon.

use super::*;
use crate::api::{ask as ask_history, report};
use crate::question::Question;
use crate::store::Writer;
use crate::store::sample::full;

fn write_history(running: &Running, connections: u64) {
    let records: Vec<Record> =
        (0..connections).map(|number| Record::Connection(full(number).into())).collect();
    Writer::open(&running.folder.0.join("countersign.db")).unwrap().write(&records).unwrap();
}

fn connections(limit: u32) -> Question {
    Question::parse("connections", &format!("limit={limit}")).unwrap()
}

async fn all_lines(client: &mut WatchClient) -> Vec<serde_json::Value> {
    let mut lines = Vec::new();
    while let Some(line) = timeout(PATIENCE, client.next_line()).await.unwrap().unwrap() {
        lines.push(serde_json::from_str(&line).unwrap());
    }
    lines
}

#[tokio::test]
async fn questions_are_answered_from_the_history() {
    let running = start();
    let refused = ask_history(&running.socket, &connections(2)).await.unwrap_err().to_string();
    assert!(refused.contains("404") && refused.contains("there is no history"), "{refused}");
    write_history(&running, 3);
    let mut answer = ask_history(&running.socket, &connections(2)).await.unwrap();
    let lines = all_lines(&mut answer).await;
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_eq!(lines[0]["schema"], CONNECTION_SCHEMA);
    assert_eq!((&lines[2]["schema"], &lines[2]["count"]), (&PAGE_SCHEMA.into(), &2.into()));
    for (request, expected) in [
        ("GET /v1/connections?colour=red HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("GET /v1/connections?limit=0 HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("HEAD /v1/connections HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
    ] {
        let answer = ask(&running, request).await;
        assert!(answer.starts_with(expected), "{request}: {answer}");
    }
}

#[tokio::test]
async fn many_questioners_are_all_answered_and_a_stalled_one_holds_nobody_up() {
    let running = start();
    write_history(&running, 3_000);
    // More than can be worked at together stop reading.
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&running.socket).await.unwrap();
        stream.write_all(b"GET /v1/connections?limit=3000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        stalled.push(stream);
    }
    let mut all = Vec::new();
    for _ in 0..20 {
        let socket = running.socket.clone();
        all.push(tokio::spawn(async move {
            let mut answer = ask_history(&socket, &connections(50)).await.unwrap();
            all_lines(&mut answer).await.len()
        }));
    }
    for one in all {
        assert_eq!(one.await.unwrap(), 51);
    }
    // Who does not read is cut off in the end: its connection is closed with half an answer.
    let mut answer = Vec::new();
    tokio::time::sleep(crate::api::questions::PATIENCE + Duration::from_secs(1)).await;
    let _ = timeout(PATIENCE, stalled[0].read_to_end(&mut answer)).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains(PAGE_SCHEMA));
}

#[tokio::test]
async fn the_report_comes_whole_or_not_at_all() {
    let running = start();
    let missing = report(&running.socket).await.unwrap_err().to_string();
    assert!(missing.contains("404 Not Found") && missing.contains("there is no history at"), "{missing}");
    write_history(&running, 5);
    let page = String::from_utf8(report(&running.socket).await.unwrap().into()).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    assert!(page.contains("client.service"), "{page}");
    let head = ask(&running, "HEAD /v1/report HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
}
