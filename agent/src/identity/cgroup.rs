//! From cgroups to systemd units.

use std::collections::VecDeque;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use crate::event::Timestamp;

/// Bound on remembered cgroups: large Kubernetes nodes have about 2,000.
const MAX_CACHED_PATHS: usize = 8192;
/// Bound on folders visited in one walk of the tree: 16384 take about 0.2 s, which is what one look-up may cost.
const MAX_FOLDERS_PER_WALK: usize = 16384;
/// Nanoseconds between two walks (5 s): a burst of short processes in new cgroups must not become a burst of walks.
const WALK_INTERVAL: u64 = 5 * 1_000_000_000;

/// The two hierarchies in which systemd places processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CgroupPaths {
    /// Line `0::`.
    pub(super) unified: Option<String>,
    /// Line `name=systemd`, on hybrid and legacy hosts.
    pub(super) systemd: Option<String>,
}

impl CgroupPaths {
    /// Parses `/proc/PID/cgroup` (cgroups(7)): lines of `id:controllers:path`.
    pub(super) fn parse(text: &[u8]) -> CgroupPaths {
        let mut paths = CgroupPaths::default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let mut fields = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            match controllers {
                "" if id == "0" => paths.unified = Some(path.to_owned()),
                "name=systemd" => paths.systemd = Some(path.to_owned()),
                _ => {}
            }
        }
        paths
    }

    /// The unit, from the unified hierarchy first.
    pub(super) fn unit(&self) -> Option<&str> {
        [&self.unified, &self.systemd].into_iter().flatten().find_map(|path| unit(path))
    }
}

/// The systemd unit of a cgroup path, escapes kept, by the rule of systemd itself (`cg_path_get_unit` and
/// `cg_path_get_user_unit`, src/basic/cgroup-util.c): slices are skipped, the first name that is left is the
/// unit, and below a user's manager the same again. What lies deeper was delegated to the unit, which
/// can name it as it likes, also like another unit.
pub(super) fn unit(path: &str) -> Option<&str> {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "." | ".."));
    let first = names.by_ref().find(|name| !name.ends_with(".slice")).filter(|name| is_unit(name))?;
    if !(first.starts_with("user@") && first.ends_with(".service")) {
        return Some(first);
    }
    match names.find(|name| !name.ends_with(".slice")) {
        // `init.scope` below a user's manager is the manager.
        Some(name) if is_unit(name) && name != "init.scope" => Some(name),
        _ => Some(first),
    }
}

fn is_unit(name: &str) -> bool {
    // The kinds of unit that hold processes (systemd.unit(5)).
    [".service", ".scope", ".socket", ".mount", ".swap"]
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

/// Finds the path of a cgroup by its id, for processes whose `/proc` entry is gone.
#[derive(Debug)]
pub(super) struct CgroupTree {
    root: Option<PathBuf>,
    paths: FxHashMap<u64, String>,
    walked: Option<Timestamp>,
}

impl CgroupTree {
    pub(super) fn new(root: Option<PathBuf>) -> CgroupTree {
        CgroupTree { root, paths: FxHashMap::default(), walked: None }
    }

    /// Remembers where a cgroup is: most look-ups are answered by what living processes said.
    pub(super) fn learn(&mut self, id: u64, path: &str) {
        if id == 0 || self.paths.get(&id).is_some_and(|known| known == path) {
            return;
        }
        if self.paths.len() >= MAX_CACHED_PATHS {
            self.paths.clear();
        }
        self.paths.insert(id, path.to_owned());
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
                self.learn(entry.ino(), &below(&root, &path));
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
    fn units_are_named_as_systemd_names_them() {
        for (path, expected) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service", Some("foo.service")),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("user@1000.service")),
            ("/system.slice/docker-0123.scope/system.slice/inner.service", Some("docker-0123.scope")),
            ("/system.slice/with\\x2ddash.service", Some("with\\x2ddash.service")),
            ("/../../system.slice/ssh.service", Some("ssh.service")),
            ("/init.scope", Some("init.scope")),
            ("/kubepods/besteffort/pod1/0123", None),
            ("/system.slice", None),
            ("/.service", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(unit(path), expected, "{path}");
        }
    }

    #[test]
    fn a_service_cannot_pass_for_another_one_by_naming_its_sub_cgroups() {
        assert_eq!(unit("/system.slice/web.service/sshd.service"), Some("web.service"));
    }

    #[test]
    fn hybrid_hosts_are_read_from_the_systemd_hierarchy() {
        let paths = CgroupPaths::parse(b"9:name=systemd:/system.slice/ssh.service\n4:memory:/x:y\n0::/\n");
        assert_eq!(paths.unit(), Some("ssh.service"));
        let paths =
            CgroupPaths::parse(b"1:name=systemd:/system.slice/old.service\n0::/system.slice/new.service");
        assert_eq!(paths.unit(), Some("new.service"));
        assert_eq!(CgroupPaths::parse(b"nonsense\n\xff\xfe:\n").unit(), None);
    }
}
