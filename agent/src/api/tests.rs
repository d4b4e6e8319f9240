use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::record::sample::{connection, known_workload, library_files};
use crate::record::*;

mod metrics_page;
mod questions;

/// No single wait of these tests takes longer unless something is broken.
const PATIENCE: Duration = Duration::from_secs(10);

fn record(number: u32) -> Record {
    Record::Connection(Arc::new(connection(number)))
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("countersign-api-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
    fn socket(&self) -> PathBuf {
        self.0.join("run/api.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A gap, workloads, and something of a later version.
fn listed_workloads() -> impl Iterator<Item = bytes::Bytes> {
    let gap = r#"{"schema":"countersign.gap/1","from":null,"to":"2023-11-14T22:13:20Z","cause":"table_full","lost":7}"#;
    let names = ["a.service", "b.service"];
    let workloads = names.map(|name| serde_json::to_string(&known_workload(name)).unwrap());
    let later = r#"{"schema":"countersign.later/1"}"#;
    let lines = [gap.to_owned()].into_iter().chain(workloads).chain([later.to_owned()]);
    lines.map(|line| format!("{line}\n").into())
}

struct Running {
    hub: Hub,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
    socket: PathBuf,
    folder: Folder,
}

fn start() -> Running {
    let folder = Folder::new();
    let server = LocalServer::bind(&folder.socket(), None).unwrap();
    let hub = Hub::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let answers = Answers {
        status: Arc::new(|| serde_json::json!({ "version": "0" })),
        libraries: Arc::new(|| serde_json::json!(library_files())),
        workloads: Arc::new(|| Box::new(listed_workloads())),
        history: Some(folder.0.join("countersign.db")),
    };
    let task = tokio::spawn(server.serve(hub.clone(), answers, async move {
        let _ = stopped.await;
    }));
    Running { hub, stop, task, socket: folder.socket(), folder }
}

async fn watch(running: &Running, filter: &WatchFilter) -> WatchClient {
    WatchClient::connect(&running.socket, filter).await.unwrap()
}

async fn line(client: &mut WatchClient) -> serde_json::Value {
    let line = timeout(PATIENCE, client.next_line()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

async fn exchange(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    request: &str,
) -> String {
    // A server that refuses early resets what it has not read; what it said is there all the same.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn ask(running: &Running, request: &str) -> String {
    exchange(UnixStream::connect(&running.socket).await.unwrap(), request).await
}

#[tokio::test]
async fn each_reader_gets_what_it_asked_for_in_order() {
    let running = start();
    running.hub.publish(record(0));
    let mut all = watch(&running, &WatchFilter::default()).await;
    let mut some = watch(&running, &WatchFilter { port: vec![443], ..WatchFilter::default() }).await;
    assert_eq!(running.hub.subscribers(), 2);
    let hub = running.hub.clone();
    std::thread::spawn(move || {
        for number in 1..=100 {
            let mut record = connection(number);
            record.server.port = if number % 10 == 0 { 443 } else { 80 };
            hub.publish(Record::Connection(Arc::new(record)));
        }
    });
    for number in 1..=100 {
        assert_eq!(line(&mut all).await["id"], format!("{number:08}"));
    }
    for number in 1..=10 {
        assert_eq!(line(&mut some).await["id"], format!("{:08}", number * 10));
    }
    drop((all, some));
    until(|| running.hub.subscribers() == 0).await;
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_lost_and_holds_nobody_up() {
    let running = start();
    let mut slow = watch(&running, &WatchFilter::default()).await;
    let mut published = 0;
    while running.hub.lost() == 0 {
        assert!(published < 100_000, "nothing is ever lost");
        for _ in 0..WATCH_QUEUE_RECORDS + 1 {
            published += 1;
            running.hub.publish(record(published));
        }
        tokio::task::yield_now().await;
        // The server must run between the bursts to notice; nothing reads at the client.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if published > 8 * WATCH_QUEUE_RECORDS as u32 {
            // Its socket is full by now: let it read a little.
            line(&mut slow).await;
        }
    }
    let (mut seen, mut lost) = (0, 0);
    running.hub.publish(record(published + 1));
    loop {
        let line = line(&mut slow).await;
        if line["schema"] == GAP_SCHEMA {
            assert_eq!(line["cause"], "slow_reader");
            assert!(line["from"].as_str().unwrap() <= line["to"].as_str().unwrap());
            lost += line["lost"].as_u64().unwrap();
        } else {
            seen += 1;
            if line["id"] == format!("{:08}", published + 1) {
                break;
            }
        }
    }
    assert!(lost > 0 && seen > 1, "{lost} {seen}");
    assert_eq!(lost, running.hub.lost());
}

#[tokio::test]
async fn shutdown_ends_streams_after_what_is_queued_and_removes_the_socket() {
    let running = start();
    let mut client = watch(&running, &WatchFilter::default()).await;
    for number in 0..3 {
        running.hub.publish(record(number));
    }
    running.stop.send(()).unwrap();
    for _ in 0..3 {
        line(&mut client).await;
    }
    assert_eq!(timeout(PATIENCE, client.next_line()).await.unwrap().unwrap(), None);
    timeout(PATIENCE, running.task).await.unwrap().unwrap().unwrap();
    assert!(!running.socket.exists());
}

#[tokio::test]
async fn what_is_not_served_is_refused_with_words() {
    let running = start();
    let status = status(&running.socket).await.unwrap();
    assert_eq!(status["version"], "0");
    assert_eq!(libraries(&running.socket).await.unwrap(), library_files());
    let large = format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        (
            "POST /v1/watch HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\n",
        ),
        ("GET /v1/watch?colour=red HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("HEAD /v1/status HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("\x16\x03\x01\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        (&large, "HTTP/1.1 431 "),
    ] {
        let answer = ask(&running, request).await;
        assert!(answer.starts_with(expected), "{answer}");
    }
    let refused = client::tests_get(&running.socket, "/v1/watch?port=x").await.unwrap_err().to_string();
    assert_eq!(refused, "the daemon refuses (400 Bad Request): port: invalid digit found in string");
}

#[tokio::test]
async fn workloads_are_listed_line_by_line() {
    let running = start();
    let list = workloads(&running.socket).await.unwrap();
    assert_eq!(list.workloads, [known_workload("a.service"), known_workload("b.service")]);
    assert_eq!(list.left_out.iter().map(|gap| gap.lost).collect::<Vec<_>>(), [Some(7)]);
    assert!(!list.is_cut);
    let lengths: Vec<usize> = listed_workloads().map(|line| line.len() - 1).collect();
    let cut = client::workloads_within(&running.socket, lengths[0] + lengths[1]).await.unwrap();
    assert_eq!((cut.workloads, cut.is_cut), (vec![known_workload("a.service")], true));
    let answer = ask(&running, "GET /v1/workloads HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.contains("application/x-ndjson"), "{answer}");
}

#[tokio::test]
async fn a_list_is_made_as_fast_as_it_is_read_and_a_stalled_reader_holds_nobody_up() {
    let folder = Folder::new();
    let server = LocalServer::bind(&folder.socket(), None).unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let endless = move || -> Box<dyn Iterator<Item = bytes::Bytes> + Send> {
        let made = Arc::clone(&counted);
        Box::new(std::iter::repeat_with(move || {
            made.fetch_add(1, Ordering::Relaxed);
            bytes::Bytes::from(format!("{{\"schema\":\"{}\"}}\n", "x".repeat(1000)))
        }))
    };
    let answers = Answers {
        status: Arc::new(|| serde_json::json!({ "version": "0" })),
        libraries: Arc::new(|| serde_json::json!(library_files())),
        workloads: Arc::new(endless),
        history: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.serve(Hub::new(), answers, async move { drop(stopped.await) }));
    let mut stalled = UnixStream::connect(folder.socket()).await.unwrap();
    stalled.write_all(b"GET /v1/workloads HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until(|| made.load(Ordering::Relaxed) > 0).await;
    // A hundred others are answered, and as many times the server could have gone on with the first.
    for _ in 0..100 {
        timeout(PATIENCE, status(&folder.socket())).await.unwrap().unwrap();
    }
    let lines = made.load(Ordering::Relaxed);
    assert!(lines < 2000, "{lines} lines were made for a reader that reads none");
    // Of what never ends, a part is taken.
    let list = timeout(6 * PATIENCE, workloads(&folder.socket())).await.unwrap().unwrap();
    assert!(list.is_cut && list.workloads.is_empty());
    stop.send(()).unwrap();
    timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn one_reader_too_many_is_turned_away() {
    let running = start();
    let mut readers = Vec::new();
    for _ in 0..MAX_WATCHERS {
        readers.push(watch(&running, &WatchFilter::default()).await);
    }
    let refused = WatchClient::connect(&running.socket, &WatchFilter::default()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the daemon refuses (503 Service Unavailable): too many readers at once");
    drop(readers);
    let accepted = async {
        while WatchClient::connect(&running.socket, &WatchFilter::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, accepted).await.unwrap();
}

#[tokio::test]
async fn a_second_daemon_is_told_and_a_stale_socket_is_replaced() {
    let running = start();
    let refused = LocalServer::bind(&running.socket, None).unwrap_err().to_string();
    let expected =
        format!("another daemon is running on {}: use --socket for a second one", running.socket.display());
    assert_eq!(refused, expected);
    watch(&running, &WatchFilter::default()).await;

    let folder = Folder::new();
    let path = folder.0.join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = LocalServer::bind(&path, None).unwrap();
    assert_eq!(server.path(), path);
    // Another one's file at the same place is left alone.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    drop(server);
    let refused = LocalServer::bind(&path, None).unwrap_err();
    assert!(matches!(refused, ApiError::NotASocket { .. }), "{refused}");
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_root_and_the_group_may_open_the_socket() {
    let folder = Folder::new();
    let group = nix::unistd::Group::from_gid(nix::unistd::Gid::effective()).unwrap().unwrap();
    let _server = LocalServer::bind(&folder.socket(), Some(&group.name)).unwrap();
    assert_eq!((mode(&folder.socket()), mode(folder.socket().parent().unwrap())), (0o660, 0o750));
    assert_eq!(folder.socket().metadata().unwrap().gid(), group.gid.as_raw());
    let without_group = folder.0.join("other.sock");
    let _other = LocalServer::bind(&without_group, Some("no-such-group-here")).unwrap();
    assert_eq!(mode(&without_group), 0o660);
}

#[tokio::test]
async fn another_user_is_refused_even_where_the_file_lets_it_in() {
    if !nix::unistd::Uid::effective().is_root() || !Path::new("/usr/bin/curl").exists() {
        assert!(std::env::var_os("CI").is_none(), "needs root and curl");
        eprintln!("skipped: needs root and curl");
        return;
    }
    let running = start();
    for path in [&running.folder.0, running.socket.parent().unwrap(), &running.socket] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut curl = std::process::Command::new("/usr/bin/curl");
    std::os::unix::process::CommandExt::uid(&mut curl, 65534);
    std::os::unix::process::CommandExt::gid(&mut curl, 65534);
    curl.arg("--silent").arg("--max-time").arg("10").arg("--unix-socket").arg(&running.socket);
    curl.arg("http://localhost/v1/status");
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answer, "{\"error\":\"only root and members of the socket's group may read\"}\n");
}

#[tokio::test]
async fn a_client_without_a_daemon_is_told_what_to_do() {
    let folder = Folder::new();
    let refused = WatchClient::connect(&folder.socket(), &WatchFilter::default()).await.unwrap_err();
    let expected = format!(
        "no daemon answers on {}: start one with `countersign run`, or name its socket with --socket",
        folder.socket().display()
    );
    assert_eq!(refused.to_string(), expected);
}

#[tokio::test]
async fn a_daemon_that_is_none_is_not_believed() {
    let folder = Folder::new();
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n{\"half", "half a line"),
        ("HTTP/1.1 200 OK\r\n\r\n\u{0}\n", "ok"),
        ("SSH-2.0-OpenSSH\r\n", "broke"),
        ("", "broke"),
    ] {
        let path = folder.0.join(uuid::Uuid::now_v7().to_string());
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let seen = async {
            let mut client = WatchClient::connect(&path, &WatchFilter::default()).await?;
            client.next_line().await.map(|_| "ok")
        };
        let seen =
            timeout(PATIENCE, seen).await.unwrap().map_or_else(|error| error.to_string(), str::to_owned);
        assert!(seen.contains(expected), "{answer}: {seen}");
        peer.await.unwrap();
    }
}
