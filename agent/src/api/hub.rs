//! From the pipeline's thread to every reader that watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::WatchFilter;
use crate::display::json_line;
use crate::record::{GAP_SCHEMA, GapRecord, Record, WallTime};

/// Records that a reader may lag behind before it loses the oldest; the queue is shared, so that the slowest
/// reader costs at most about 12 MiB, and a burst of a thousand connections fits.
pub const WATCH_QUEUE_RECORDS: usize = 2048;

/// The publishing side. Cheap to clone; keeps nothing when nobody watches.
#[derive(Debug, Clone)]
pub struct Hub {
    records: broadcast::Sender<Arc<Published>>,
    lost: Arc<AtomicU64>,
    repeat_wanted: Arc<AtomicBool>,
    closed: watch::Sender<bool>,
}

#[derive(Debug)]
struct Published {
    record: Record,
    /// Only for readers that asked for what was open when they came.
    repeated: bool,
    line: OnceLock<Bytes>,
}

impl Published {
    /// Serialised by the first reader that wants it, never by the pipeline.
    fn line(&self) -> Bytes {
        self.line.get_or_init(|| line(&self.record)).clone()
    }
}

fn line(record: &Record) -> Bytes {
    let mut line = Vec::new();
    match json_line(record, &mut line) {
        Ok(()) => Bytes::from(line),
        // Records have string keys and no failing serialiser; an empty line would be no lie either.
        Err(_) => Bytes::from_static(b"\n"),
    }
}

impl Default for Hub {
    fn default() -> Self {
        Hub::new()
    }
}

impl Hub {
    /// A hub nobody watches.
    pub fn new() -> Self {
        Hub {
            records: broadcast::Sender::new(WATCH_QUEUE_RECORDS),
            lost: Arc::default(),
            repeat_wanted: Arc::default(),
            closed: watch::Sender::new(false),
        }
    }

    /// Hands a record to all readers. Never waits; may be called from any thread.
    pub fn publish(&self, record: Record) {
        self.send(record, false);
    }

    /// Hands an open connection's record once more to the readers that want to begin with those.
    pub fn repeat(&self, record: Record) {
        self.send(record, true);
    }

    fn send(&self, record: Record, repeated: bool) {
        if self.records.receiver_count() > 0 {
            // Fails only if the last reader has just left.
            drop(self.records.send(Arc::new(Published { record, repeated, line: OnceLock::new() })));
        }
    }

    /// Whether a reader has come that wants to begin with the open connections; asking takes the wish back.
    pub fn take_repeat_wanted(&self) -> bool {
        self.repeat_wanted.swap(false, Ordering::Relaxed)
    }

    /// Readers at this moment.
    pub fn subscribers(&self) -> usize {
        self.records.receiver_count()
    }

    /// Records that the slowest reader has not taken yet.
    pub fn waiting(&self) -> usize {
        self.records.len()
    }

    /// Records that slow readers have lost, summed over readers.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// A new reader, from the next record on.
    pub fn watch(&self, filter: WatchFilter) -> Watcher {
        let records = self.records.subscribe();
        if filter.open {
            self.repeat_wanted.store(true, Ordering::Relaxed);
        }
        Watcher { records, filter, last: now(), lost: self.lost.clone(), closed: self.closed.subscribe() }
    }

    /// Ends the stream of every reader, after what is queued for it.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// One reader's place in the stream.
#[derive(Debug)]
pub struct Watcher {
    records: broadcast::Receiver<Arc<Published>>,
    filter: WatchFilter,
    last: WallTime,
    lost: Arc<AtomicU64>,
    closed: watch::Receiver<bool>,
}

impl Watcher {
    /// The next line it wants, with its line feed; `None` when the hub was closed. Where the reader was too slow
    /// the line is a `countersign.gap/1` with cause `slow_reader`; `lost` counts records before its filter.
    pub async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            let received = tokio::select! {
                biased;
                received = self.records.recv() => received,
                _ = self.closed.wait_for(|closed| *closed) => return None,
            };
            let since = std::mem::replace(&mut self.last, now());
            match received {
                Ok(published) if published.repeated && !self.filter.open => {}
                Ok(published) if self.filter.wants(&published.record) => return Some(published.line()),
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => {
                    self.lost.fetch_add(lost, Ordering::Relaxed);
                    return Some(line(&Record::Gap(Arc::new(GapRecord {
                        schema: GAP_SCHEMA.into(),
                        from: Some(since),
                        to: self.last,
                        cause: "slow_reader".to_owned(),
                        lost: Some(lost),
                    }))));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn now() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}
