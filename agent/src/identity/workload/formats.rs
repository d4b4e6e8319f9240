//! The files of container runtimes, as far as they are read: what else is in them, the environment above all, is skipped.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::placement::{Runtime, is_digest};

/// Bound on a name: Kubernetes' have up to 253 bytes, image names with a digest about 400. Longer ones are not taken.
const MAX_NAME_BYTES: usize = 512;

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

/// `config.json` of a bundle (OCI runtime specification).
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Bundle {
    annotations: Option<Annotations>,
    linux: Option<BundleLinux>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct BundleLinux {
    #[serde(rename = "cgroupsPath")]
    cgroups_path: Option<String>,
}

impl Bundle {
    /// The container is in this cgroup.
    pub(super) fn is_in(&self, path: &str) -> bool {
        let written = self.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
        written.is_some_and(|written| leads_to(written, path))
    }

    /// CRI-O made it.
    pub(super) fn is_crio(&self) -> bool {
        self.annotations.as_ref().is_some_and(|annotations| annotations.crio_type.is_some())
    }

    /// By what CRI-O writes.
    pub(super) fn crio_names(self) -> Names {
        let mut annotations = self.annotations.unwrap_or_default();
        let image = annotations.crio_image.take().and_then(taken);
        Names { runtime: Some(Runtime::Crio), name: None, image, pod: annotations.crio_pod() }
    }

    /// By what containerd, its CRI and nerdctl write.
    pub(super) fn containerd_names(self, of_kubernetes: bool, id: &str) -> Names {
        let mut annotations = self.annotations.unwrap_or_default();
        let name = annotations.nerdctl_name.take().and_then(taken);
        Names {
            runtime: Some(Runtime::Containerd),
            image: annotations.cri_image.take().and_then(taken),
            pod: if of_kubernetes { annotations.cri_pod() } else { None },
            name: name.or_else(|| (!is_digest(id)).then(|| id.to_owned())),
        }
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
pub(super) struct DockerConfig {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Config")]
    config: Option<DockerContainer>,
}

impl DockerConfig {
    pub(super) fn names(self) -> Names {
        let config = self.config.unwrap_or_default();
        let name = self.name.and_then(taken);
        Names {
            runtime: Some(Runtime::Docker),
            name: name.map(|name| name.trim_start_matches('/').to_owned()),
            image: config.image.and_then(taken),
            pod: config.labels.and_then(DockerLabels::pod),
        }
    }
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
pub(super) struct StoredContainer {
    pub(super) id: String,
    names: Option<Vec<String>>,
    /// JSON in a string.
    metadata: Option<String>,
}

impl StoredContainer {
    pub(super) fn names(self) -> Names {
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
pub(super) struct CrunStatus {
    #[serde(rename = "cgroup-path")]
    cgroup_path: Option<String>,
}

impl CrunStatus {
    pub(super) fn is_in(&self, path: &str) -> bool {
        self.cgroup_path.as_deref().is_some_and(|written| leads_to(written, path))
    }
}

/// `state.json` of runc.
#[derive(Debug, Deserialize)]
pub(super) struct RuncState {
    /// By controller; the keys are not needed. With the mount point before them.
    cgroup_paths: Option<BTreeMap<String, String>>,
}

impl RuncState {
    pub(super) fn is_in(&self, path: &str) -> bool {
        let paths = self.cgroup_paths.iter().flat_map(|paths| paths.values());
        // What is before the path is the mount of one hierarchy.
        let is_mount = |before: &str| {
            before.strip_prefix("/sys/fs/cgroup").is_some_and(|rest| rest.matches('/').count() <= 1)
        };
        paths.into_iter().any(|written| written.strip_suffix(path).is_some_and(is_mount))
    }
}

fn taken(name: String) -> Option<String> {
    (!name.is_empty() && name.len() <= MAX_NAME_BYTES).then_some(name)
}

/// A name as Kubernetes allows it (RFC 1123): no `/` or `_`, which separate names.
pub(super) fn is_dns_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed)
}

/// Whether a path that a runtime wrote down is a container's folder, or one below it.
fn leads_to(written: &str, claimed: &str) -> bool {
    written.strip_prefix(claimed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
