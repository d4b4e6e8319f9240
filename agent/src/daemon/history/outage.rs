//! Times in which the file takes nothing: why, since when, and when to try again.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};
use rusqlite::ErrorCode;

use crate::metrics::{HistoryLoss, HistoryState};
use crate::record::WallTime;
use crate::store::StoreError;

/// First and longest time between two tries.
const DELAYS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];
/// Less room than a transaction needs.
const FULL_BELOW_BYTES: u64 = 1 << 20;

/// Why the file takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Full,
    ReadOnly,
    Locked,
    Corrupt,
    Foreign,
    Failed,
}

impl Fault {
    /// What an error means for a file at this place.
    pub fn of(error: &StoreError, path: &Path) -> Fault {
        match (error, error.code()) {
            (_, Some(ErrorCode::DiskFull)) => Fault::Full,
            (_, Some(ErrorCode::ReadOnly)) => Fault::ReadOnly,
            (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => Fault::Locked,
            (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => Fault::Corrupt,
            (StoreError::Later { .. } | StoreError::NotAHistory { .. }, _) => Fault::Foreign,
            _ => Fault::of_place(path),
        }
    }

    /// SQLite calls several things an I/O error that the file system can tell apart.
    fn of_place(path: &Path) -> Fault {
        match path.parent().map(statvfs) {
            Some(Ok(place)) if place.flags().contains(FsFlags::ST_RDONLY) => Fault::ReadOnly,
            Some(Ok(place)) if place.blocks_available() * place.fragment_size() < FULL_BELOW_BYTES => {
                Fault::Full
            }
            _ => Fault::Failed,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Fault::Full => "no room is left on its disk",
            Fault::ReadOnly => "its file cannot be written",
            Fault::Locked => "another process holds its file",
            Fault::Corrupt => "its file is damaged",
            Fault::Foreign => "its file is not one that this program may write",
            Fault::Failed => "its file cannot be used",
        }
    }

    pub fn state(self) -> HistoryState {
        match self {
            Fault::Full => HistoryState::Full,
            Fault::ReadOnly => HistoryState::ReadOnly,
            Fault::Locked => HistoryState::Locked,
            Fault::Corrupt => HistoryState::Corrupt,
            Fault::Foreign => HistoryState::Foreign,
            Fault::Failed => HistoryState::Failed,
        }
    }

    pub fn loss(self) -> HistoryLoss {
        match self {
            Fault::Full => HistoryLoss::Full,
            Fault::ReadOnly => HistoryLoss::ReadOnly,
            Fault::Locked => HistoryLoss::Locked,
            Fault::Corrupt => HistoryLoss::Corrupt,
            Fault::Foreign => HistoryLoss::Foreign,
            Fault::Failed => HistoryLoss::Failed,
        }
    }
}

/// A time in which the file takes nothing.
#[derive(Debug)]
pub(super) struct Outage {
    pub fault: Fault,
    pub since: WallTime,
    /// Records that were dropped.
    pub lost: u64,
    /// Tries with the batch at hand.
    pub tries: u32,
    again: Instant,
    delay: Duration,
}

impl Outage {
    pub fn begin(fault: Fault, since: WallTime) -> Outage {
        Outage { fault, since, lost: 0, tries: 0, again: Instant::now(), delay: DELAYS[0] }
    }

    /// A try failed.
    pub fn failed(&mut self, fault: Fault) {
        self.fault = fault;
        self.tries += 1;
        self.again = Instant::now() + self.delay;
        self.delay = (self.delay * 2).min(DELAYS[1]);
    }

    /// Whether it is time for another try.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.again
    }

    /// The next try is worth it at once.
    pub fn try_at_once(&mut self) {
        self.again = Instant::now();
    }
}
