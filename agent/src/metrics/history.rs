//! The history in numbers.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::family::Family;
use super::labels::{HistoryLoss, HistoryRemoval, HistoryState};
use super::process::SecondsGauge;
use super::{Metrics, gauge};
use crate::record::WallTime;

#[derive(Debug)]
pub(super) struct HistoryMetrics {
    pub written: Counter,
    pub lost: Family<1, Counter>,
    pub state: Family<1, Gauge>,
    pub bytes: Gauge,
    pub oldest: SecondsGauge,
    pub removed: Family<1, Counter>,
    pub batch: Histogram,
}

impl HistoryMetrics {
    /// All label sets at zero, and nothing kept.
    pub fn begin(&self) {
        for reason in HistoryLoss::ALL {
            self.lost.of([reason.as_str()]);
        }
        for reason in HistoryRemoval::ALL {
            self.removed.of([reason.as_str()]);
        }
        self.be(HistoryState::Off);
    }

    fn be(&self, now: HistoryState) {
        for state in HistoryState::ALL {
            self.state.of([state.as_str()]).set(i64::from(*state == now));
        }
    }
}

impl Metrics {
    /// A batch was written to the history: so many connections and revisions of them, in this time.
    pub fn history_batch(&self, records: u64, spent: Duration) {
        self.inner.history.written.inc_by(records);
        self.inner.history.batch.observe(spent.as_secs_f64());
    }

    /// Counts records that the history did not take.
    pub fn history_lost(&self, reason: HistoryLoss, count: u64) {
        self.inner.history.lost.of([reason.as_str()]).inc_by(count);
    }

    /// Counts connections that left the history.
    pub fn history_removed(&self, reason: HistoryRemoval, count: u64) {
        self.inner.history.removed.of([reason.as_str()]).inc_by(count);
    }

    /// What the history is doing now.
    pub fn history_state(&self, state: HistoryState) {
        self.inner.history.be(state);
    }

    /// Bytes that the history takes, and when its oldest connection was opened.
    pub fn history_size(&self, bytes: u64, oldest: Option<WallTime>) {
        self.inner.history.bytes.set(gauge(usize::try_from(bytes).unwrap_or(usize::MAX)));
        self.inner.history.oldest.set(oldest.map_or(0.0, |oldest| oldest.0 as f64 / 1e9));
    }
}
