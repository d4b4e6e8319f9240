//! One look at `/proc/PID`.
//!
//! The folder is opened once and everything is read relative to it: the kernel binds the open
//! folder to the process, so a reused pid cannot mix two processes in one sighting.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use super::ProcessUnknown;
use super::cgroup::CgroupPaths;
use super::process::comm_text;

/// Bound on what is read of one file: `stat` and `status` have about 1.5 KiB, `cgroup` up to one path (4 KiB) per hierarchy.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Inode number of the initial PID namespace (PROC_PID_INIT_INO, include/uapi/linux/nsfs.h and before).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// A thread of the kernel (PF_KTHREAD, include/linux/sched.h): field 9 of `stat`.
const PF_KTHREAD: u64 = 0x0020_0000;
/// What `/proc/PID/exe` appends to a file that has no name any more.
const DELETED: &[u8] = b" (deleted)";

/// Where the kernel's file systems are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/proc`, of the initial PID namespace.
    pub proc: PathBuf,
    /// The cgroup v2 hierarchy, if there is one.
    pub cgroup: Option<PathBuf>,
}

impl Roots {
    /// Those of this host.
    pub fn host() -> Roots {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Roots { proc: PathBuf::from("/proc"), cgroup: cgroup2_mount(&mounts) }
    }
}

/// The first cgroup2 mount point of a mountinfo file (proc(5)): `… root MOUNT options … - cgroup2 …`.
fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        (file_system.split(' ').next()? == "cgroup2").then(|| mount.split(' ').nth(4))?.map(PathBuf::from)
    })
}

/// The executable that a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Executable {
    pub(super) path: String,
    pub(super) deleted: bool,
}

/// What one look at a process gave.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) stat: Stat,
    pub(super) executable: Result<Executable, ProcessUnknown>,
    /// `None` if `/proc` does not tell any more.
    pub(super) cgroup: Option<CgroupPaths>,
    /// Real user id; only read when asked for.
    pub(super) uid: Option<u32>,
}

/// Fields of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// Of the leader.
    pub(super) comm: String,
    pub(super) kernel_thread: bool,
    pub(super) threads: u64,
    /// Clock ticks since boot.
    pub(super) start_ticks: u64,
}

/// A mounted `/proc`.
#[derive(Debug)]
pub(super) struct Procfs {
    root: PathBuf,
    /// What a process that is not there means.
    absent: ProcessUnknown,
}

impl Procfs {
    pub(super) fn new(root: &Path) -> Procfs {
        // With the pids of another namespace every look-up would name the wrong process or none.
        let foreign =
            std::fs::metadata(root.join("self/ns/pid")).is_ok_and(|meta| meta.ino() != INITIAL_PID_NAMESPACE);
        let absent =
            if foreign { ProcessUnknown::OtherPidNamespace } else { ProcessUnknown::ExitedBeforeRead };
        Procfs { root: root.to_owned(), absent }
    }

    /// Everything about `pid`; `start_ticks` guards against a reused pid, with one tick of
    /// tolerance for rounding; `None` takes whichever process has the pid now.
    pub(super) fn read(
        &self,
        pid: u32,
        start_ticks: Option<u64>,
        uid: bool,
    ) -> Result<Sighting, ProcessUnknown> {
        let folder = self.open(pid)?;
        let stat = self.stat(&folder, start_ticks)?;
        let executable = match stat.kernel_thread {
            true => Err(ProcessUnknown::KernelThread),
            false => self.executable(&folder),
        };
        let cgroup = self.contents(&folder, "cgroup").ok().map(|text| CgroupPaths::parse(&text));
        let uid = match uid {
            true => self.contents(&folder, "status").ok().and_then(|text| real_uid(&text)),
            false => None,
        };
        Ok(Sighting { stat, executable, cgroup, uid })
    }

    /// Its cgroups alone.
    pub(super) fn cgroup(&self, pid: u32, start_ticks: Option<u64>) -> Result<CgroupPaths, ProcessUnknown> {
        let folder = self.open(pid)?;
        self.stat(&folder, start_ticks)?;
        Ok(CgroupPaths::parse(&self.contents(&folder, "cgroup")?))
    }

    /// How many threads it has; an error if it is gone.
    pub(super) fn threads(&self, pid: u32, start_ticks: Option<u64>) -> Result<u64, ProcessUnknown> {
        let folder = self.open(pid)?;
        Ok(self.stat(&folder, start_ticks)?.threads)
    }

    fn open(&self, pid: u32) -> Result<OwnedFd, ProcessUnknown> {
        let path = self.root.join(pid.to_string());
        nix::fcntl::open(&path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_PATH, Mode::empty())
            .map_err(|error| self.reason(error))
    }

    fn stat(&self, folder: &OwnedFd, start_ticks: Option<u64>) -> Result<Stat, ProcessUnknown> {
        let stat = Stat::parse(&self.contents(folder, "stat")?).ok_or(ProcessUnknown::Unreadable)?;
        match start_ticks {
            Some(ticks) if ticks.abs_diff(stat.start_ticks) > 1 => Err(self.absent),
            _ => Ok(stat),
        }
    }

    fn executable(&self, folder: &OwnedFd) -> Result<Executable, ProcessUnknown> {
        let link = readlinkat(folder.as_fd(), "exe").map_err(|error| self.reason(error))?;
        let name = link.as_bytes();
        // A file may really be called `x (deleted)`: only one without a name left is a deleted one.
        let named = || {
            openat(folder.as_fd(), "exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
                .and_then(nix::sys::stat::fstat)
                .is_ok_and(|stat| stat.st_nlink > 0)
        };
        let deleted = name.ends_with(DELETED) && !named();
        let path = if deleted { &name[..name.len() - DELETED.len()] } else { name };
        Ok(Executable { path: String::from_utf8_lossy(path).into_owned(), deleted })
    }

    fn contents(&self, folder: &OwnedFd, name: &str) -> Result<Vec<u8>, ProcessUnknown> {
        let file = openat(folder.as_fd(), name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|error| self.reason(error))?;
        let mut bytes = Vec::with_capacity(1024);
        match File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.reason(Errno::from_raw(error.raw_os_error().unwrap_or_default()))),
        }
    }

    fn reason(&self, error: Errno) -> ProcessUnknown {
        match error {
            Errno::EACCES | Errno::EPERM => ProcessUnknown::PermissionDenied,
            Errno::ENOENT | Errno::ESRCH => self.absent,
            _ => ProcessUnknown::Unreadable,
        }
    }
}

impl Stat {
    /// proc_pid_stat(5): `pid (comm) state ppid …`; comm may hold spaces, parentheses and newlines,
    /// so it ends at the *last* parenthesis.
    pub(super) fn parse(bytes: &[u8]) -> Option<Stat> {
        let open = bytes.iter().position(|byte| *byte == b'(')?;
        let close = bytes.iter().rposition(|byte| *byte == b')')?;
        let comm = comm_text(bytes.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(&bytes[close + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first field after the name is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            comm,
            kernel_thread: field(9)? & PF_KTHREAD != 0,
            threads: field(20)?,
            start_ticks: field(22)?,
        })
    }
}

/// The first number of the line `Uid:` of `/proc/PID/status`. The line `Name:` stands before it, but
/// there a newline is escaped, so it cannot pretend.
fn real_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b\n(c)) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 140874 3133440 410 1";

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let stat = Stat::parse(STAT.as_bytes()).unwrap();
        assert_eq!(
            stat,
            Stat { comm: "a) b\n(c)".to_owned(), kernel_thread: false, threads: 3, start_ticks: 140_874 }
        );
    }

    #[test]
    fn a_cut_stat_never_panics_and_never_invents_a_start_time() {
        let complete = STAT.find(" 3133440").unwrap();
        for end in 0..complete - 6 {
            assert_eq!(Stat::parse(&STAT.as_bytes()[..end]), None, "prefix of {end} bytes");
        }
    }

    #[test]
    fn the_cgroup2_mount_is_found_on_hybrid_hosts() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(cgroup2_mount("30 23 0:26 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn the_real_user_id_is_the_first_one() {
        assert_eq!(real_uid(b"Name:\tx\\nUid: 0\nUid:\t33\t0\t0\t0\n"), Some(33));
        assert_eq!(real_uid(b"Name:\tx\n"), None);
    }
}
