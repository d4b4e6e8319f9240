//! The thread that writes: records become batches, and a batch is written or tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Shared;
use super::file::{set_aside, which};
use super::outage::{Fault, Outage};
use crate::api::Hub;
use crate::config::HistoryConfig;
use crate::metrics::{HistoryLoss, HistoryRemoval, HistoryState, Metrics};
use crate::record::{GAP_SCHEMA, GapRecord, Record, WallTime};
use crate::store::{Retention, StoreError, Writer, Written, check};

/// Records of one transaction.
const MAX_BATCH: usize = 1_000;
/// A batch that is not full is written after this time; with the pause before it is begun that is less than a second.
const MAX_AGE: Duration = Duration::from_millis(750);
/// Between two looks at the queue. The engine wakes this thread for bursts only: that costs it more than the record itself.
const PAUSE: Duration = Duration::from_millis(50);
/// The same when there is nothing to be written.
const IDLE: Duration = Duration::from_millis(200);
/// Between two looks at the file's place and its size.
const LOOK: Duration = Duration::from_secs(10);
/// Between two times at which what is too old or too much is sought.
const TIDY: Duration = Duration::from_secs(60);
/// A batch that failed so often for reasons of its own is given up.
const MAX_TRIES: u32 = 5;
/// Certificates that are asked for at a time.
const MAX_WANTED: usize = 256;

/// The file and what is to be written to it.
pub(super) struct Keeper {
    path: PathBuf,
    config: HistoryConfig,
    shared: Arc<Shared>,
    metrics: Metrics,
    hub: Hub,
    /// The open file, and which it was.
    file: Option<(Writer, Option<(u64, u64)>)>,
    batch: Vec<Record>,
    began: Option<Instant>,
    /// When the last batch was written.
    written: WallTime,
    outage: Option<Outage>,
    looked: Option<Instant>,
    tidied: Option<Instant>,
    /// There is more to tidy up.
    untidy: bool,
}

impl Keeper {
    pub fn new(
        path: PathBuf,
        config: HistoryConfig,
        shared: Arc<Shared>,
        metrics: Metrics,
        hub: Hub,
    ) -> Keeper {
        Keeper {
            path,
            config,
            shared,
            metrics,
            hub,
            file: None,
            batch: Vec::with_capacity(MAX_BATCH),
            began: None,
            written: now(),
            outage: None,
            looked: None,
            tidied: None,
            untidy: false,
        }
    }

    /// Writes what comes until it is told to stop, and then what is left.
    pub fn run(&mut self, queue: &Receiver<Record>) {
        // The file is there from the start, for readers and for whoever looks whether it can be written.
        self.write();
        loop {
            let stopping = self.shared.stop.load(Ordering::Acquire);
            self.take(queue);
            let full = self.batch.len() >= MAX_BATCH;
            let due = full || stopping || self.began.is_some_and(|began| began.elapsed() >= MAX_AGE);
            let may_try = stopping || self.outage.as_ref().is_none_or(Outage::is_over);
            let tried = may_try && (self.outage.is_some() || (due && !self.batch.is_empty()));
            if tried {
                self.write();
            }
            if stopping && (self.outage.is_some() || (self.batch.is_empty() && !full)) {
                break;
            }
            self.look();
            self.tidy();
            if stopping || (full && tried && self.outage.is_none()) {
                continue;
            }
            std::thread::park_timeout(if self.began.is_some() || self.untidy { PAUSE } else { IDLE });
        }
        self.give_up(queue);
    }

    fn take(&mut self, queue: &Receiver<Record>) {
        while self.batch.len() < MAX_BATCH {
            let Ok(record) = queue.try_recv() else { break };
            self.hold(record);
        }
        self.shared.waiting.store(0, Ordering::Relaxed);
    }

    /// Takes a record into the batch.
    pub fn hold(&mut self, record: Record) {
        self.batch.push(record);
        self.began.get_or_insert_with(Instant::now);
    }

    /// Writes the batch, or learns why not.
    pub fn write(&mut self) {
        let started = Instant::now();
        match self.put() {
            Ok(written) => {
                if !self.batch.is_empty() {
                    self.metrics.history_batch(written.connections + written.revisions, started.elapsed());
                    self.metrics.history_lost(HistoryLoss::Refused, written.refused);
                }
                self.batch.clear();
                self.began = None;
                self.go_on();
                self.written = now();
            }
            Err(error) => self.fail(&error),
        }
    }

    fn put(&mut self) -> Result<Written, StoreError> {
        let (writer, _) = match &mut self.file {
            Some(file) => file,
            None => {
                let writer = Writer::open(&self.path)?;
                self.file.insert((writer, which(&self.path)))
            }
        };
        writer.write(&self.batch)
    }

    /// It works; if it did not before, what was lost is said.
    fn go_on(&mut self) {
        let dropped = self.shared.dropped.swap(0, Ordering::Relaxed);
        self.metrics.history_state(HistoryState::Writing);
        let Some(outage) = self.outage.take() else {
            if dropped > 0 {
                self.metrics.history_lost(HistoryLoss::Slow, dropped);
                tracing::warn!(lost = dropped, "the disk is too slow for the history: records were left out");
                self.gap(self.written, "slow", dropped);
            }
            return;
        };
        self.metrics.history_lost(outage.fault.loss(), dropped);
        self.shared.say(None);
        let lost = outage.lost + dropped;
        tracing::info!(lost, "the history is written again");
        // What was set aside is not in this file.
        if lost > 0 || outage.fault == Fault::Corrupt {
            self.gap(outage.since, outage.fault.state().as_str(), lost);
        }
    }

    fn fail(&mut self, error: &StoreError) {
        let fault = Fault::of(error, &self.path);
        if fault != Fault::Locked {
            self.file = None;
        }
        let changed = self.outage.as_ref().is_none_or(|outage| outage.fault != fault);
        if changed {
            let reason = super::super::chain(error);
            tracing::error!(
                reason,
                "the history is not written, since {}: connections are watched on, and it is tried again",
                fault.words()
            );
            self.metrics.history_state(fault.state());
            self.shared.say(Some(format!("it is not written, since {}", fault.words())));
        }
        let written = self.written;
        let outage = self.outage.get_or_insert_with(|| Outage::begin(fault, written));
        outage.failed(fault);
        let mut dropped = self.shared.dropped.swap(0, Ordering::Relaxed);
        if fault == Fault::Failed && outage.tries >= MAX_TRIES {
            // Perhaps it is about these records.
            outage.tries = 0;
            dropped += self.batch.len() as u64;
            self.batch.clear();
            self.began = None;
        }
        outage.lost += dropped;
        self.metrics.history_lost(fault.loss(), dropped);
        if fault == Fault::Corrupt {
            self.set_aside(changed);
        }
    }

    fn set_aside(&mut self, say: bool) {
        match set_aside(&self.path, jiff::Timestamp::now()) {
            Ok(aside) => {
                tracing::error!(to = %aside.display(), "the damaged history was set aside: a new one begins");
                if let Some(outage) = &mut self.outage {
                    outage.try_at_once();
                }
            }
            Err(error) if say => {
                tracing::error!(%error, "the damaged history cannot be set aside: nothing is written");
            }
            Err(_) => {}
        }
    }

    /// Says, in the file and to those who watch, that records since then are not in it.
    fn gap(&mut self, from: WallTime, what: &str, lost: u64) {
        let record = Record::Gap(Arc::new(GapRecord {
            schema: GAP_SCHEMA.into(),
            from: Some(from),
            to: now(),
            cause: format!("history_{what}"),
            lost: Some(lost),
        }));
        self.metrics.record(&record);
        self.hub.publish(record.clone());
        self.hold(record);
    }

    /// Now and then: whether the file is still there, how large it is, and what it lacks.
    pub fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some((writer, opened)) = &self.file else { return };
        if which(&self.path) != *opened {
            tracing::warn!("the file of the history was taken away: a new one begins");
            self.file = None;
            return self.write();
        }
        // Read as others do: what this writer remembers hides what became of the file.
        match check(&self.path)
            .and_then(|()| writer.size())
            .and_then(|size| Ok((size, writer.unknown_certificates(MAX_WANTED)?)))
        {
            Ok((size, wanted)) => {
                self.metrics.history_size(size.bytes, size.oldest);
                *self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Deletes and folds a slice of what is not to be kept, if it is time.
    pub fn tidy(&mut self) {
        if !self.untidy && self.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY) {
            return;
        }
        let Some((writer, _)) = &mut self.file else { return };
        let before = |age: Duration| WallTime(now().0.saturating_sub(age.as_nanos() as i64));
        let keep = Retention {
            oldest: before(self.config.max_age),
            max_bytes: self.config.max_bytes,
            fold_before: self.config.fold_after.map(before),
        };
        self.tidied = Some(Instant::now());
        match writer.tidy(&keep) {
            Ok(tidied) => {
                self.untidy = tidied.more;
                self.metrics.history_removed(HistoryRemoval::Age, tidied.aged);
                self.metrics.history_removed(HistoryRemoval::Size, tidied.displaced);
                self.metrics.history_removed(HistoryRemoval::Folded, tidied.folded);
            }
            Err(error) => {
                self.untidy = false;
                self.fail(&error);
            }
        }
    }

    /// The end: what could not be written is lost.
    fn give_up(&mut self, queue: &Receiver<Record>) {
        let left = self.batch.len() + queue.try_iter().count();
        if left > 0 {
            tracing::error!(lost = left, "records were not written to the history before the end");
        }
    }
}

fn now() -> WallTime {
    WallTime(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}
