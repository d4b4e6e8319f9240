//! Cgroups of a test: this process can be in one for a while, and what it starts meanwhile is born into it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{PATIENCE, until};

/// A cgroup, which goes with the value.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    folder: PathBuf,
}

impl Cgroup {
    /// Makes one at `path` below the root of the v2 hierarchy.
    ///
    /// # Errors
    /// Without such a hierarchy, or the right to do so.
    pub fn new(path: &str) -> Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let mut mounts = mounts.lines().filter(|line| line.contains(" cgroup2 "));
        let root = mounts.find_map(|line| line.split(' ').nth(1));
        let root = PathBuf::from(root.context("no cgroup v2 hierarchy is mounted")?);
        let folder = root.join(path);
        std::fs::create_dir_all(&folder)?;
        Ok(Self { root, folder })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs work while this process is in it, as a service manager would place it.
    ///
    /// # Errors
    /// When it cannot be entered or left, and those of `work`.
    pub fn enter<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = std::process::id().to_string();
        std::fs::write(self.folder.join("cgroup.procs"), &own)?;
        let outcome = work();
        std::fs::write(self.root.join("cgroup.procs"), &own)?;
        outcome
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What was born into it may run on.
        let _ = until("an empty cgroup", PATIENCE, || {
            for pid in std::fs::read_to_string(self.folder.join("cgroup.procs"))?.lines() {
                // One that has just ended needs no place any more.
                let _ = std::fs::write(self.root.join("cgroup.procs"), pid);
            }
            Ok(std::fs::remove_dir(&self.folder).ok())
        });
    }
}
