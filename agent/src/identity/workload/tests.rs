//! Workloads of cgroups, over fixtures in the runtimes' documented formats, written for these tests.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::*;

const ID: &str = "4f1c0a6de2b97c3585d1e0f6a7b8c9d04f1c0a6de2b97c3585d1e0f6a7b8c9d0";
const UID: &str = "0d9a8c1e-52f3-4b6a-9c7d-1e2f3a4b5c6d";
const SECOND: u64 = 1_000_000_000;
const NOW: Timestamp = Timestamp(1_000 * SECOND);
/// What must be in no record.
const SECRET: &str = "TOKEN=correct-horse";

/// A host of our own.
struct Host {
    root: PathBuf,
}

impl Host {
    fn new() -> Host {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("countersign-workload-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        Host { root }
    }

    fn file(&self, path: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.join(path.replace("ID", ID).replace("UID", UID));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn state(&self, path: &str, state: &Value) {
        self.file(path, state.to_string());
    }

    fn cgroup(&self, path: &str) -> PathBuf {
        let folder = self.root.join(format!("cgroup{}", expand(path)));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Folders are the administrator's, or those of some user.
    fn workloads(&self, of_administrator: bool) -> Workloads {
        let mount = self.root.join("cgroup");
        let own = nix::unistd::geteuid().as_raw();
        Workloads::new(&Roots {
            proc: self.root.join("proc"),
            hierarchies: Hierarchies::parse(&format!(
                "1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n",
                mount.display()
            )),
            host: self.root.clone(),
            administrator: if of_administrator { own } else { own + 1 },
        })
    }

    /// The workload of a cgroup that the administrator made.
    fn workload(&self, path: &str) -> WorkloadRecord {
        self.cgroup(path);
        look(&mut self.workloads(true), &format!("0::{path}\n"))
            .unwrap_or_else(|| panic!("no workload: {path}"))
    }

    /// The same of a cgroup that a user made.
    fn claimed(&self, path: &str) -> Option<WorkloadRecord> {
        self.cgroup(path);
        look(&mut self.workloads(false), &format!("0::{path}\n"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn expand(text: &str) -> String {
    text.replace("U_ID", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID)
}

fn look_at(workloads: &mut Workloads, text: &str, at: Timestamp) -> Option<WorkloadRecord> {
    let workload = workloads.of(expand(text).as_bytes(), at, &mut UserNames::default());
    workload.map(|workload| WorkloadRecord::clone(&workload))
}

fn look(workloads: &mut Workloads, text: &str) -> Option<WorkloadRecord> {
    look_at(workloads, text, NOW)
}

fn bundle(annotations: Value, cgroups_path: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {"env": ["PATH=/bin", SECRET], "args": ["/app"]},
        "annotations": annotations,
        "linux": {"cgroupsPath": expand(cgroups_path), "namespaces": []},
    })
}

fn cri() -> Value {
    json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "app",
        "io.kubernetes.cri.image-name": "registry.example/shop:1.4",
        "io.kubernetes.cri.sandbox-id": "77",
        "io.kubernetes.cri.sandbox-name": "shop-7d9f",
        "io.kubernetes.cri.sandbox-namespace": "prod",
        "io.kubernetes.cri.sandbox-uid": UID,
    })
}

const CRI_BUNDLE: &str = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
const CRI_SYSTEMD: &str =
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope";
const DOCKER_FILE: &str = "var/lib/docker/containers/ID/config.v2.json";
const PODMAN_LIST: &str = "var/lib/containers/storage/overlay-containers/containers.json";
const CRIO_BUNDLE: &str = "run/containers/storage/overlay-containers/ID/userdata/config.json";

fn docker(labels: Value) -> Value {
    json!({
        "ID": ID,
        "Name": "/web",
        "Config": {"Hostname": "4f1c0a6de2b9", "Env": [SECRET], "Image": "nginx:1.25", "Labels": labels},
        "State": {"Pid": 4711, "Running": true},
    })
}

fn assert_pod(workload: &WorkloadRecord, runtime: &str) {
    assert_eq!((&*workload.kind, workload.name.as_str()), ("kubernetes", "prod/shop-7d9f"));
    assert_eq!(workload.namespace.as_deref(), Some("prod"));
    assert_eq!(workload.pod.as_deref(), Some("shop-7d9f"));
    assert_eq!(workload.pod_uid.as_deref(), Some(UID));
    assert_eq!(workload.container.as_deref(), Some("app"));
    assert_eq!(workload.runtime.as_deref(), Some(runtime));
    assert_eq!(workload.container_id.as_deref(), Some(ID));
}

#[test]
fn a_container_of_docker_has_its_name_and_image() {
    let host = Host::new();
    host.state(DOCKER_FILE, &docker(json!({})));
    for path in ["/system.slice/docker-ID.scope", "/docker/ID", "/batch.slice/docker-ID.scope"] {
        let workload = host.workload(path);
        assert_eq!((&*workload.kind, workload.name.as_str()), ("container", "web"), "{path}");
        assert_eq!(workload.image.as_deref(), Some("nginx:1.25"));
        assert_eq!(workload.runtime.as_deref(), Some("docker"));
        assert_eq!((workload.container.as_deref(), workload.unknown), (Some("web"), None));
    }
    assert_eq!(host.workload("/batch.slice/docker-ID.scope").slice.as_deref(), Some("batch.slice"));
}

#[test]
fn a_container_is_found_in_whichever_hierarchy_names_it() {
    let host = Host::new();
    host.state(DOCKER_FILE, &docker(json!({})));
    for text in [
        "12:pids:/docker/ID\n1:name=systemd:/docker/ID\n",
        "12:pids:/docker/ID\n1:name=systemd:/system.slice/containerd.service\n0::/system.slice/containerd.service\n",
        "1:name=systemd:/system.slice/docker-ID.scope\n0::/system.slice/docker-ID.scope\n",
    ] {
        let workload = look(&mut host.workloads(true), text).unwrap();
        assert_eq!(workload.name, "web", "{text}");
    }
}

#[test]
fn a_pod_is_named_by_the_annotations_of_containerd() {
    let host = Host::new();
    host.state(CRI_BUNDLE, &bundle(cri(), "x"));
    for path in [
        CRI_SYSTEMD,
        "/kubepods.slice/kubepods-podU_ID.slice/cri-containerd-ID.scope",
        "/kubepods/burstable/podUID/ID",
        "/system.slice/containerd.service/kubepods-burstable-podU_ID.slice:cri-containerd:ID",
        // Without the kubelet's own cgroups.
        "/system.slice/cri-containerd-ID.scope",
    ] {
        let workload = host.workload(path);
        assert_pod(&workload, "containerd");
        assert_eq!(workload.image.as_deref(), Some("registry.example/shop:1.4"));
        assert_eq!(
            (workload.service_account, workload.unknown.as_deref()),
            (None, Some("service_account_not_told"))
        );
    }
}

#[test]
fn a_service_account_is_told_where_the_administrator_passes_its_annotation_on() {
    let host = Host::new();
    let mut annotations = cri();
    annotations["kubernetes.io/service-account.name"] = json!("shop");
    host.state(CRI_BUNDLE, &bundle(annotations, "x"));
    let workload = host.workload(CRI_SYSTEMD);
    assert_eq!((workload.service_account.as_deref(), workload.unknown), (Some("shop"), None));
}

#[test]
fn states_of_k3s_and_others_are_found() {
    for folder in ["run/k3s/containerd", "run/k0s/containerd", "var/snap/microk8s/common/run/containerd"] {
        let host = Host::new();
        let path = format!("{folder}/io.containerd.runtime.v2.task/k8s.io/ID/config.json");
        host.state(&path, &bundle(cri(), "x"));
        assert_pod(&host.workload(CRI_SYSTEMD), "containerd");
    }
}

fn crio() -> Value {
    json!({
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.ImageName": "registry.example/shop:1.4",
        // Its author calls the pod like another one.
        "io.kubernetes.cri.sandbox-name": "other",
        "kubernetes.io/service-account.name": "admin",
        "io.kubernetes.container.name": "app",
        "io.kubernetes.pod.name": "shop-7d9f",
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.pod.uid": UID,
    })
}

#[test]
fn a_pod_is_named_by_the_labels_that_crio_adds() {
    let host = Host::new();
    host.state(CRIO_BUNDLE, &bundle(crio(), "x"));
    for path in [
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/crio-ID.scope/container",
        "/kubepods/besteffort/podUID/crio-ID",
    ] {
        let workload = host.workload(path);
        assert_pod(&workload, "crio");
        assert_eq!(workload.image.as_deref(), Some("registry.example/shop:1.4"));
        assert_eq!(workload.service_account, None, "what the author of a pod says of it proves nothing");
    }
    let mut sandbox = crio();
    sandbox["io.kubernetes.cri-o.ContainerType"] = json!("sandbox");
    host.state(CRIO_BUNDLE, &bundle(sandbox, "x"));
    assert_eq!(host.workload("/kubepods/besteffort/podUID/crio-ID").container, None);
}

#[test]
fn a_container_of_podman_has_its_name_and_image() {
    let host = Host::new();
    let metadata = json!({"image-name": "docker.io/library/nginx:1.25", "name": "web"}).to_string();
    host.state(
        PODMAN_LIST,
        &json!([
            {"id": "other", "names": ["db"], "metadata": "no JSON"},
            {"id": ID, "names": ["web"], "image": "77", "layer": "88", "metadata": metadata},
        ]),
    );
    // Podman's bundle is where CRI-O's would be.
    host.state(CRIO_BUNDLE, &bundle(json!({"io.container.manager": "libpod"}), "x"));
    for path in [
        "/machine.slice/libpod-ID.scope/container",
        "/libpod_parent/libpod-ID",
        "/system.slice/web.service/libpod-payload-ID",
    ] {
        let workload = host.workload(path);
        assert_eq!((&*workload.kind, workload.name.as_str()), ("container", "web"), "{path}");
        assert_eq!(workload.image.as_deref(), Some("docker.io/library/nginx:1.25"));
        assert_eq!((workload.runtime.as_deref(), workload.unknown), (Some("podman"), None));
    }
    assert_eq!(
        host.workload("/system.slice/web.service/libpod-payload-ID").unit.as_deref(),
        Some("web.service")
    );
}

#[test]
fn plain_containers_count_in_the_cgroup_that_their_runtime_gave_them() {
    let host = Host::new();
    host.state("run/crun/web/status", &json!({"pid": 1, "cgroup-path": "/web", "bundle": "/b"}));
    host.state("run/runc/db/state.json", &json!({
        "id": "db",
        "cgroup_paths": {"": "/sys/fs/cgroup/system.slice/runc-db.scope", "memory": "/sys/fs/cgroup/memory/db"},
        "config": {"labels": ["bundle=/b"]},
    }));
    for (path, name, runtime) in
        [("/web", "web", "crun"), ("/db", "db", "runc"), ("/system.slice/runc-db.scope", "db", "runc")]
    {
        let workload = host.workload(path);
        assert_eq!((&*workload.kind, workload.name.as_str()), ("container", name), "{path}");
        assert_eq!(workload.runtime.as_deref(), Some(runtime));
    }
    for path in ["/jobs/web", "/jobs/db", "/system.slice/crun-web.scope"] {
        let workload =
            host.claimed(path).or_else(|| look(&mut host.workloads(true), &format!("0::{path}\n")));
        assert_ne!(workload.map(|workload| workload.kind), Some("container".into()), "{path}");
    }
}

#[test]
fn containers_of_nerdctl_and_ctr_are_named() {
    let host = Host::new();
    let path = "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json";
    host.state(path, &bundle(json!({"nerdctl/name": "web"}), "x"));
    assert_eq!(host.workload("/system.slice/nerdctl-ID.scope").name, "web");
    assert_eq!(host.workload("/default/ID").name, "web");
    host.state(
        "run/containerd/io.containerd.runtime.v2.task/jobs/redis/config.json",
        &bundle(json!(null), "/jobs/redis"),
    );
    assert_eq!(host.workload("/jobs/redis").name, "redis");
}

#[test]
fn without_a_runtimes_word_the_logs_of_the_kubelet_name_a_pod() {
    let host = Host::new();
    let path = "/kubepods.slice/kubepods-podU_ID.slice/crio-ID.scope";
    let bare = host.workload(path);
    assert_eq!((&*bare.kind, bare.name.as_str()), ("kubernetes", UID));
    assert_eq!(bare.unknown.as_deref(), Some("runtime_state_not_found"));
    std::fs::create_dir_all(host.root.join(format!("var/log/pods/prod_shop-7d9f_{UID}/app"))).unwrap();
    std::fs::create_dir_all(host.root.join("var/log/pods/prod_other_77")).unwrap();
    let logs = host.root.join("var/log/containers");
    std::fs::create_dir_all(&logs).unwrap();
    symlink("/nowhere", logs.join(format!("shop-7d9f_prod_app-{ID}.log"))).unwrap();
    let workload = host.workload(path);
    assert_pod(&workload, "crio");
    assert_eq!(workload.unknown.as_deref(), Some("service_account_not_told"));
}

#[test]
fn a_container_of_which_nothing_is_known_has_the_beginning_of_its_id() {
    let workload = Host::new().workload("/system.slice/docker-ID.scope");
    assert_eq!((&*workload.kind, workload.name.as_str()), ("container", &ID[..12]));
    assert_eq!(workload.unknown.as_deref(), Some("runtime_state_not_found"));
}

#[test]
fn a_user_cannot_pass_for_a_container_or_pod_of_somebody_else() {
    let host = Host::new();
    host.state(DOCKER_FILE, &docker(json!({})));
    host.state(CRI_BUNDLE, &bundle(cri(), CRI_SYSTEMD));
    host.state("run/crun/web/status", &json!({"cgroup-path": "/user.slice/user-7.slice/user@7.service/web"}));
    let manager = "/user.slice/user-7.slice/user@7.service";
    for claim in
        ["docker-ID.scope", "docker/ID", &CRI_SYSTEMD[1..], "kubepods/podUID/ID", "x.slice:docker:ID", "web"]
    {
        let workload = host.claimed(&format!("{manager}/{claim}")).unwrap();
        assert_eq!(workload.kind, "systemd", "{claim}");
        assert!(workload.unit.as_deref() != Some("nginx.service") && workload.container_id.is_none());
        assert_eq!((workload.pod, workload.image), (None, None));
    }
    let doubted = host.claimed(&format!("{manager}/docker-ID.scope/container")).unwrap();
    assert_eq!(doubted.unknown.as_deref(), Some("container_not_confirmed"));
    // Folders that are gone by now were made in what is left.
    host.cgroup("/alice");
    let mut workloads = host.workloads(false);
    assert_eq!(look(&mut workloads, "0::/alice/x/docker-ID.scope\n"), None);
    let mut workloads = host.workloads(true);
    assert!(look(&mut workloads, "0::/batch.slice/x.slice/docker-ID.scope\n").unwrap().image.is_some());
    // Nothing below a unit is believed where this host does not show whose the folders are.
    let mut blind = host.workloads(true);
    let gone = look(&mut blind, "0::/system.slice/evil.service/docker-ID.scope\n").unwrap();
    assert_eq!((&*gone.kind, gone.name.as_str()), ("systemd", "evil.service"));
}

#[test]
fn a_folder_into_which_everybody_may_write_proves_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new();
    host.state(DOCKER_FILE, &docker(json!({})));
    let path = "/batch.slice/docker-ID.scope";
    assert_eq!(host.workload(path).name, "web");
    let above = host.root.join("cgroup/batch.slice");
    std::fs::set_permissions(&above, PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(look(&mut host.workloads(true), &format!("0::{path}\n")).unwrap().kind, "systemd");
}

#[test]
fn a_users_own_container_is_told_as_his() {
    let host = Host::new();
    let own = nix::unistd::geteuid().as_raw();
    let user = UserNames::default().name(own, NOW).unwrap_or_else(|| own.to_string());
    let path = format!("/user.slice/user-{own}.slice/user@{own}.service/user.slice/libpod-{ID}.scope");
    host.state(
        &format!("run/user/{own}/crun/ID/status"),
        &json!({"cgroup-path": format!("{path}/container"), "pid": 1}),
    );
    host.state(PODMAN_LIST, &json!([{"id": ID, "names": ["of-root"]}]));
    let workload = host.claimed(&format!("{path}/container")).unwrap();
    assert_eq!((&*workload.kind, workload.name), ("container", format!("{user}/{}", &ID[..12])));
    assert_eq!((workload.unit_user, workload.runtime.as_deref()), (Some(user), Some("podman")));
    assert_eq!(workload.unknown.as_deref(), Some("rootless"));
}

#[test]
fn little_is_read_of_what_a_user_wrote() {
    let host = Host::new();
    let own = nix::unistd::geteuid().as_raw();
    let manager = format!("/user.slice/user-{own}.slice/user@{own}.service");
    let path = format!("{manager}/libpod-{ID}.scope");
    let status = format!("run/user/{own}/crun/ID/status");
    for (padding, kind) in [(10_000, "container"), (100_000, "systemd")] {
        host.state(&status, &json!({"a": "x".repeat(padding), "cgroup-path": path}));
        assert_eq!(host.claimed(&path).unwrap().kind, kind, "{padding} bytes");
    }
    // Any folder may be called after a container of runc: nothing is looked for.
    host.cgroup(&format!("{manager}/some/name"));
    let mut workloads = host.workloads(false);
    look(&mut workloads, &format!("0::{manager}/some/name\n"));
    assert_eq!(workloads.reads(), 0);
}

#[test]
fn a_unit_of_a_user_is_told_as_his() {
    let unit = "/user.slice/user-4000000.slice/user@4000000.service/app.slice/postgresql.service";
    let workload = Host::new().workload(unit);
    assert_eq!(workload.name, "4000000/postgresql.service");
    assert_eq!(workload.unit.as_deref(), Some("postgresql.service"));
    assert_eq!(workload.unit_user.as_deref(), Some("4000000"));
    assert_eq!(workload.slice.as_deref(), Some("app.slice"));
}

#[test]
fn a_runtime_that_names_another_pod_is_not_believed() {
    let host = Host::new();
    let mut annotations = cri();
    annotations["io.kubernetes.cri.sandbox-uid"] = json!("11111111-52f3-4b6a-9c7d-1e2f3a4b5c6d");
    host.state(CRI_BUNDLE, &bundle(annotations, "x"));
    let workload = host.workload(CRI_SYSTEMD);
    assert_eq!((workload.pod, workload.name.as_str()), (None, UID));
    assert_eq!(workload.unknown.as_deref(), Some("runtime_state_contradicts"));
}

#[test]
fn labels_of_docker_make_a_pod_only_in_a_pods_cgroup() {
    let host = Host::new();
    host.state(
        DOCKER_FILE,
        &docker(json!({
            "io.kubernetes.docker.type": "container",
            "io.kubernetes.container.name": "app",
            "io.kubernetes.pod.name": "shop-7d9f",
            "io.kubernetes.pod.namespace": "prod",
            "io.kubernetes.pod.uid": UID,
        })),
    );
    assert_pod(&host.workload("/kubepods.slice/kubepods-podU_ID.slice/docker-ID.scope"), "docker");
    assert_pod(&host.workload("/kubepods/podUID/ID"), "docker");
    let outside = host.workload("/system.slice/docker-ID.scope");
    assert_eq!((&*outside.kind, outside.name.as_str(), outside.pod), ("container", "web", None));
    // A container that is put into the cgroup of a pod and does not say that it belongs there.
    host.state(DOCKER_FILE, &docker(json!({})));
    let guest = host.workload("/kubepods/podUID/ID");
    assert_eq!((&*guest.kind, guest.pod_uid), ("container", None));
}

#[test]
fn names_that_are_none_are_not_taken() {
    let host = Host::new();
    for (key, name) in [
        ("io.kubernetes.cri.sandbox-namespace", "prod/other".to_owned()),
        ("io.kubernetes.cri.sandbox-name", "a\u{1b}[31m".to_owned()),
        ("io.kubernetes.cri.sandbox-name", "x".repeat(4096)),
        ("io.kubernetes.cri.sandbox-name", String::new()),
    ] {
        let mut annotations = cri();
        annotations[key] = json!(name);
        host.state(CRI_BUNDLE, &bundle(annotations, "x"));
        let workload = host.workload(CRI_SYSTEMD);
        assert_eq!((workload.pod, workload.name.as_str()), (None, UID));
        assert_eq!(workload.unknown.as_deref(), Some("runtime_state_unreadable"));
    }
    let mut long = docker(json!({}));
    long["Config"]["Image"] = json!("i".repeat(4096));
    host.state(DOCKER_FILE, &long);
    assert_eq!(host.workload("/docker/ID").image, None);
}

#[test]
fn nothing_of_the_environment_gets_into_a_record() {
    let host = Host::new();
    host.state(DOCKER_FILE, &docker(json!({"secret": SECRET})));
    host.state(CRI_BUNDLE, &bundle(cri(), "x"));
    for path in ["/docker/ID", CRI_SYSTEMD] {
        assert!(!format!("{:?}", host.workload(path)).contains("correct-horse"));
    }
}

#[test]
fn a_file_that_is_cut_off_or_no_file_ends_in_a_reason() {
    let host = Host::new();
    let whole = docker(json!({})).to_string();
    let unreadable = |host: &Host| {
        let workload = host.workload("/docker/ID");
        assert_eq!(workload.name, &ID[..12]);
        assert_eq!(workload.unknown.as_deref(), Some("runtime_state_unreadable"));
    };
    for end in 0..whole.len() {
        host.file(DOCKER_FILE, &whole[..end]);
        unreadable(&host);
    }
    let deep = "[".repeat(100_000);
    let large = format!("{}{whole}", " ".repeat(5 * 1024 * 1024));
    for contents in [&b"\xff\xfe\x00"[..], b"[]", b"17", b"{\"Name\": 3}", deep.as_bytes(), large.as_bytes()]
    {
        host.file(DOCKER_FILE, contents);
        unreadable(&host);
    }
    let path = host.file(DOCKER_FILE, &whole);
    let elsewhere = host.file("elsewhere.json", &whole);
    std::fs::remove_file(&path).unwrap();
    symlink(&elsewhere, &path).unwrap();
    unreadable(&host);
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    unreadable(&host);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    unreadable(&host);
}

#[test]
fn a_cgroup_is_read_once_until_its_folder_is_another_one() {
    let host = Host::new();
    let folder = host.cgroup("/web");
    let mut workloads = host.workloads(true);
    let state = |image: &str| json!({"cgroup-path": "/web", "image": image});
    host.state("run/crun/web/status", &state("a"));
    let first = look(&mut workloads, "0::/web\n").unwrap();
    let reads = workloads.reads();
    for _ in 0..100 {
        assert_eq!(look(&mut workloads, "0::/web\n").as_ref(), Some(&first));
    }
    assert_eq!(workloads.reads(), reads);
    // The container was removed, and a folder of somebody's has its name by now. Made beside the first one it has another
    // inode, as control groups always have: a file system may give the same one again.
    let next = host.cgroup("/next");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::remove_dir_all(host.root.join("run/crun/web")).unwrap();
    std::fs::rename(next, &folder).unwrap();
    assert_eq!(look(&mut workloads, "0::/web\n"), None);
    std::fs::remove_dir(&folder).unwrap();
    workloads.sweep();
    assert_eq!(workloads.size().entries, 0);
}

#[test]
fn a_runtime_that_writes_late_is_asked_again() {
    let host = Host::new();
    host.cgroup("/docker/ID");
    let mut workloads = host.workloads(true);
    assert_eq!(look(&mut workloads, "0::/docker/ID\n").unwrap().name, &ID[..12]);
    host.state(DOCKER_FILE, &docker(json!({})));
    assert_eq!(look(&mut workloads, "0::/docker/ID\n").unwrap().name, &ID[..12], "not at once");
    let later = Timestamp(NOW.0 + 11 * SECOND);
    assert_eq!(look_at(&mut workloads, "0::/docker/ID\n", later).unwrap().name, "web");
}

#[test]
fn a_bare_name_is_a_container_from_when_its_runtime_says_so() {
    for path in ["/web", "/default/ID"] {
        let host = Host::new();
        host.cgroup(path);
        let mut workloads = host.workloads(true);
        // The runtime's own process, met in the folder before the state is there.
        assert_eq!(look(&mut workloads, &format!("0::{path}\n")), None);
        host.state("run/crun/web/status", &json!({"cgroup-path": "/web"}));
        let bundle = bundle(json!({"nerdctl/name": "web"}), "x");
        host.state("run/containerd/io.containerd.runtime.v2.task/default/ID/config.json", &bundle);
        // The container's program, a moment later.
        assert_eq!(look(&mut workloads, &format!("0::{path}\n")).unwrap().name, "web", "{path}");
    }
}

#[test]
fn many_cgroups_do_not_grow_the_memory_beyond_its_bound() {
    let host = Host::new();
    let mut workloads = host.workloads(true);
    let used = "0::/system.slice/used.service\n";
    look(&mut workloads, used);
    let kept = workloads.known.get(used.as_bytes()).map(|known| known.workload.clone());
    for number in 0..2 * MAX_CGROUPS {
        look(&mut workloads, &format!("0::/system.slice/u{number}.service\n"));
        look(&mut workloads, used);
    }
    assert_eq!(workloads.size().entries, MAX_CGROUPS);
    assert_eq!(workloads.order.len(), MAX_CGROUPS);
    assert!(workloads.size().evicted >= MAX_CGROUPS as u64);
    let found = workloads.known.get(used.as_bytes()).map(|known| known.workload.clone());
    assert!(found.is_some() && found == kept, "what is in use stays");
}
