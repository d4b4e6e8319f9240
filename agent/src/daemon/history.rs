//! The history: records go from the engine through a queue to one thread that writes them to the file.
//!
//! The engine never waits for the disk: what the queue cannot hold is counted, and a gap says so in the file.

mod file;
mod keeper;
mod outage;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};

use crate::api::Hub;
use crate::config::HistoryConfig;
use crate::metrics::Metrics;
use crate::record::Record;
use keeper::Keeper;

/// Records that wait for the disk: with the batch that is being written some three thousand of about three kilobytes, so
/// at most 10 MiB, and a stall of a fifth of a second where 5,000 connections come and go in a second.
const QUEUE_RECORDS: usize = 2_048;
/// Records of a burst at which the writer is woken, once, instead of looking when its pause is over: the queue would be full by then.
const BURST_RECORDS: usize = QUEUE_RECORDS / 4;

/// The engine's end of the queue. Cheap to clone; without a file behind it, it takes nothing.
#[derive(Debug, Clone, Default)]
pub struct History {
    queue: Option<SyncSender<Record>>,
    shared: Arc<Shared>,
}

/// What both ends know.
#[derive(Debug, Default)]
struct Shared {
    /// Records that found no room in the queue and are not told yet.
    dropped: AtomicU64,
    /// Records that were offered since the writer looked at the queue.
    waiting: AtomicUsize,
    writer: OnceLock<Thread>,
    stop: AtomicBool,
    /// What is wrong with the history, in words.
    trouble: Mutex<Option<String>>,
    /// Certificates of which the file has no more than the fingerprint.
    wanted: Mutex<Vec<[u8; 32]>>,
}

impl Shared {
    fn say(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl History {
    /// One that keeps what it is offered, for a test to take.
    #[cfg(test)]
    pub fn kept() -> (History, std::sync::mpsc::Receiver<Record>) {
        let (queue, records) = sync_channel(QUEUE_RECORDS);
        (History { queue: Some(queue), shared: Arc::default() }, records)
    }

    /// Whether records are wanted.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands a record over to be written. Never waits.
    pub fn offer(&self, record: &Record) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(record.clone()).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let before = self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        if before + 1 == BURST_RECORDS
            && let Some(writer) = self.shared.writer.get()
        {
            writer.unpark();
        }
    }

    /// SHA-256 of certificates whose records are to be offered again; asking takes the wish back.
    pub fn take_wanted(&self) -> Vec<[u8; 32]> {
        std::mem::take(&mut self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is wrong with the history; `None` if nothing is.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The thread that writes.
#[derive(Debug)]
pub struct HistoryThread {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl HistoryThread {
    /// Starts it on a file, which it makes if it is missing, as soon as it can.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(
        path: PathBuf,
        config: &HistoryConfig,
        metrics: Metrics,
        hub: Hub,
    ) -> io::Result<(HistoryThread, History)> {
        let shared = Arc::<Shared>::default();
        let (queue, records) = sync_channel(QUEUE_RECORDS);
        let mut keeper = Keeper::new(path, config.clone(), Arc::clone(&shared), metrics, hub);
        let ending = Ending(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(move || {
            let _ending = ending;
            keeper.run(&records);
        })?;
        // Nobody else sets it.
        let _ = shared.writer.set(thread.thread().clone());
        let history = History { queue: Some(queue), shared: Arc::clone(&shared) };
        Ok((HistoryThread { shared, thread }, history))
    }

    /// Writes what is in the queue, and ends.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the history panicked");
        }
    }
}

/// Says so if the thread ends before it is told to.
#[derive(Debug)]
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.say(Some("its thread stopped: this is a defect".to_owned()));
        }
    }
}
