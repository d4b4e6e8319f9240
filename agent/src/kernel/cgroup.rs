//! Where the cgroup v2 hierarchy is mounted.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where this process sees its mounts.
const MOUNT_INFO: &str = "/proc/self/mountinfo";

/// A mounted cgroup v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where.
    pub path: PathBuf,
    /// The mount shows the root of the hierarchy; otherwise (in a container) sockets outside of
    /// the mounted part are not seen.
    pub is_root: bool,
}

/// Finds the hierarchy; one that shows the root is preferred.
pub(super) fn find() -> Option<Hierarchy> {
    in_mount_info(&fs::read_to_string(MOUNT_INFO).ok()?)
}

/// The folder that was asked for; whether it is the root is told by what only the root lacks.
pub(super) fn at(path: &Path) -> Hierarchy {
    Hierarchy { path: path.to_path_buf(), is_root: !path.join("cgroup.events").exists() }
}

/// Format: proc_pid_mountinfo(5).
fn in_mount_info(mounts: &str) -> Option<Hierarchy> {
    let found = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if !kind.starts_with("cgroup2 ") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let root = fields.next()?;
        let path = PathBuf::from(unescape(fields.next()?));
        // In a cgroup namespace the root of the mount looks like `/` though it is not.
        let is_root = root == "/" && at(&path).is_root;
        Some(Hierarchy { path, is_root })
    });
    found.max_by_key(|hierarchy| hierarchy.is_root)
}

/// Folders that are gone through at most: more than the services and containers of the largest hosts.
const FOLDERS_MAX: usize = 65_536;

/// The numbers (inodes) of a cgroup and of those below it, as far as they can be read.
pub(super) fn numbers_below(path: &Path) -> HashSet<u64> {
    let mut numbers = HashSet::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop()
        && numbers.len() < FOLDERS_MAX
    {
        numbers.extend(fs::metadata(&folder).map(|metadata| metadata.ino()));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(inner.map(|entry| entry.path()));
    }
    numbers
}

/// The kernel writes space, tab, newline and backslash as octal escapes.
pub(super) fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hybrid_hierarchy_is_found() {
        let mounts = "25 18 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      26 25 0:23 / /sys/fs/cgroup/nowhere\\040at\\040all rw,relatime - cgroup2 cgroup2 rw\n\
                      27 25 0:24 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n";
        let found = in_mount_info(mounts).unwrap();
        assert_eq!(found, Hierarchy { path: "/sys/fs/cgroup/nowhere at all".into(), is_root: true });
    }

    #[test]
    fn a_part_of_the_hierarchy_is_not_its_root() {
        let mounts = "26 25 0:23 /docker/1 /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n";
        assert!(!in_mount_info(mounts).unwrap().is_root);
        assert_eq!(in_mount_info("1 0 8:1 / / rw - ext4 /dev/sda rw\n"), None);
    }
}
