//! Where the iterator does not run: the open files of every process (`/proc/PID/fd`), and what sock_diag says of the
//! sockets among them, in each network namespace that a process or a mount leads to.
//!
//! Files come first: a socket that is opened meanwhile has no holder yet and was seen by the hooks; one that is closed
//! is not in the dump. The number of a socket's file joins the two. It has 32 bits and may come again on a host that
//! opened billions of sockets: where two of the TCP sockets have the same, neither gets a holder. A dump may list one socket
//! twice when the table changes meanwhile: cookies tell it from two.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};
use rustix::fs::{Mode, OFlags};

use super::{
    ExistingSockets, Held, Missed, arrange,
    process::{self, Budget, Cgroups, Process, Target},
    sock_diag::{Diagnosis, Listed},
};
use crate::{
    event::{NetworkNamespace, Task},
    kernel::{KernelError, cgroup},
};

/// Descriptors of sockets that are remembered, of any family: ten times what a busy host holds; 16 MiB.
const MAX_DESCRIPTORS: usize = 2_000_000;
/// Descriptors of any kind that a pass looks at: twice as many as those of sockets; each takes about a microsecond.
const MAX_VISITED: usize = 4_000_000;
/// Longest time that a pass looks at descriptors: what it finds is believed for no longer.
const MAX_TIME: Duration = Duration::from_secs(5);
/// TCP sockets that are taken: as above; an entry has about a hundred bytes.
const MAX_SOCKETS: usize = 1_000_000;
/// Network namespaces that are looked into: more than the pods of the largest nodes.
const MAX_NAMESPACES: usize = 4096;
/// Inode number of the initial PID namespace (PROC_PID_INIT_INO, include/uapi/linux/nsfs.h and before).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// Mounts that this process sees; those of network namespaces are `nsfs`.
const MOUNT_INFO: &str = "self/mountinfo";

/// Lists the open sockets.
///
/// # Errors
/// When there is no `/proc`, or not even the own network namespace can be listed.
pub fn read(proc: &Path) -> Result<ExistingSockets, KernelError> {
    let files = OpenFiles::read(proc)?;
    let dumps = std::thread::scope(|scope| {
        // A thread of its own: it changes its network namespace and never comes back.
        let thread = std::thread::Builder::new().name("namespaces".to_owned());
        let work = || Dumps::read(proc, &files.namespaces);
        let thread = thread.spawn_scoped(scope, work).map_err(|error| {
            KernelError::existing(format!("no thread to list the sockets of namespaces: {error}"))
        })?;
        thread.join().unwrap_or_else(|_| {
            Err(KernelError::existing("the thread that lists the sockets of namespaces has panicked"))
        })
    })?;
    let mut missed = files.missed;
    missed.namespaces += dumps.missed.namespaces;
    missed.sockets += dumps.missed.sockets;
    let mut found = arrange(join(&files, &dumps, missed).into_iter());
    found.missed = missed;
    found.covered = Some(dumps.covered());
    // What is between two holders, in a message that nobody has read yet, is open all the same.
    found.open = dumps.sockets.iter().map(|(listed, _)| listed.socket).collect();
    Ok(found)
}

/// One entry per socket and holder, and one without a holder for each that may have one nobody could see.
fn join(files: &OpenFiles, dumps: &Dumps, missed: Missed) -> Vec<Held> {
    let held = |index: usize, owner: Option<Task>| {
        let (listed, netns) = dumps.sockets[index];
        let Listed { socket, pair, state, multipath, .. } = listed;
        Held { socket, netns, pair, state, multipath, owner }
    };
    let mut joined = Vec::with_capacity(dumps.sockets.len());
    let mut owned = vec![false; dumps.sockets.len()];
    for (inode, holder) in &files.sockets {
        let (Some(Some(index)), Some(task)) =
            (dumps.by_inode.get(inode), files.holders.get(*holder as usize))
        else {
            continue;
        };
        owned[*index] = true;
        joined.push(held(*index, Some(*task)));
    }
    // A socket without a holder is one of the kernel where every holder was seen.
    let hidden = missed.hides_holders();
    for (index, (listed, _)) in dumps.sockets.iter().enumerate() {
        let ambiguous = dumps.by_inode.get(&listed.inode) == Some(&None);
        if !owned[index] && (hidden || ambiguous) && listed.inode != 0 && !listed.multipath {
            joined.push(held(index, None));
        }
    }
    joined
}

/// What processes hold.
#[derive(Debug, Default)]
struct OpenFiles {
    holders: Vec<Task>,
    /// The number of a socket's file, and which of `holders` holds it.
    sockets: Vec<(u32, u32)>,
    /// Network namespaces by the number of their file, and a way to each.
    namespaces: HashMap<u64, PathBuf>,
    missed: Missed,
}

impl OpenFiles {
    fn read(proc: &Path) -> Result<Self, KernelError> {
        let failed = |error: io::Error| KernelError::existing(format!("{}: {error}", proc.display()));
        let mut files = OpenFiles::default();
        let foreign = std::fs::metadata(proc.join("self/ns/pid"))
            .is_ok_and(|metadata| metadata.ino() != INITIAL_PID_NAMESPACE);
        files.missed.foreign_pids = foreign;
        // Every PID namespace has a process 1 for as long as it lives: where it is not shown, others are not either.
        files.missed.hidden_processes = !proc.join("1").exists();
        files.mounted_namespaces(proc);
        let mut cgroups = Cgroups::new(cgroup::find().map(|hierarchy| hierarchy.path));
        let mut budget = Budget::new(MAX_VISITED, MAX_TIME);
        for entry in std::fs::read_dir(proc).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            match files.process(proc, pid, &mut cgroups, &mut budget) {
                // It has ended meanwhile.
                Ok(()) | Err(Errno::ENOENT | Errno::ESRCH) => {}
                Err(_) => files.missed.processes += 1,
            }
        }
        Ok(files)
    }

    fn process(
        &mut self,
        proc: &Path,
        pid: u32,
        cgroups: &mut Cgroups,
        budget: &mut Budget,
    ) -> Result<(), Errno> {
        let process = Process::open(proc, pid)?;
        if let Ok(Some(number)) = process.network_namespace() {
            self.namespace(number, || proc.join(pid.to_string()).join("ns/net"));
        }
        let holder = self.holders.len() as u32;
        let before = self.sockets.len();
        let listed = process.descriptors(budget, &mut |path, target| match target {
            Target::Socket(_) if self.sockets.len() >= MAX_DESCRIPTORS => self.missed.sockets += 1,
            Target::Socket(inode) => self.sockets.push((inode, holder)),
            Target::NetworkNamespace(number) => {
                self.namespace(number, || proc.join(pid.to_string()).join(path));
            }
        });
        if listed == Ok(false) {
            self.missed.crowded += 1;
        }
        if listed.is_ok() && self.sockets.len() == before {
            return Ok(());
        }
        let task = listed.and_then(|_| match self.missed.foreign_pids {
            // They would name wrong processes.
            true => Err(Errno::ESRCH),
            false => process.task(cgroups),
        });
        match task {
            Ok(task) => self.holders.push(task),
            Err(_) => self.sockets.truncate(before),
        }
        task.map(drop)
    }

    fn namespace(&mut self, number: u64, path: impl FnOnce() -> PathBuf) {
        if self.namespaces.contains_key(&number) {
            return;
        }
        if self.namespaces.len() >= MAX_NAMESPACES {
            self.missed.namespaces += 1;
            return;
        }
        self.namespaces.insert(number, path());
    }

    /// `ip netns add` and container runtimes keep namespaces by a mount (proc_pid_mountinfo(5): the root of one is
    /// `net:[NUMBER]`).
    fn mounted_namespaces(&mut self, proc: &Path) {
        let mounts = std::fs::read_to_string(proc.join(MOUNT_INFO)).unwrap_or_default();
        for line in mounts.lines().filter(|line| line.contains(" - nsfs ")) {
            let mut fields = line.split(' ').skip(3);
            let (Some(root), Some(path)) = (fields.next(), fields.next()) else { continue };
            let number = root.strip_prefix("net:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            if let Some(number) = number {
                self.namespace(number, || PathBuf::from(cgroup::unescape(path)));
            }
        }
    }
}

/// The sockets of all network namespaces.
#[derive(Debug, Default)]
struct Dumps {
    sockets: Vec<(Listed, NetworkNamespace)>,
    /// Index of the socket whose file has a number; `None` where two have the same.
    by_inode: HashMap<u32, Option<usize>>,
    /// Namespaces whose dump is whole.
    listed: HashSet<NetworkNamespace>,
    missed: Missed,
}

impl Dumps {
    /// Changes the network namespace of the calling thread.
    fn read(proc: &Path, namespaces: &HashMap<u64, PathBuf>) -> Result<Self, KernelError> {
        let mut dumps = Dumps::default();
        let own = std::fs::metadata(proc.join("thread-self/ns/net")).map_or(0, |metadata| metadata.ino());
        // The own one needs no way into it, and says whether this works at all.
        dumps.here().map_err(|error| KernelError::existing(format!("sock_diag: {error}")))?;
        for (number, path) in namespaces.iter().filter(|(number, _)| **number != own) {
            match enter(proc, *number, path).and_then(|()| dumps.here()) {
                Ok(()) => {}
                // Its last process has ended meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => dumps.missed.namespaces += 1,
            }
        }
        Ok(dumps)
    }

    fn here(&mut self) -> io::Result<()> {
        let mut diagnosis = Diagnosis::open()?;
        let netns = diagnosis.network_namespace();
        let mut multipath = HashSet::new();
        diagnosis.sockets(&mut |listed| {
            if listed.multipath {
                multipath.insert(listed.inode);
            } else if listed.inode != 0 && multipath.contains(&listed.inode) {
                // A subflow has the file of the whole.
                return;
            }
            self.take(listed, netns);
        })?;
        self.listed.insert(netns);
        Ok(())
    }

    /// Where the kernel does not tell namespaces apart (before 5.14), all of those that were met must have been listed.
    fn covered(&self) -> HashSet<NetworkNamespace> {
        let Missed { namespaces, sockets, .. } = self.missed;
        let known = |netns: &NetworkNamespace| sockets == 0 && (netns.0 != 0 || namespaces == 0);
        self.listed.iter().copied().filter(known).collect()
    }

    fn take(&mut self, listed: Listed, netns: NetworkNamespace) {
        if self.sockets.len() >= MAX_SOCKETS {
            self.missed.sockets += 1;
            return;
        }
        if listed.inode != 0 {
            match self.by_inode.get(&listed.inode).copied() {
                Some(Some(index)) if self.sockets[index].0.socket == listed.socket => return,
                Some(_) => self.by_inode.insert(listed.inode, None),
                None => self.by_inode.insert(listed.inode, Some(self.sockets.len())),
            };
        }
        self.sockets.push((listed, netns));
    }
}

/// What a path leads to may have changed since it was met, to anything a user can open: it is looked at before it is
/// opened, which waits for ever where it is a pipe.
fn enter(proc: &Path, number: u64, path: &Path) -> io::Result<()> {
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let own = proc.join("self/fd").join(place.as_raw_fd().to_string());
    // The kernel's own name of it; no file system is asked. Another namespace has a way of its own.
    if process::target(std::fs::read_link(&own)?.as_os_str().as_bytes())
        != Some(Target::NetworkNamespace(number))
    {
        return Err(io::ErrorKind::NotFound.into());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(&own, flags, Mode::empty())?;
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::event::{AddressPair, SocketCookie};

    #[test]
    fn a_socket_that_is_listed_twice_is_one_and_two_with_one_number_stay_without_a_holder() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 443));
        let pair = AddressPair { local: address, remote: address };
        let listed =
            |cookie, inode| Listed { socket: SocketCookie(cookie), pair, state: 1, inode, multipath: false };
        let mut dumps = Dumps::default();
        for (cookie, inode) in [(1, 71), (1, 71), (2, 72), (3, 72), (4, 73)] {
            dumps.take(listed(cookie, inode), NetworkNamespace(1));
        }
        let process = crate::event::ProcessKey { pid: 7, start_time: 1 };
        let task = Task { process, thread: 7, uid: 0, cgroup: 0, comm: [0; 16], kernel_thread: false };
        let files =
            OpenFiles { holders: vec![task], sockets: vec![(71, 0), (72, 0)], ..OpenFiles::default() };
        let joined = join(&files, &dumps, Missed::default());
        let held: Vec<_> = joined.iter().map(|one| (one.socket.0, one.owner.is_some())).collect();
        assert_eq!(held, [(1, true), (2, false), (3, false)]);
    }

    #[test]
    fn a_process_that_the_budget_does_not_last_for_is_counted() {
        let proc = Path::new("/proc");
        let (mut files, mut cgroups) = (OpenFiles::default(), Cgroups::new(None));
        for (descriptors, crowded) in [(MAX_VISITED, 0), (1, 1)] {
            let mut budget = Budget::new(descriptors, Duration::from_secs(60));
            files.process(proc, std::process::id(), &mut cgroups, &mut budget).unwrap();
            assert_eq!(files.missed.crowded, crowded);
        }
        assert!(files.missed.hides_holders());
    }

    #[test]
    fn a_namespace_that_was_not_listed_whole_is_not_covered() {
        let [untold, first, second] = [0, 1, 2].map(NetworkNamespace);
        let mut dumps = Dumps { listed: HashSet::from([untold, first]), ..Dumps::default() };
        let covered = |dumps: &Dumps| [untold, first, second].map(|netns| dumps.covered().contains(&netns));
        assert_eq!(covered(&dumps), [true, true, false]);
        dumps.missed.namespaces = 1;
        assert_eq!(covered(&dumps), [false, true, false]);
        dumps.missed.sockets = 1;
        assert_eq!(covered(&dumps), [false; 3]);
    }

    #[test]
    fn a_pipe_in_place_of_a_namespace_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("countersign-namespace-{}", std::process::id()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (told, answer) = channel();
        let pipe = path.clone();
        std::thread::spawn(move || told.send(enter(Path::new("/proc"), 4711, &pipe).map_err(|e| e.kind())));
        let answer = answer.recv_timeout(Duration::from_secs(10));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(answer, Ok(Err(io::ErrorKind::NotFound)));
    }
}
