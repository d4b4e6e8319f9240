//! One look at `/proc/PID`.
//!
//! The folder is opened once and everything is read relative to it: the kernel binds the open
//! folder to the process, so a reused pid cannot mix two processes in one sighting.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use rustix::fs::{AtFlags, OFlags, ResolveFlags, Statx, StatxFlags};

use super::ProcessUnknown;
use super::cgroup::Hierarchies;
use super::process::comm_text;
use crate::record::ExecutableChange;

/// Bound on what is read of one file: `stat` and `status` have about 1.5 KiB, `cgroup` up to one path (4 KiB) per hierarchy.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Inode number of the initial PID namespace (PROC_PID_INIT_INO, include/uapi/linux/nsfs.h and before).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// A thread of the kernel (PF_KTHREAD, include/linux/sched.h): field 9 of `stat`.
const PF_KTHREAD: u64 = 0x0020_0000;
/// What `/proc/PID/exe` appends to a file that has no name any more.
const DELETED: &[u8] = b" (deleted)";

/// How often a name is looked for that the kernel may have at hand: it gives up when something changes meanwhile.
const LOOKUP_ATTEMPTS: usize = 3;

/// Where what is read of processes and containers lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/proc`, of the initial PID namespace.
    pub proc: PathBuf,
    /// The hierarchies of cgroups.
    pub hierarchies: Hierarchies,
    /// `/`, below which runtimes keep their state.
    pub host: PathBuf,
    /// Whose folders only an administrator can have made: 0.
    pub administrator: u32,
}

impl Roots {
    /// Those of this host.
    pub fn host() -> Roots {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Roots {
            proc: PathBuf::from("/proc"),
            hierarchies: Hierarchies::parse(&mounts),
            host: PathBuf::from("/"),
            administrator: 0,
        }
    }
}

/// The executable that a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Executable {
    pub(super) path: String,
    /// Device as `major:minor`, and inode.
    pub(super) file: Option<(String, u64)>,
    pub(super) changed: Option<ExecutableChange>,
}

/// What has become of the executable of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It runs the same file, to which this has happened.
    Same(Option<ExecutableChange>),
    /// It runs another one: the event of its exec was lost, or is yet to come.
    Other,
}

/// What one look at a process gave.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) stat: Stat,
    pub(super) executable: Result<Executable, ProcessUnknown>,
    /// What `cgroup` says; `None` if `/proc` does not tell any more.
    pub(super) cgroup: Option<Vec<u8>>,
    /// Real user id; only read when asked for.
    pub(super) uid: Option<u32>,
    /// Inode of its PID namespace and its pid there, if that is not the initial one.
    pub(super) namespace: Option<(u64, Option<u32>)>,
    /// Inode of its mount namespace, if that is not the one of process 1.
    pub(super) mount_namespace: Option<u64>,
}

/// Fields of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// Of the leader.
    pub(super) comm: String,
    pub(super) kernel_thread: bool,
    /// Pid of its parent.
    pub(super) parent: u32,
    /// Pid of the leader of its session.
    pub(super) session: u32,
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
    /// Inode of the mount namespace of process 1, if that is shown.
    mounts: Option<u64>,
    /// Files and links read so far.
    reads: Cell<u64>,
}

impl Procfs {
    pub(super) fn new(root: &Path) -> Procfs {
        // With the pids of another namespace every look-up would name the wrong process or none.
        let foreign =
            std::fs::metadata(root.join("self/ns/pid")).is_ok_and(|meta| meta.ino() != INITIAL_PID_NAMESPACE);
        let absent =
            if foreign { ProcessUnknown::OtherPidNamespace } else { ProcessUnknown::ExitedBeforeRead };
        let first = std::fs::read_link(root.join("1/ns/mnt")).ok();
        let mounts = first.and_then(|link| inode_of("mnt", link.to_str()?));
        Procfs { root: root.to_owned(), absent, mounts, reads: Cell::new(0) }
    }

    /// Everything about `pid`; `start_ticks` guards against a reused pid; `None` takes whichever process has the pid now.
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
        let cgroup = self.contents(&folder, "cgroup").ok();
        let namespace = self.namespace(&folder, "pid").filter(|inode| *inode != INITIAL_PID_NAMESPACE);
        let mount_namespace =
            self.mounts.and_then(|mounts| self.namespace(&folder, "mnt").filter(|inode| *inode != mounts));
        let status = match uid || namespace.is_some() {
            true => self.contents(&folder, "status").unwrap_or_default(),
            false => Vec::new(),
        };
        let namespace = namespace.map(|inode| (inode, namespace_pid(&status)));
        let uid = uid.then(|| real_uid(&status)).flatten();
        Ok(Sighting { stat, executable, cgroup, uid, namespace, mount_namespace })
    }

    /// What its `cgroup` says, alone.
    pub(super) fn cgroup(&self, pid: u32, start_ticks: Option<u64>) -> Result<Vec<u8>, ProcessUnknown> {
        let folder = self.open(pid)?;
        self.stat(&folder, start_ticks)?;
        self.contents(&folder, "cgroup")
    }

    /// Its pid in its own PID namespace, alone.
    pub(super) fn namespace_pid(&self, pid: u32, start_ticks: Option<u64>) -> Option<u32> {
        let folder = self.open(pid).ok()?;
        self.stat(&folder, start_ticks).ok()?;
        namespace_pid(&self.contents(&folder, "status").ok()?)
    }

    /// What has become of the executable of a process that is still there: path, device and inode as they were.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) fn executable_changed(
        &self,
        pid: u32,
        start_ticks: Option<u64>,
        before: (&str, &str, u64),
    ) -> Result<Fate, ProcessUnknown> {
        let folder = self.open(pid)?;
        self.stat(&folder, start_ticks)?;
        let (path, device, inode) = before;
        let now = self.executable(&folder)?;
        match &now.file {
            None => return Ok(Fate::Same(None)),
            Some(file) if (file.0.as_str(), file.1) != (device, inode) => return Ok(Fate::Other),
            Some(_) => {}
        }
        // Renamed, and another one put in its place.
        let moved = now.path != path;
        let other = || self.is_another_at(&folder, path.as_bytes(), device, inode);
        Ok(Fate::Same(now.changed.or_else(|| (moved && other()).then_some(ExecutableChange::Replaced))))
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
            Some(ticks) if ticks != stat.start_ticks => Err(self.absent),
            _ => Ok(stat),
        }
    }

    fn executable(&self, folder: &OwnedFd) -> Result<Executable, ProcessUnknown> {
        self.count();
        let link = readlinkat(folder.as_fd(), "exe").map_err(|error| self.reason(error))?;
        let name = link.as_bytes();
        // The file itself may be on a file system that never answers: the kernel is asked for what it has at hand.
        let file = file_at(folder, "exe").ok();
        // A file may really be called `x (deleted)`: only one without a name left is a deleted one.
        let has_name = file.is_some_and(|file| file.stx_nlink > 0);
        let deleted = name.ends_with(DELETED) && !has_name;
        let path = if deleted { &name[..name.len() - DELETED.len()] } else { name };
        let file = file.map(|file| (device_of(&file), file.stx_ino));
        let changed = deleted.then(|| {
            let other =
                file.as_ref().is_some_and(|(device, inode)| self.is_another_at(folder, path, device, *inode));
            if other { ExecutableChange::Replaced } else { ExecutableChange::Deleted }
        });
        Ok(Executable { path: String::from_utf8_lossy(path).into_owned(), file, changed })
    }

    /// Whether another file is at a path of the process, as far as the kernel knows without asking a file system.
    fn is_another_at(&self, folder: &OwnedFd, path: &[u8], device: &str, inode: u64) -> bool {
        self.count();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(root) =
            rustix::fs::openat(folder, "root", OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        else {
            return false;
        };
        let stay = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
        let open = || rustix::fs::openat2(&root, path, flags, rustix::fs::Mode::empty(), stay);
        let gave_up =
            |found: &Result<OwnedFd, rustix::io::Errno>| matches!(found, Err(rustix::io::Errno::AGAIN));
        let found = (0..LOOKUP_ATTEMPTS).map(|_| open()).find(|found| !gave_up(found));
        let other = found.and_then(Result::ok).and_then(|file| file_at(&file, "").ok());
        other.is_some_and(|other| (other.stx_ino, device_of(&other).as_str()) != (inode, device))
    }

    /// The inode of its namespace of this kind.
    fn namespace(&self, folder: &OwnedFd, kind: &str) -> Option<u64> {
        self.count();
        let link = readlinkat(folder.as_fd(), Path::new("ns").join(kind).as_path()).ok()?;
        inode_of(kind, link.to_str()?)
    }

    /// Files and links read so far.
    pub(super) fn reads(&self) -> u64 {
        self.reads.get()
    }

    fn count(&self) {
        self.reads.set(self.reads.get() + 1);
    }

    fn contents(&self, folder: &OwnedFd, name: &str) -> Result<Vec<u8>, ProcessUnknown> {
        self.count();
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
            parent: field(4)?.try_into().ok()?,
            session: field(6)?.try_into().ok()?,
            threads: field(20)?,
            start_ticks: field(22)?,
        })
    }
}

/// `pid:[4026531836]` (namespaces(7)).
fn inode_of(kind: &str, link: &str) -> Option<u64> {
    link.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// What the kernel knows of a file below an open folder (of the folder itself for an empty name) without asking the file
/// system it is on.
fn file_at(folder: &OwnedFd, name: &str) -> Result<Statx, rustix::io::Errno> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH;
    rustix::fs::statx(folder, name, flags, StatxFlags::INO | StatxFlags::NLINK)
}

fn device_of(file: &Statx) -> String {
    format!("{}:{}", file.stx_dev_major, file.stx_dev_minor)
}

/// The last number of the line `NSpid:` of `/proc/PID/status`.
fn namespace_pid(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next_back()?.parse().ok()
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

    const STAT: &str = "42 (a) b\n(c)) S 1 42 41 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 140874 3133440 410 1";

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let stat = Stat::parse(STAT.as_bytes()).unwrap();
        assert_eq!(
            stat,
            Stat {
                comm: "a) b\n(c)".to_owned(),
                kernel_thread: false,
                parent: 1,
                session: 41,
                threads: 3,
                start_ticks: 140_874
            }
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
    fn the_real_user_id_is_the_first_one() {
        assert_eq!(real_uid(b"Name:\tx\\nUid: 0\nUid:\t33\t0\t0\t0\n"), Some(33));
        assert_eq!(real_uid(b"Name:\tx\n"), None);
    }

    #[test]
    fn the_innermost_pid_is_the_last_one() {
        assert_eq!(namespace_pid(b"Name:\tx\nNSpid:\t4711\t12\t1\nNSpgid:\t1\n"), Some(1));
        assert_eq!(namespace_pid(b"Name:\tx\n"), None);
    }
}
