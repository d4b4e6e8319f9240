//! What the runtimes of this host wrote down about a container: files of root below `/run` and `/var`.
//!
//! An OCI bundle and Docker's file hold the container's environment, too. Only the fields below are deserialised, straight
//! from the file: what else is in it is skipped as it is read and never kept. A container's id comes from the name of a
//! cgroup; it is a single name of harmless letters, looked up below a fixed folder without following links out of it.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::placement::{Claim, Form, Runtime, is_digest};

/// Bound on a file that is read. Bundles of large pods have about 100 KiB; Podman's list has 1 KiB for each container.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Bound on a name: Kubernetes' have up to 253 bytes, image names with a digest about 400. Longer ones are not taken.
const MAX_NAME_BYTES: usize = 512;
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

/// What a container is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    pub(super) runtime: Option<Runtime>,
    /// Of a container outside of Kubernetes.
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
    pub(super) pod: Option<Pod>,
}

/// What Kubernetes says of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
    /// `None` for the one that holds the pod's namespaces.
    pub(super) container: Option<String>,
    pub(super) service_account: Option<String>,
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
        let folder = format!("run/user/{uid}");
        let id = claim.id;
        if let Found::Yes(status) = self.json::<CrunStatus>(&folder, &format!("crun/{id}/status"))
            && status.is_in(claim.path)
        {
            return Some(Runtime::Crun);
        }
        ["runc", "docker/runtime-runc/moby"].into_iter().find_map(|root| {
            let state = self.json::<RuncState>(&folder, &format!("{root}/{id}/state.json"));
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
        map(config, |config| {
            let name = config.name.and_then(taken);
            let config = config.config.unwrap_or_default();
            let pod = config.labels.and_then(DockerLabels::pod);
            Names {
                runtime: Some(Runtime::Docker),
                name: name.map(|name| name.trim_start_matches('/').to_owned()),
                image: config.image.and_then(taken),
                pod,
            }
        })
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
                let of_kubernetes = namespace == KUBERNETES;
                let found = match found {
                    Found::Yes(bundle) if claim.form == Form::Name && !bundle.is_in(claim.path) => Found::No,
                    found => found,
                };
                if found != Found::No {
                    return map(found, |bundle| {
                        let annotations = bundle.annotations.unwrap_or_default();
                        let name = annotations.nerdctl_name.clone().and_then(taken);
                        Names {
                            runtime: Some(Runtime::Containerd),
                            image: annotations.cri_image.clone().and_then(taken),
                            pod: if of_kubernetes { annotations.cri_pod() } else { None },
                            name: name.or_else(|| (!is_digest(id)).then(|| id.to_owned())),
                        }
                    });
                }
            }
        }
        Found::No
    }

    fn crio(&mut self, id: &str) -> Found<Names> {
        for folder in STORAGE {
            for driver in STORAGE_DRIVERS {
                let below = format!("{driver}-containers/{id}/userdata/config.json");
                let found = self.json::<Bundle>(folder, &below);
                // Podman's bundle is in the same place and says nothing of Kubernetes.
                let found = map(found, |bundle| bundle.annotations.unwrap_or_default());
                match found {
                    Found::No => {}
                    Found::Yes(annotations) if annotations.crio_type.is_none() => return Found::No,
                    found => {
                        return map(found, |annotations| Names {
                            runtime: Some(Runtime::Crio),
                            name: None,
                            image: annotations.crio_image.clone().and_then(taken),
                            pod: annotations.crio_pod(),
                        });
                    }
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
        self.reads += 1;
        match open(&self.root.join(folder), below) {
            Ok(Some(file)) => match serde_json::from_reader(BufReader::new(file.take(MAX_FILE_BYTES))) {
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

fn taken(name: String) -> Option<String> {
    (!name.is_empty() && name.len() <= MAX_NAME_BYTES).then_some(name)
}

/// A name as Kubernetes allows it (RFC 1123): no `/` or `_`, which separate names.
fn is_dns_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed)
}

/// A namespace of containerd.
fn is_namespace(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=76).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

/// Whether a path that a runtime wrote down is a container's folder, or one below it.
fn leads_to(written: &str, claimed: &str) -> bool {
    written.strip_prefix(claimed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `config.json` of a bundle (OCI runtime specification).
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Bundle {
    annotations: Option<Annotations>,
    linux: Option<BundleLinux>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct BundleLinux {
    #[serde(rename = "cgroupsPath")]
    cgroups_path: Option<String>,
}

impl Bundle {
    fn is_in(&self, path: &str) -> bool {
        let written = self.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
        written.is_some_and(|written| leads_to(written, path))
    }
}

/// What containerd's CRI (`io.kubernetes.cri.`), CRI-O (`io.kubernetes.cri-o.`) and the kubelet (`io.kubernetes.pod.` and
/// `.container.`) write into bundles. CRI-O adds the annotations of the pod, which its author chose, and then the
/// kubelet's labels: of what names a pod only the latter are taken there.
#[derive(Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    cri_namespace: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    cri_name: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-uid")]
    cri_uid: Option<String>,
    #[serde(rename = "io.kubernetes.cri.container-name")]
    cri_container: Option<String>,
    #[serde(rename = "io.kubernetes.cri.image-name")]
    cri_image: Option<String>,
    /// containerd passes annotations of a pod on only if its administrator lists them (`pod_annotations`).
    #[serde(rename = "kubernetes.io/service-account.name")]
    service_account: Option<String>,
    #[serde(rename = "nerdctl/name")]
    nerdctl_name: Option<String>,
    #[serde(rename = "io.kubernetes.cri-o.ContainerType")]
    crio_type: Option<String>,
    #[serde(rename = "io.kubernetes.cri-o.ImageName")]
    crio_image: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    name: Option<String>,
    #[serde(rename = "io.kubernetes.pod.uid")]
    uid: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
}

impl Annotations {
    fn cri_pod(self) -> Option<Pod> {
        let service_account = self.service_account.filter(|name| is_dns_name(name));
        let pod = pod(self.cri_namespace, self.cri_name, self.cri_uid, self.cri_container)?;
        Some(Pod { service_account, ..pod })
    }

    fn crio_pod(self) -> Option<Pod> {
        let container = self.container.filter(|_| self.crio_type.as_deref() != Some("sandbox"));
        pod(self.namespace, self.name, self.uid, container)
    }
}

fn pod(
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    container: Option<String>,
) -> Option<Pod> {
    let named = |name: &String| is_dns_name(name);
    Some(Pod {
        namespace: namespace.filter(named)?,
        name: name.filter(named)?,
        uid: uid.filter(named),
        container: container.filter(named),
        service_account: None,
    })
}

/// `config.v2.json` of Docker.
#[derive(Debug, Deserialize)]
struct DockerConfig {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Config")]
    config: Option<DockerContainer>,
}

#[derive(Debug, Default, Deserialize)]
struct DockerContainer {
    #[serde(rename = "Image")]
    image: Option<String>,
    #[serde(rename = "Labels")]
    labels: Option<DockerLabels>,
}

/// What cri-dockerd writes of a pod.
#[derive(Debug, Deserialize)]
struct DockerLabels {
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    name: Option<String>,
    #[serde(rename = "io.kubernetes.pod.uid")]
    uid: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.docker.type")]
    kind: Option<String>,
}

impl DockerLabels {
    fn pod(self) -> Option<Pod> {
        let container = self.container.filter(|_| self.kind.as_deref() != Some("podsandbox"));
        pod(self.namespace, self.name, self.uid, container)
    }
}

/// An entry of Podman's `containers.json`.
#[derive(Debug, Deserialize)]
struct StoredContainer {
    id: String,
    names: Option<Vec<String>>,
    /// JSON in a string.
    metadata: Option<String>,
}

impl StoredContainer {
    fn names(self) -> Names {
        let metadata = self.metadata.and_then(|text| serde_json::from_str::<StoredMetadata>(&text).ok());
        Names {
            runtime: Some(Runtime::Podman),
            name: self.names.and_then(|names| names.into_iter().next()).and_then(taken),
            image: metadata.and_then(|metadata| metadata.image_name).and_then(taken),
            pod: None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct StoredMetadata {
    #[serde(rename = "image-name")]
    image_name: Option<String>,
}

/// `status` of crun.
#[derive(Debug, Deserialize)]
struct CrunStatus {
    #[serde(rename = "cgroup-path")]
    cgroup_path: Option<String>,
}

impl CrunStatus {
    fn is_in(&self, path: &str) -> bool {
        self.cgroup_path.as_deref().is_some_and(|written| leads_to(written, path))
    }
}

/// `state.json` of runc.
#[derive(Debug, Deserialize)]
struct RuncState {
    /// By controller; the keys are not needed. With the mount point before them.
    cgroup_paths: Option<std::collections::BTreeMap<String, String>>,
}

impl RuncState {
    fn is_in(&self, path: &str) -> bool {
        let paths = self.cgroup_paths.iter().flat_map(|paths| paths.values());
        // What is before the path is the mount of one hierarchy.
        let is_mount = |before: &str| {
            before.strip_prefix("/sys/fs/cgroup").is_some_and(|rest| rest.matches('/').count() <= 1)
        };
        paths.into_iter().any(|written| written.strip_suffix(path).is_some_and(is_mount))
    }
}
