//! When the agent was last alive: what it did not see while it was down is a gap, and is said to be one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::record::{GAP_SCHEMA, GapRecord, WallTime};

/// A file in the data folder whose content is the last moment at which the agent was alive.
#[derive(Debug)]
pub struct Heartbeat {
    path: PathBuf,
    /// Held as long as the agent runs.
    _lock: Flock<File>,
}

impl Heartbeat {
    /// In this data folder, which is made for root alone if it is missing, and is held against a second daemon.
    ///
    /// # Errors
    /// If the folder cannot be made or written; `WouldBlock` if another daemon uses it.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = File::create(folder.join("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(Heartbeat { path: folder.join("last_alive"), _lock: lock })
    }

    /// What was missed since the last run on this data folder; `None` if there was none.
    pub fn missed(&self, now: WallTime) -> Option<GapRecord> {
        let last = fs::read_to_string(&self.path).ok()?;
        let from = serde_json::from_str::<WallTime>(last.trim()).ok();
        Some(GapRecord {
            schema: GAP_SCHEMA.into(),
            from: from.filter(|from| *from <= now),
            to: now,
            cause: "agent_down".to_owned(),
            lost: None,
        })
    }

    /// Notes that the agent is alive. The file is replaced whole, so that a crash leaves the old or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn beat(&self, now: WallTime) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, format!("\"{now}\"\n"))?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_second_run_knows_since_when_it_was_down() {
        let folder = std::env::temp_dir().join(format!("countersign-heartbeat-{}", std::process::id()));
        let heartbeat = Heartbeat::in_folder(&folder).unwrap();
        assert_eq!(heartbeat.missed(WallTime(5)), None);
        heartbeat.beat(WallTime(1_000_000_000)).unwrap();
        let gap = heartbeat.missed(WallTime(3_000_000_000)).unwrap();
        assert_eq!(
            (gap.from, gap.to, gap.lost),
            (Some(WallTime(1_000_000_000)), WallTime(3_000_000_000), None)
        );
        fs::write(&heartbeat.path, "garbage").unwrap();
        assert_eq!(heartbeat.missed(WallTime(7)).unwrap().from, None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_serves_one_daemon_and_only_its_user() {
        let folder = std::env::temp_dir().join(format!("countersign-lock-{}", std::process::id()));
        let first = Heartbeat::in_folder(&folder).unwrap();
        assert_eq!(Heartbeat::in_folder(&folder).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        drop(first);
        Heartbeat::in_folder(&folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
