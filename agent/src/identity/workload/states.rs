//! What the runtimes of this host wrote down about a container: files of root below `/run` and `/var`.
//!
//! An OCI bundle and Docker's file hold the container's environment, too. Only the fields of `formats.rs` are deserialised,
//! straight from the file: what else is in it is skipped as it is read and never kept. A container's id comes from the name of
//! a cgroup; it is a single name of harmless letters, looked up below a fixed folder without following links out of it.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::formats::{Bundle, CrunStatus, DockerConfig, Names, Pod, RuncState, StoredContainer, is_dns_name};
use super::placement::{Claim, Form, Runtime, is_digest};

/// Bound on a file that is read. Bundles of large pods have about 100 KiB; Podman's list has 1 KiB for each container.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The same of a file that a user can write as he likes; states of containers have 10 KiB.
const MAX_USER_FILE_BYTES: u64 = 64 * 1024;
/// Bound on entries of a folder of logs: a node has some hundred pods, and some containers in each.
const MAX_LOG_ENTRIES: usize = 8192;
/// Folders of containerd's state: its own, k3s, k0s, MicroK8s.
const CONTAINERD: [&str; 4] = [
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
    "run/k0s/containerd/io.containerd.runtime.v2.task",
    "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
];
/// containerd's namespace of Kubernetes.
const KUBERNETES: &str = "k8s.io";
/// Folders of Podman's and CRI-O's state: what goes with the boot, and what stays.
const STORAGE: [&str; 2] = ["run/containers/storage", "var/lib/containers/storage"];
/// Storage drivers, by which folders are called.
const STORAGE_DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];

/// What a look at a runtime's state gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// It knows the container.
    Yes(T),
    /// It does not.
    No,
    /// There is a file that cannot be used: too large, malformed, not a file.
    Unreadable,
}

impl<T> Found<T> {
    fn or_else(self, next: impl FnOnce() -> Found<T>) -> Found<T> {
        match self {
            Found::No => next(),
            found => found,
        }
    }
}

/// The runtimes' files.
#[derive(Debug)]
pub(super) struct States {
    root: PathBuf,
    reads: u64,
}

impl States {
    /// Below `root`, which is `/` of the host.
    pub(super) fn new(root: PathBuf) -> States {
        States { root, reads: 0 }
    }

    /// Files and folders opened so far.
    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    /// The names of a container whose cgroup only an administrator can have made.
    pub(super) fn names(&mut self, claim: &Claim<'_>) -> Found<Names> {
        match claim.form {
            Form::Certain(Runtime::Docker) => self.docker(claim.id),
            Form::Certain(Runtime::Podman) => self.podman(claim.id),
            Form::Certain(Runtime::Crio) => self.crio(claim.id),
            Form::Certain(_) => self.containerd(claim),
            Form::Digest => self
                .containerd(claim)
                .or_else(|| self.docker(claim.id))
                .or_else(|| self.crio(claim.id))
                .or_else(|| self.podman(claim.id))
                .or_else(|| self.plain(claim)),
            Form::Name => self.plain(claim).or_else(|| self.containerd(claim)),
        }
    }

    /// Whether a runtime of user `uid` says that it has the container in this cgroup. Names are not asked for: they are in the
    /// user's home, and the user's word.
    pub(super) fn is_rootless(&mut self, claim: &Claim<'_>, uid: u32) -> Option<Runtime> {
        // Any folder has a name, and each would cost a look.
        let name = claim.path.rsplit('/').next().unwrap_or_default();
        if claim.form == Form::Name && !name.starts_with("runc-") && !name.starts_with("crun-") {
            return None;
        }
        let folder = format!("run/user/{uid}");
        let id = claim.id;
        if let Found::Yes(status) = self.user_json::<CrunStatus>(&folder, &format!("crun/{id}/status"))
            && status.is_in(claim.path)
        {
            return Some(Runtime::Crun);
        }
        ["runc", "docker/runtime-runc/moby"].into_iter().find_map(|root| {
            let state = self.user_json::<RuncState>(&folder, &format!("{root}/{id}/state.json"));
            matches!(state, Found::Yes(state) if state.is_in(claim.path)).then_some(Runtime::Runc)
        })
    }

    /// A pod by its uid, by the folder in which the kubelet keeps its logs: `NAMESPACE_NAME_UID`; and of a container in it the
    /// name, by the link `NAME_NAMESPACE_CONTAINER-ID.log`.
    pub(super) fn logged(&mut self, pod_uid: &str, id: &str) -> Option<Pod> {
        let (namespace, name) = self.entry("var/log/pods", |entry| {
            let (namespace, rest) = entry.split_once('_')?;
            let (name, uid) = rest.split_once('_')?;
            (uid == pod_uid && is_dns_name(namespace) && is_dns_name(name))
                .then(|| (namespace.to_owned(), name.to_owned()))
        })?;
        let prefix = format!("{name}_{namespace}_");
        let suffix = format!("-{id}.log");
        let container = self.entry("var/log/containers", |entry| {
            let container = entry.strip_prefix(&prefix)?.strip_suffix(&suffix)?;
            is_dns_name(container).then(|| container.to_owned())
        });
        Some(Pod { namespace, name, uid: Some(pod_uid.to_owned()), container, service_account: None })
    }

    fn docker(&mut self, id: &str) -> Found<Names> {
        let config = self.json::<DockerConfig>("var/lib/docker/containers", &format!("{id}/config.v2.json"));
        map(config, DockerConfig::names)
    }

    fn containerd(&mut self, claim: &Claim<'_>) -> Found<Names> {
        let id = claim.id;
        // ctr and nerdctl call the folder above after their namespace. A digest may be that of any namespace.
        let given = (claim.form != Form::Certain(Runtime::Containerd) && is_namespace(claim.parent))
            .then_some(claim.parent);
        let known: &[&str] = if is_digest(id) { &[KUBERNETES, "default"] } else { &[] };
        for folder in CONTAINERD {
            for namespace in known.iter().copied().chain(given) {
                let found = self.json::<Bundle>(folder, &format!("{namespace}/{id}/config.json"));
                let found = match found {
                    Found::Yes(bundle) if claim.form == Form::Name && !bundle.is_in(claim.path) => Found::No,
                    found => found,
                };
                if found != Found::No {
                    return map(found, |bundle| bundle.containerd_names(namespace == KUBERNETES, id));
                }
            }
        }
        Found::No
    }

    fn crio(&mut self, id: &str) -> Found<Names> {
        for folder in STORAGE {
            for driver in STORAGE_DRIVERS {
                let below = format!("{driver}-containers/{id}/userdata/config.json");
                match self.json::<Bundle>(folder, &below) {
                    Found::No => {}
                    // Podman's bundle is in the same place.
                    Found::Yes(bundle) if !bundle.is_crio() => return Found::No,
                    found => return map(found, Bundle::crio_names),
                }
            }
        }
        Found::No
    }

    fn podman(&mut self, id: &str) -> Found<Names> {
        for driver in STORAGE_DRIVERS {
            for list in ["containers.json", "volatile-containers.json"] {
                let below = format!("{driver}-containers/{list}");
                match self.json::<Vec<StoredContainer>>(STORAGE[1], &below) {
                    Found::No => {}
                    Found::Unreadable => return Found::Unreadable,
                    Found::Yes(list) => {
                        if let Some(stored) = list.into_iter().find(|stored| stored.id == id) {
                            return Found::Yes(stored.names());
                        }
                    }
                }
            }
        }
        Found::No
    }

    /// A container of runc or crun alone: its name is its id, and it counts only in the cgroup that the runtime gave it.
    fn plain(&mut self, claim: &Claim<'_>) -> Found<Names> {
        let id = claim.id;
        let named = |runtime| {
            let name = (!is_digest(id)).then(|| id.to_owned());
            Found::Yes(Names { runtime: Some(runtime), name, ..Names::default() })
        };
        match self.json::<CrunStatus>("run/crun", &format!("{id}/status")) {
            Found::Yes(status) if status.is_in(claim.path) => return named(Runtime::Crun),
            _ => {}
        }
        match self.json::<RuncState>("run/runc", &format!("{id}/state.json")) {
            Found::Yes(state) if state.is_in(claim.path) => named(Runtime::Runc),
            _ => Found::No,
        }
    }

    /// The first entry of a folder that `choose` takes.
    fn entry<T>(&mut self, folder: &str, choose: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.reads += 1;
        let entries = std::fs::read_dir(self.root.join(folder)).ok()?;
        entries.flatten().take(MAX_LOG_ENTRIES).find_map(|entry| choose(entry.file_name().to_str()?))
    }

    fn json<T: DeserializeOwned>(&mut self, folder: &str, below: &str) -> Found<T> {
        self.json_within(folder, below, MAX_FILE_BYTES)
    }

    fn user_json<T: DeserializeOwned>(&mut self, folder: &str, below: &str) -> Found<T> {
        self.json_within(folder, below, MAX_USER_FILE_BYTES)
    }

    fn json_within<T: DeserializeOwned>(&mut self, folder: &str, below: &str, bytes: u64) -> Found<T> {
        self.reads += 1;
        match open(&self.root.join(folder), below) {
            Ok(Some(file)) => match serde_json::from_reader(BufReader::new(file.take(bytes))) {
                Ok(value) => Found::Yes(value),
                Err(_) => Found::Unreadable,
            },
            Ok(None) => Found::Unreadable,
            Err(Errno::NOENT | Errno::NOTDIR) => Found::No,
            Err(_) => Found::Unreadable,
        }
    }
}

/// Opens a file below a folder without leaving that: no links, no other mounts, no waiting for the writer of a pipe. `None` if
/// it is no file.
fn open(folder: &Path, below: &str) -> Result<Option<File>, Errno> {
    let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, place, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = rustix::fs::openat2(&folder, below, flags, Mode::empty(), stay)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    Ok((kind == FileType::RegularFile).then(|| File::from(file)))
}

fn map<T, U>(found: Found<T>, make: impl FnOnce(T) -> U) -> Found<U> {
    match found {
        Found::Yes(value) => Found::Yes(make(value)),
        Found::No => Found::No,
        Found::Unreadable => Found::Unreadable,
    }
}

/// A namespace of containerd.
fn is_namespace(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=76).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}
