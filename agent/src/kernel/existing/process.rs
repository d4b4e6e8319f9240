//! One process as `/proc` shows it: who it is, and which sockets it holds.
//!
//! The folder is opened once and everything is read relative to it: the kernel binds the open folder to the process, so
//! that a reused pid cannot give one process the sockets of another.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, open, openat, readlinkat},
    sys::stat::Mode,
};

use crate::event::{NANOSECONDS_PER_TICK, ProcessKey, Task};

/// Bound on what is read of one file: `stat` and `status` have about 1.5 KiB, `cgroup` up to one path (4 KiB) per
/// hierarchy.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// A thread of the kernel (PF_KTHREAD, include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What a descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A socket of any family, by the number of its file.
    Socket(u32),
    /// A network namespace, by the number of its file.
    NetworkNamespace(u64),
}

/// What a pass may still spend: a user can hold a million descriptors in each of many processes.
#[derive(Debug)]
pub struct Budget {
    descriptors: usize,
    until: Instant,
}

impl Budget {
    /// So many descriptors, of any kind, and so much time from now on.
    pub fn new(descriptors: usize, time: Duration) -> Self {
        Budget { descriptors, until: Instant::now() + time }
    }

    /// One more descriptor; `false` if it is one too many.
    fn spend(&mut self) -> bool {
        let left = self.descriptors > 0 && Instant::now() < self.until;
        self.descriptors = self.descriptors.saturating_sub(1);
        left
    }
}

/// A process whose folder is open.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    folder: OwnedFd,
}

impl Process {
    /// Opens the folder of `pid`.
    pub fn open(proc: &Path, pid: u32) -> Result<Self, Errno> {
        let path = proc.join(pid.to_string());
        let folder = open(&path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_PATH, Mode::empty())?;
        Ok(Process { pid, folder })
    }

    /// The network namespace of its leader, by the number of its file.
    pub fn network_namespace(&self) -> Result<Option<u64>, Errno> {
        let link = readlinkat(self.folder.as_fd(), "ns/net")?;
        Ok(match target(link.as_bytes()) {
            Some(Target::NetworkNamespace(number)) => Some(number),
            _ => None,
        })
    }

    /// Hands the number of each descriptor that leads to a socket or a network namespace to `each`; `false` if the budget did
    /// not last for all.
    pub fn descriptors(
        &self,
        budget: &mut Budget,
        each: &mut dyn FnMut(&Path, Target),
    ) -> Result<bool, Errno> {
        let mut found = false;
        let all = self.descriptors_below("fd", budget, &mut |path, target| {
            found = true;
            each(path, target);
        })?;
        if found || !all || self.leader_lives() {
            return Ok(all);
        }
        // A leader that has ended shows none; its threads hold them still.
        for thread in self.names("task")? {
            let folder = Path::new("task").join(thread).join("fd");
            let all = self.descriptors_below(&folder, budget, &mut |path, target| {
                found = true;
                each(path, target);
            })?;
            if found || !all {
                return Ok(all);
            }
        }
        Ok(true)
    }

    fn descriptors_below<P: AsRef<Path>>(
        &self,
        folder: P,
        budget: &mut Budget,
        each: &mut dyn FnMut(&Path, Target),
    ) -> Result<bool, Errno> {
        let mut open = self.folder_of(folder.as_ref())?;
        let descriptor = open.as_fd().try_clone_to_owned().map_err(errno)?;
        for entry in open.iter() {
            let entry = entry?;
            if !budget.spend() {
                return Ok(false);
            }
            let Ok(name) = entry.file_name().to_str() else { continue };
            match readlinkat(descriptor.as_fd(), name) {
                Ok(link) => {
                    if let Some(target) = target(link.as_bytes()) {
                        each(&folder.as_ref().join(name), target);
                    }
                }
                // The folder of the own user's process may be listed although nothing in it may be read.
                Err(error @ (Errno::EACCES | Errno::EPERM)) => return Err(error),
                // It was closed meanwhile; `.` and `..` are no links.
                Err(_) => {}
            }
        }
        Ok(true)
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, Errno> {
        let mut open = self.folder_of(Path::new(folder))?;
        let names =
            open.iter().flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        Ok(names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect())
    }

    fn folder_of(&self, folder: &Path) -> Result<Dir, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Dir::openat(self.folder.as_fd(), folder, flags, Mode::empty())
    }

    fn leader_lives(&self) -> bool {
        self.contents("stat").ok().and_then(|text| Stat::parse(&text)).is_none_or(|stat| !stat.zombie)
    }

    /// Who it is; its start is as exact as `/proc` has it.
    pub fn task(&self, cgroups: &mut Cgroups) -> Result<Task, Errno> {
        let stat = Stat::parse(&self.contents("stat")?).ok_or(Errno::EINVAL)?;
        let uid = real_uid(&self.contents("status")?).ok_or(Errno::EINVAL)?;
        let cgroup = self.contents("cgroup").map_or(0, |text| cgroups.number(&text));
        Ok(Task {
            process: ProcessKey { pid: self.pid, start_time: stat.start_ticks * NANOSECONDS_PER_TICK },
            thread: self.pid,
            uid,
            cgroup,
            comm: stat.comm,
            kernel_thread: stat.kernel_thread,
        })
    }

    fn contents(&self, name: &str) -> Result<Vec<u8>, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.folder.as_fd(), name, flags, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(errno)?;
        Ok(bytes)
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// Numbers of cgroup folders by their path, each asked once.
#[derive(Debug)]
pub struct Cgroups {
    root: Option<PathBuf>,
    numbers: HashMap<Vec<u8>, u64>,
}

impl Cgroups {
    /// Of the v2 hierarchy that is mounted at `root`.
    pub fn new(root: Option<PathBuf>) -> Self {
        Cgroups { root, numbers: HashMap::new() }
    }

    /// Of a `/proc/PID/cgroup`; 0 if it does not tell.
    fn number(&mut self, text: &[u8]) -> u64 {
        let Some(root) = &self.root else { return 0 };
        let Some(path) = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/")) else {
            return 0;
        };
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        // Outside of the own cgroup namespace the path begins with `..`, and leads nowhere.
        let folder = root.join(std::ffi::OsStr::from_bytes(path));
        let number = std::fs::metadata(folder).map_or(0, |metadata| metadata.ino());
        self.numbers.insert(path.to_owned(), number);
        number
    }
}

/// `socket:[4711]` or `net:[4026531840]`.
pub fn target(link: &[u8]) -> Option<Target> {
    let (kind, number) = std::str::from_utf8(link).ok()?.split_once(":[")?;
    let number = number.strip_suffix(']')?;
    match kind {
        "socket" => Some(Target::Socket(number.parse().ok()?)),
        "net" => Some(Target::NetworkNamespace(number.parse().ok()?)),
        _ => None,
    }
}

/// Fields of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: [u8; 16],
    kernel_thread: bool,
    zombie: bool,
    start_ticks: u64,
}

impl Stat {
    fn parse(text: &[u8]) -> Option<Stat> {
        // A name may have parentheses, spaces and any other byte: it ends with the last one.
        let start = text.iter().position(|byte| *byte == b'(')? + 1;
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let name = text.get(start..end)?;
        let mut comm = [0; 16];
        let length = name.len().min(comm.len() - 1);
        comm[..length].copy_from_slice(&name[..length]);
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3);
        Some(Stat {
            comm,
            kernel_thread: field(9)?.parse::<u64>().ok()? & KERNEL_THREAD != 0,
            zombie: field(3)? == "Z",
            start_ticks: field(22)?.parse().ok().filter(|ticks| *ticks < u64::MAX / NANOSECONDS_PER_TICK)?,
        })
    }
}

/// The first number of `Uid:` in `/proc/PID/status` (proc_pid_status(5)).
fn real_uid(text: &[u8]) -> Option<u32> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_more_descriptors_than_the_budget_is_not_looked_at_whole() {
        let _held = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let process = Process::open(Path::new("/proc"), std::process::id()).unwrap();
        let look = |budget: &mut Budget| process.descriptors(budget, &mut |_, _| {});
        let minute = Duration::from_secs(60);
        assert_eq!(look(&mut Budget::new(100_000, minute)), Ok(true));
        // `.` and `..` are counted, too.
        assert_eq!(look(&mut Budget::new(3, minute)), Ok(false));
        assert_eq!(look(&mut Budget::new(100_000, Duration::ZERO)), Ok(false));
    }

    #[test]
    fn sockets_of_a_process_whose_leader_has_ended_are_found() {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};

        const LEADERLESS: &str = "
import ctypes, socket, sys, threading
held = socket.socket()
def serve():
    print(held.fileno(), flush=True)
    sys.stdin.read()
threading.Thread(target=serve).start()
ctypes.CDLL(None).syscall(int(sys.argv[1]), 0)
";
        let mut command = Command::new("python3");
        command.args(["-c", LEADERLESS, &nix::libc::SYS_exit.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = Process::open(Path::new("/proc"), child.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while process.leader_lives() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let ended = !process.leader_lives();
        let mut paths = Vec::new();
        let listed = process.descriptors(&mut Budget::new(1000, Duration::from_secs(60)), &mut |path, _| {
            paths.push(path.to_owned());
        });
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(ended, "the leader lives");
        assert_eq!(listed, Ok(true));
        assert!(
            paths.iter().any(|path| path.starts_with("task") && path.ends_with(line.trim())),
            "{paths:?}"
        );
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let fields = (4..=52).map(|number| if number == 22 { "4242".to_owned() } else { "0".to_owned() });
        let rest = fields.collect::<Vec<_>>().join(" ");
        let stat = Stat::parse(format!("7 (a) R 1 (b\n) Z {rest}\n").as_bytes()).unwrap();
        assert_eq!((stat.start_ticks, stat.zombie, stat.kernel_thread), (4242, true, false));
        assert_eq!(&stat.comm[..9], b"a) R 1 (b");
        let text = format!("7 (x) S {rest}\n");
        for end in 0..text.len() {
            Stat::parse(&text.as_bytes()[..end]);
        }
        assert_eq!(Stat::parse(b")("), None);
    }

    #[test]
    fn links_to_sockets_and_namespaces_are_told_from_files_that_are_called_so() {
        assert_eq!(target(b"socket:[4711]"), Some(Target::Socket(4711)));
        assert_eq!(target(b"net:[4026531840]"), Some(Target::NetworkNamespace(4_026_531_840)));
        for other in [&b"/tmp/socket:[4711]"[..], b"socket:[]", b"socket:[-1]", b"pipe:[1]", b"\xff:[1]", b""]
        {
            assert_eq!(target(other), None);
        }
    }

    #[test]
    fn the_real_user_is_the_first_of_four() {
        assert_eq!(real_uid(b"Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(1000));
        assert_eq!(real_uid(b"Name:\tUid:\t5\n"), None);
    }
}
