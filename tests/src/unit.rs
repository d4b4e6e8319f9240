//! Cgroups that look like those of a service manager.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{PATIENCE, until};

/// Runs work while this process is in a cgroup of its own, as a service manager would place it. Work within work is in the
/// innermost one.
///
/// # Errors
/// Those of the work, and where there is no cgroup v2 hierarchy.
pub fn in_unit<T>(unit: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let root = hierarchy()?;
    let own = std::process::id().to_string();
    let before = std::fs::read_to_string("/proc/self/cgroup")?;
    let before = before.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let before = root.join(before).join("cgroup.procs");
    let folder = root.join("system.slice").join(unit);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("cgroup.procs"), &own)?;
    let outcome = work();
    // What other tests have started meanwhile was born into it.
    until("an empty cgroup", PATIENCE, || {
        for pid in std::fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
            // One that has just ended needs no place any more.
            let _ = std::fs::write(&before, pid);
        }
        Ok(std::fs::remove_dir(&folder).ok())
    })?;
    outcome
}

fn hierarchy() -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let root = mounts.lines().find_map(|line| line.split(' ').nth(1).filter(|_| line.contains(" cgroup2 ")));
    Ok(PathBuf::from(root.context("no cgroup v2 hierarchy is mounted")?))
}
