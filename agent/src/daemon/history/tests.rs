//! The keeper, step by step, with files that fail it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use std::time::{Duration, Instant};

use super::keeper::Keeper;
use super::*;
use crate::config::Config;
use crate::record::{ConnectionRecord, WallTime, sample};
use crate::store::Reader;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-history-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("countersign.db")
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn metrics() -> Metrics {
    Metrics::new("test")
}

/// Nothing is too old: the records of these tests are.
fn config() -> HistoryConfig {
    HistoryConfig { max_age: Duration::from_hours(24 * 3_650), ..Config::default().history }
}

fn connection(number: u16) -> Record {
    let opened = 1_790_000_000_000_000_000 + i64::from(number) * 1_000;
    let mut chance = [0; 10];
    chance[8..].copy_from_slice(&number.to_be_bytes());
    let id = uuid::Builder::from_unix_timestamp_millis((opened / 1_000_000).cast_unsigned(), &chance);
    Record::Connection(Arc::new(ConnectionRecord {
        id: id.into_uuid().hyphenated().to_string(),
        revision: 0,
        opened: WallTime(opened),
        ..sample::connection(1)
    }))
}

fn count(file: &Path, table: &str) -> i64 {
    let reader = Reader::open(file).unwrap();
    reader.database().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn gap(file: &Path) -> (String, i64) {
    let reader = Reader::open(file).unwrap();
    let sql = "SELECT cause, lost FROM gap ORDER BY id DESC LIMIT 1";
    reader.database().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn metric(metrics: &Metrics, line: &str) -> String {
    let page = metrics.render_text();
    page.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_default().trim().to_owned()
}

/// A keeper without a thread.
fn by_hand(folder: &Folder) -> (Keeper, Arc<Shared>, Metrics) {
    let (shared, metrics) = (Arc::<Shared>::default(), metrics());
    let keeper = Keeper::new(folder.file(), config(), Arc::clone(&shared), metrics.clone(), Hub::new());
    (keeper, shared, metrics)
}

#[test]
fn what_was_offered_is_in_the_file_after_a_clean_end() {
    let folder = Folder::new("clean");
    let (thread, history) = HistoryThread::start(folder.file(), &config(), metrics(), Hub::new()).unwrap();
    for number in 0..1_500 {
        history.offer(&connection(number));
    }
    thread.stop();
    assert_eq!(count(&folder.file(), "connection"), 1_500);
    assert_eq!(history.trouble(), None);
    let mode = std::fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it tells who talks to whom");
}

#[test]
fn what_the_queue_cannot_hold_is_counted_and_said() {
    let folder = Folder::new("slow");
    let (queue, records) = sync_channel(2);
    let (mut keeper, shared, metrics) = by_hand(&folder);
    let history = History { queue: Some(queue), shared: Arc::clone(&shared) };
    for number in 0..5 {
        history.offer(&connection(number));
    }
    shared.stop.store(true, Ordering::Release);
    keeper.run(&records);
    assert_eq!(count(&folder.file(), "connection"), 2);
    assert_eq!(gap(&folder.file()), ("history_slow".to_owned(), 3));
    assert_eq!(metric(&metrics, "countersign_history_records_lost_total{reason=\"slow\"}"), "3");
}

#[test]
fn a_damaged_file_is_set_aside_and_a_few_are_kept() {
    let folder = Folder::new("damaged");
    for round in 1..=4 {
        std::fs::write(folder.file(), [7; 5_000]).unwrap();
        let (mut keeper, shared, metrics) = by_hand(&folder);
        keeper.hold(connection(1));
        keeper.write();
        let aside = folder.names().iter().filter(|name| name.starts_with("countersign.db.corrupt-")).count();
        assert_eq!(aside, round.min(3), "{:?}", folder.names());
        assert!(shared.trouble.lock().unwrap().as_ref().is_some_and(|words| words.contains("damaged")));
        if round > 3 {
            assert_eq!(std::fs::read(folder.file()).unwrap(), [7; 5_000], "it is not deleted");
            assert_eq!(metric(&metrics, "countersign_history_state{state=\"corrupt\"}"), "1");
            continue;
        }
        keeper.write();
        assert_eq!(*shared.trouble.lock().unwrap(), None);
        assert_eq!(count(&folder.file(), "connection"), 1);
        keeper.write();
        assert_eq!(gap(&folder.file()), ("history_corrupt".to_owned(), 0));
        drop(keeper);
    }
}

#[test]
fn a_held_file_is_waited_for_and_what_was_lost_meanwhile_is_said() {
    let folder = Folder::new("held");
    let (mut keeper, shared, metrics) = by_hand(&folder);
    keeper.write();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    keeper.hold(connection(1));
    keeper.write();
    assert!(shared.trouble.lock().unwrap().as_ref().is_some_and(|words| words.contains("another process")));
    assert_eq!(metric(&metrics, "countersign_history_state{state=\"locked\"}"), "1");
    shared.dropped.store(7, Ordering::Relaxed);
    other.execute_batch("COMMIT").unwrap();
    keeper.write();
    assert_eq!(*shared.trouble.lock().unwrap(), None);
    keeper.write();
    assert_eq!(count(&folder.file(), "connection"), 1);
    assert_eq!(gap(&folder.file()), ("history_locked".to_owned(), 7));
    assert_eq!(metric(&metrics, "countersign_history_state{state=\"writing\"}"), "1");
}

#[test]
fn a_file_that_was_taken_away_is_made_anew() {
    let folder = Folder::new("taken");
    let (mut keeper, _, _) = by_hand(&folder);
    keeper.hold(connection(1));
    keeper.write();
    for name in folder.names() {
        std::fs::remove_file(folder.0.join(name)).unwrap();
    }
    keeper.hold(connection(2));
    keeper.look();
    assert_eq!(count(&folder.file(), "connection"), 1);
}

#[test]
fn a_later_programs_file_and_a_strangers_are_not_touched() {
    let folder = Folder::new("later");
    drop(crate::store::Writer::open(&folder.file()).unwrap());
    let later = rusqlite::Connection::open(folder.file()).unwrap();
    later.pragma_update(None, "user_version", 99).unwrap();
    let (mut keeper, shared, _) = by_hand(&folder);
    keeper.hold(connection(1));
    keeper.write();
    assert!(shared.trouble.lock().unwrap().as_ref().is_some_and(|words| words.contains("may write")));
    assert!(!folder.names().iter().any(|name| name.contains("corrupt")), "{:?}", folder.names());
    let version: i64 = later.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn what_is_too_old_leaves_and_is_counted() {
    let folder = Folder::new("old");
    let (shared, metrics) = (Arc::<Shared>::default(), metrics());
    let config = HistoryConfig { max_age: Duration::from_secs(1), ..config() };
    let mut keeper = Keeper::new(folder.file(), config, shared, metrics.clone(), Hub::new());
    keeper.hold(connection(1));
    keeper.write();
    keeper.tidy();
    assert_eq!(count(&folder.file(), "connection"), 0);
    assert_eq!(metric(&metrics, "countersign_history_connections_removed_total{reason=\"age\"}"), "1");
}

#[test]
fn certificates_that_the_file_lacks_are_asked_for() {
    let folder = Folder::new("wanted");
    let (mut keeper, shared, _) = by_hand(&folder);
    let Record::Connection(record) = connection(1) else { unreachable!() };
    let mut record = ConnectionRecord::clone(&record);
    record.server.certificates = vec!["ab".repeat(32)];
    keeper.hold(Record::Connection(Arc::new(record)));
    keeper.write();
    keeper.look();
    assert_eq!(*shared.wanted.lock().unwrap(), [[0xab; 32]]);
}

#[test]
fn a_burst_wakes_the_writer_before_the_queue_is_full() {
    let (history, _records) = History::kept();
    let writer = std::thread::spawn(|| {
        let began = Instant::now();
        std::thread::park_timeout(Duration::from_secs(60));
        began.elapsed()
    });
    history.shared.writer.set(writer.thread().clone()).unwrap();
    for number in 0..BURST_RECORDS {
        assert!(number < BURST_RECORDS - 1 || !writer.is_finished(), "woken for less");
        history.offer(&Record::Connection(sample::connection(number as u32).into()));
    }
    assert!(writer.join().unwrap() < Duration::from_secs(50));
}
