//! Where processes are in the hierarchies of cgroups.

use std::collections::VecDeque;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::generations::TableSize;
use crate::event::Timestamp;

/// Bound on folders visited in one walk of the tree: 16384 take about 0.2 s, which is what one look-up may cost.
const MAX_FOLDERS_PER_WALK: usize = 16384;
/// Bound on remembered cgroups: what one walk visits, so that none drops what it has just found. Large Kubernetes nodes have
/// about 2,000.
const MAX_CACHED_PATHS: usize = MAX_FOLDERS_PER_WALK;
/// Nanoseconds between two walks (5 s): a burst of short processes in new cgroups must not become a burst of walks.
const WALK_INTERVAL: u64 = 5 * 1_000_000_000;

/// Hierarchies of one process: version 1 has twelve controllers, and `name=systemd`; version 2 is one more.
const MAX_HIERARCHIES: usize = 32;

/// Where a process is, in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CgroupPaths {
    lines: Vec<CgroupPath>,
}

/// One line of `/proc/PID/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupPath {
    /// Controllers of version 1 as the kernel lists them, `name=…`, or nothing for version 2.
    pub(super) controllers: String,
    /// From the root of the hierarchy; bytes that are no UTF-8 are replaced.
    pub(super) path: String,
}

impl CgroupPaths {
    /// Parses `/proc/PID/cgroup` (cgroups(7)): lines of `id:controllers:path`.
    pub(super) fn parse(text: &[u8]) -> CgroupPaths {
        let mut lines = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if lines.len() == MAX_HIERARCHIES {
                break;
            }
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            lines.push(CgroupPath { controllers: controllers.to_owned(), path: path.to_owned() });
        }
        CgroupPaths { lines }
    }

    /// In version 2.
    pub(super) fn unified(&self) -> Option<&CgroupPath> {
        self.lines.iter().find(|line| line.controllers.is_empty())
    }

    /// The two hierarchies in which systemd places processes: version 2, and `name=systemd` on hybrid and legacy hosts.
    pub(super) fn of_systemd(&self) -> impl Iterator<Item = &CgroupPath> {
        self.unified().into_iter().chain(self.lines.iter().filter(|line| line.controllers == "name=systemd"))
    }

    /// All of them, those of systemd first.
    pub(super) fn all(&self) -> impl Iterator<Item = &CgroupPath> {
        let others = |line: &&CgroupPath| !matches!(line.controllers.as_str(), "" | "name=systemd");
        self.of_systemd().chain(self.lines.iter().filter(others))
    }
}

/// Where the hierarchies are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hierarchies {
    /// By controller or `name=…`; nothing for version 2.
    mounts: Vec<(String, PathBuf)>,
}

impl Hierarchies {
    /// From a mountinfo file (proc_pid_mountinfo(5)): `… root MOUNT options … - cgroup source OPTIONS`. Mounts that show a part
    /// of a hierarchy only are left out: paths do not begin there.
    pub fn parse(mountinfo: &str) -> Hierarchies {
        let mut mounts = Vec::new();
        for line in mountinfo.lines() {
            let Some((mount, file_system)) = line.split_once(" - ") else { continue };
            let mut fields = mount.split(' ').skip(3);
            let (Some("/"), Some(path)) = (fields.next(), fields.next()) else { continue };
            let mut fields = file_system.split(' ');
            match (fields.next(), fields.next(), fields.next()) {
                (Some("cgroup2"), ..) => mounts.push((String::new(), PathBuf::from(path))),
                (Some("cgroup"), _, Some(options)) => {
                    mounts.extend(options.split(',').map(|option| (option.to_owned(), PathBuf::from(path))));
                }
                _ => {}
            }
        }
        Hierarchies { mounts }
    }

    /// That of version 2.
    pub fn unified(&self) -> Option<&Path> {
        self.mounts.iter().find(|(name, _)| name.is_empty()).map(|(_, path)| path.as_path())
    }

    /// The folder of a cgroup, if this host shows it. `controllers` as `/proc/PID/cgroup` has them.
    pub(super) fn folder(&self, controllers: &str, path: &str) -> Option<PathBuf> {
        let first = controllers.split(',').next().unwrap_or_default();
        let (_, mount) = self.mounts.iter().find(|(name, _)| name == first)?;
        let outside = path.split('/').any(|name| name == "..");
        (!outside).then(|| mount.join(path.trim_start_matches('/')))
    }
}

/// Finds the path of a cgroup by its id, for processes whose `/proc` entry is gone.
#[derive(Debug)]
pub(super) struct CgroupTree {
    root: Option<PathBuf>,
    paths: FxHashMap<u64, String>,
    /// Their ids, those remembered first in front.
    order: VecDeque<u64>,
    walked: Option<Timestamp>,
    evicted: u64,
}

impl CgroupTree {
    pub(super) fn new(root: Option<PathBuf>) -> CgroupTree {
        CgroupTree { root, paths: FxHashMap::default(), order: VecDeque::new(), walked: None, evicted: 0 }
    }

    /// Remembers where a cgroup is: most look-ups are answered by what living processes said. A process may have been moved
    /// between the hook that told the id and the look that told the path: the folder itself must have the id.
    pub(super) fn learn(&mut self, id: u64, path: &str) {
        if id == 0 || self.paths.get(&id).is_some_and(|known| known == path) {
            return;
        }
        let Some(root) = &self.root else { return };
        let folder = root.join(path.trim_start_matches('/'));
        if std::fs::symlink_metadata(folder).is_ok_and(|folder| folder.ino() == id) {
            self.remember(id, path.to_owned());
        }
    }

    pub(super) fn size(&self) -> TableSize {
        TableSize { entries: self.paths.len(), bound: MAX_CACHED_PATHS, evicted: self.evicted, refused: 0 }
    }

    fn remember(&mut self, id: u64, path: String) {
        if self.paths.insert(id, path).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.paths.len() > MAX_CACHED_PATHS
            && let Some(oldest) = self.order.pop_front()
        {
            self.paths.remove(&oldest);
            self.evicted += 1;
        }
    }

    /// The path of the cgroup with this id (the inode number of its folder), if it still exists
    /// and the tree may be walked now.
    pub(super) fn path(&mut self, id: u64, now: Timestamp) -> Option<&str> {
        if id == 0 {
            return None;
        }
        let rested = self.walked.is_none_or(|walked| now.since(walked) >= WALK_INTERVAL);
        if !self.paths.contains_key(&id) && rested {
            self.walked = Some(now);
            self.walk();
        }
        self.paths.get(&id).map(String::as_str)
    }

    /// Breadth first: units stand near the root.
    fn walk(&mut self) {
        let Some(root) = self.root.clone() else { return };
        let mut folders = VecDeque::from([root.clone()]);
        let mut visited = 0;
        while let Some(folder) = folders.pop_front() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                visited += 1;
                if visited > MAX_FOLDERS_PER_WALK {
                    return;
                }
                let path = entry.path();
                self.remember(entry.ino(), below(&root, &path));
                folders.push_back(path);
            }
        }
    }
}

/// `path` as `/proc/PID/cgroup` prints it.
fn below(root: &Path, path: &Path) -> String {
    format!("/{}", path.strip_prefix(root).unwrap_or(path).to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_is_read_those_of_systemd_first() {
        let text =
            b"9:name=systemd:/system.slice/ssh.service\n4:memory:/x:y (deleted)\n0::/\nnonsense\n\xff\xfe:\n";
        let paths = CgroupPaths::parse(text);
        let all: Vec<_> = paths.all().map(|line| (line.controllers.as_str(), line.path.as_str())).collect();
        assert_eq!(all, [("", "/"), ("name=systemd", "/system.slice/ssh.service"), ("memory", "/x:y")]);
        assert_eq!(paths.unified().unwrap().path, "/");
    }

    #[test]
    fn a_file_of_many_lines_is_not_kept_whole() {
        assert_eq!(CgroupPaths::parse(&b"1:a:/\n".repeat(1000)).all().count(), MAX_HIERARCHIES);
    }

    #[test]
    fn remembered_paths_stay_bounded_and_the_oldest_goes() {
        let mut tree = CgroupTree::new(None);
        for id in 1..=MAX_CACHED_PATHS as u64 + 2 {
            tree.remember(id, format!("/{id}"));
        }
        assert_eq!((tree.paths.len(), tree.order.len()), (MAX_CACHED_PATHS, MAX_CACHED_PATHS));
        assert_eq!(tree.size().evicted, 2);
        assert_eq!(tree.path(2, Timestamp(1)), None);
        assert_eq!(tree.path(3, Timestamp(1)), Some("/3"));
    }

    #[test]
    fn the_mounts_of_hybrid_hosts_are_found() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n\
                      32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 30 0:29 /docker/1 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let hierarchies = Hierarchies::parse(mounts);
        let folder = |controllers, path| hierarchies.folder(controllers, path);
        assert_eq!(hierarchies.unified(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(folder("", "/a"), Some(PathBuf::from("/sys/fs/cgroup/unified/a")));
        assert_eq!(folder("cpu,cpuacct", "/a"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/a")));
        assert_eq!(folder("name=systemd", "/a"), Some(PathBuf::from("/sys/fs/cgroup/systemd/a")));
        assert_eq!(folder("pids", "/a"), None, "a part only");
        assert_eq!(folder("", "/../a"), None);
        assert_eq!(
            Hierarchies::parse("30 23 0:26 / /sys rw - sysfs sysfs rw\nnonsense\n"),
            Hierarchies::default()
        );
    }
}
