//! Real runtimes: a TLS server in a container of runc, of Podman, and in a pod as containerd's CRI makes it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{Agent, Expectation, Matcher, PATIENCE, Process, Testbed, output_of, ready, until};
use serde_json::{Value, json};

use crate::{assert_says, record_of_server, server_arguments};

const UID: &str = "c0ffee1e-52f3-4b6a-9c7d-1e2f3a4b5c6d";
/// What a container needs of this host to run its programs.
const SHARED: [&str; 2] = ["/usr", "/etc/ssl"];

/// A root file system in which this host's programs run once [`SHARED`] and the keys are mounted into it.
fn root_file_system() -> Result<PathBuf> {
    let root = Testbed::shared().folder("rootfs")?;
    for folder in ["proc", "dev", "sys", "tmp", "etc", "usr"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link))?;
    }
    Ok(root)
}

/// Folders mounted into a container, read-only.
fn shared() -> Vec<PathBuf> {
    let keys = Testbed::shared().pki.ca.parent().map(Path::to_owned);
    SHARED.iter().map(PathBuf::from).chain(keys).collect()
}

/// What a container with a program of its own namespaces shows.
fn container() -> Expectation {
    Expectation::default()
        .is("/protocol", "tls")
        .is("/server/process/comm", "openssl")
        .with("/server/process/pid_namespace", Matcher::Present)
        .is("/server/process/namespace_pid", 1)
}

#[test]
fn a_server_in_a_container_of_runc() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let testbed = Testbed::shared();
    let (bundle, port) = (testbed.folder("bundle")?, testbed.port());
    output_of(Command::new("runc").arg("spec").current_dir(&bundle))?;
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let mut arguments = vec!["/usr/bin/openssl".to_owned(), "s_server".to_owned()];
    arguments.extend(server_arguments(port));
    config["process"]["args"] = json!(arguments);
    config["process"]["terminal"] = json!(false);
    config["process"]["env"] = json!(["PATH=/usr/bin", "SECRET=correct-horse"]);
    config["root"] = json!({"path": root_file_system()?, "readonly": false});
    // The network is that of whoever starts it.
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
    config["linux"]["namespaces"] = json!(namespaces);
    let mounts = config["mounts"].as_array_mut().context("mounts")?;
    mounts.extend(shared().iter().map(
        |folder| json!({"destination": folder, "type": "bind", "source": folder, "options": ["rbind", "ro"]}),
    ));
    std::fs::write(&file, config.to_string())?;
    let name = format!("cs-web.{}", std::process::id());
    let mut command = Command::new("runc");
    command.args(["run", "--bundle"]).arg(&bundle).arg(&name);
    let mut running = Process::spawn("runc", Some(&testbed.server_side), command)?;
    running.wait_listening(port)?;
    let record = record_of_server(port)?;
    output_of(Command::new("runc").args(["delete", "--force", &name]))?;
    let expected = container()
        .is("/server/workload/kind", "container")
        .is("/server/workload/name", name.clone())
        .is("/server/workload/container_id", name)
        .is("/server/workload/runtime", "runc")
        .is("/server/workload/unknown", Value::Null);
    assert_says("runc", &record, &expected);
    assert!(!record.to_string().contains("correct-horse"));
    Ok(())
}

#[test]
fn a_server_in_a_container_of_podman() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let testbed = Testbed::shared();
    let (port, folder) = (testbed.port(), testbed.folder("image")?);
    let archive = folder.join("rootfs.tar");
    output_of(Command::new("tar").arg("-C").arg(root_file_system()?).arg("-cf").arg(&archive).arg("."))?;
    let podman = || {
        let mut command = Command::new("podman");
        // crun of Debian 12 does not run on hybrid hosts.
        command.args(["--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
        command
    };
    let (image, name) = ("localhost/cs-web:1", format!("cs-web-{}", std::process::id()));
    output_of(podman().arg("import").arg(&archive).arg(image))?;
    let mut command = podman();
    command.args(["run", "--name", &name, "--network", "host", "--env", "SECRET=correct-horse"]);
    // A host that is a container itself may not raise them.
    command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
    for folder in shared() {
        command.arg("--volume").arg(format!("{0}:{0}:ro", folder.display()));
    }
    command.args([image, "/usr/bin/openssl", "s_server"]).args(server_arguments(port));
    let served = (|| {
        let mut running = Process::spawn("podman", Some(&testbed.server_side), command)?;
        running.wait_listening(port)?;
        record_of_server(port)
    })();
    output_of(podman().args(["rm", "--force", "--time", "0", &name]))?;
    output_of(podman().args(["rmi", image]))?;
    let record = served?;
    let expected = container()
        .is("/server/workload/kind", "container")
        .is("/server/workload/name", name)
        .is("/server/workload/image", image)
        .is("/server/workload/runtime", "podman")
        .is("/server/workload/unknown", Value::Null);
    assert_says("podman", &record, &expected);
    assert!(!record.to_string().contains("correct-horse"));
    Ok(())
}

/// containerd with files of its own, but with its state where it always is.
struct Containerd {
    daemon: Process,
    address: PathBuf,
}

impl Containerd {
    fn start() -> Result<Self> {
        let folder = Testbed::shared().folder("containerd")?;
        let address = folder.join("socket");
        let mut command = Command::new("containerd");
        command.arg("--root").arg(folder.join("root")).args(["--state", "/run/containerd"]);
        command.arg("--address").arg(&address);
        let daemon = Process::spawn("containerd", Some(&Testbed::shared().server_side), command)?;
        daemon.wait_for_output("containerd successfully booted")?;
        Ok(Self { daemon, address })
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(&self.address).args(["--namespace", "k8s.io"]);
        command
    }

    /// Runs a TLS server as the kubelet has containerd run one.
    fn run_pod(&self, pod: &str, id: &str, port: u16) -> Result<Value> {
        let mut command = self.ctr();
        command.args(["run", "--detach", "--rootfs", "--net-host"]);
        for (key, value) in [
            ("container-type", "container"),
            ("container-name", "app"),
            ("image-name", "registry.example/shop:1.4"),
            ("sandbox-namespace", "prod"),
            ("sandbox-name", pod),
            ("sandbox-uid", UID),
        ] {
            command.args(["--annotation", &format!("io.kubernetes.cri.{key}={value}")]);
        }
        command.args(["--annotation", "kubernetes.io/service-account.name=shop"]);
        command.args(["--cgroup", &format!("/kubepods/burstable/pod{UID}/{id}")]);
        for folder in shared() {
            let folder = folder.display();
            command.args(["--mount", &format!("type=bind,src={folder},dst={folder},options=rbind:ro")]);
        }
        command.arg(root_file_system()?).args([id, "/usr/bin/openssl", "s_server"]);
        output_of(command.args(server_arguments(port)))?;
        until("the pod's server", PATIENCE, || {
            let sockets = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.daemon.pid()))?;
            Ok(sockets.contains(&format!(":{port:04X} 00000000:0000 0A")).then_some(()))
        })?;
        let record = record_of_server(port);
        output_of(self.ctr().args(["task", "kill", "--signal", "KILL", id]))?;
        until("the pod's end", PATIENCE, || {
            Ok(output_of(self.ctr().args(["task", "rm", id])).is_ok().then_some(()))
        })?;
        output_of(self.ctr().args(["container", "rm", id]))?;
        record
    }
}

#[test]
fn a_server_in_a_pod_before_and_after_a_restart() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    if Path::new("/run/containerd/containerd.sock").exists() {
        eprintln!("skipped: this host runs a containerd, which keeps its state");
        return Ok(());
    }
    Agent::shared();
    let containerd = Containerd::start()?;
    // The restarted container has another id, and then the whole pod another name.
    for (number, pod) in ["shop-7d9f", "shop-7d9f", "shop-new0"].into_iter().enumerate() {
        let id = format!("{number}{}", "c0ffee0".repeat(9));
        ensure!(id.len() == 64);
        let record = containerd.run_pod(pod, &id, Testbed::shared().port())?;
        let expected = container()
            .is("/server/workload/kind", "kubernetes")
            .is("/server/workload/name", format!("prod/{pod}"))
            .is("/server/workload/namespace", "prod")
            .is("/server/workload/pod", pod)
            .is("/server/workload/pod_uid", UID)
            .is("/server/workload/container", "app")
            .is("/server/workload/image", "registry.example/shop:1.4")
            .is("/server/workload/service_account", "shop")
            .is("/server/workload/runtime", "containerd")
            .is("/server/workload/container_id", id)
            .is("/server/workload/unknown", Value::Null);
        assert_says(pod, &record, &expected);
    }
    for folder in
        [format!("/kubepods/burstable/pod{UID}"), "/kubepods/burstable".to_owned(), "/kubepods".to_owned()]
    {
        // Nobody else of this host has them; those that are in use stay.
        let mounts = std::fs::read_dir("/sys/fs/cgroup")?.flatten().map(|mount| mount.path());
        for mount in mounts.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let _ = std::fs::remove_dir(mount.join(&folder[1..]));
        }
    }
    Ok(())
}
