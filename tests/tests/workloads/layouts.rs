//! Every layout of cgroups, with a real client moved into it and a real TLS connection.

use std::path::PathBuf;

use anyhow::Result;
use countersign_tests::{Expectation, Matcher, ready};
use serde_json::{Value, json};

use crate::cgroups::{Cgroup, Hierarchy};
use crate::{assert_says, record_of_client, tls_client, tls_server};

const ID: &str = "c0ffee6de2b97c3585d1e0f6a7b8c9d04f1c0a6de2b97c3585d1e0f6a7b8c9d0";
const SHORT: &str = "c0ffee6de2b9";
const UID: &str = "c0ffee1e-52f3-4b6a-9c7d-1e2f3a4b5c6d";

const UNIFIED: &[Hierarchy] = &[""];
const HYBRID: &[Hierarchy] = &["", "name=systemd"];
/// Some of version 1, without that of systemd: runtimes that were not started by it.
const LEGACY: &[Hierarchy] = &["pids", "memory"];

fn expand(text: &str) -> String {
    text.replace("U_ID", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID)
}

/// Kind, name, and the other fields that are not null.
fn check(hierarchies: &[Hierarchy], path: &str, kind: &str, name: &str, fields: Value) -> Result<()> {
    let Some(cgroup) = Cgroup::make(hierarchies, expand(path).as_bytes())? else {
        eprintln!("skipped: {path}: this host has not all of {hierarchies:?}");
        return Ok(());
    };
    let (_server, port) = tls_server()?;
    let record = record_of_client(Some(&cgroup), tls_client(port))?;
    let mut expected = Expectation::default()
        .is("/protocol", "tls")
        .is("/client/workload/kind", kind)
        .is("/client/workload/name", expand(name))
        .with("/client/process/executable", Matcher::Present);
    for (pointer, key) in [
        ("/client/workload/unit", "unit"),
        ("/client/workload/slice", "slice"),
        ("/client/workload/unit_user", "unit_user"),
        ("/client/workload/runtime", "runtime"),
        ("/client/workload/container_id", "container_id"),
        ("/client/workload/container", "container"),
        ("/client/workload/namespace", "namespace"),
        ("/client/workload/pod", "pod"),
        ("/client/workload/pod_uid", "pod_uid"),
        ("/client/workload/unknown", "unknown"),
    ] {
        expected = expected.is(
            pointer,
            match &fields[key] {
                Value::String(text) => json!(expand(text)),
                other => other.clone(),
            },
        );
    }
    assert_says(path, &record, &expected);
    Ok(())
}

#[test]
fn systemd_units_slices_and_scopes() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let plain = |unit: &str| json!({"unit": unit, "slice": "system.slice"});
    for hierarchies in [UNIFIED, HYBRID, &["name=systemd"]] {
        check(
            hierarchies,
            "/system.slice/cs-web.service",
            "systemd",
            "cs-web.service",
            plain("cs-web.service"),
        )?;
    }
    let escaped = "cs-dev-disk\\x2dby\\x2duuid.service";
    check(UNIFIED, &format!("/system.slice/{escaped}"), "systemd", escaped, plain(escaped))?;
    // systemd's own escape of what could be a file of the kernel's, or begins as its escape does.
    for (folder, unit) in [("_memory.cs.service", "memory.cs.service"), ("__cs.service", "_cs.service")] {
        check(UNIFIED, &format!("/system.slice/{folder}"), "systemd", unit, plain(unit))?;
    }
    check(
        UNIFIED,
        "/system.slice/system-cs.slice/cs@a\\x2db:c.service",
        "systemd",
        "cs@a\\x2db:c.service",
        json!({"unit": "cs@a\\x2db:c.service", "slice": "system-cs.slice"}),
    )?;
    check(
        UNIFIED,
        "/user.slice/user-4242.slice/session-77.scope",
        "systemd",
        "session-77.scope",
        json!({"unit": "session-77.scope", "slice": "user-4242.slice"}),
    )?;
    check(
        HYBRID,
        "/user.slice/user-4242.slice/user@4242.service/app.slice/postgresql.service",
        "systemd",
        "4242/postgresql.service",
        json!({"unit": "postgresql.service", "slice": "app.slice", "unit_user": "4242"}),
    )?;
    // What a unit makes below itself is the unit's.
    check(
        UNIFIED,
        "/system.slice/cs-web.service/sshd.service",
        "systemd",
        "cs-web.service",
        plain("cs-web.service"),
    )
}

#[test]
fn containers_of_every_runtime_driver_and_version() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for (path, runtime, unit, slice) in [
        ("/system.slice/docker-ID.scope", "docker", Some("docker-ID.scope"), Some("system.slice")),
        ("/docker/ID", "docker", None, None),
        ("/docker/ID/docker/cs-inner", "docker", None, None),
        (
            "/machine.slice/libpod-ID.scope/container",
            "podman",
            Some("libpod-ID.scope"),
            Some("machine.slice"),
        ),
        ("/libpod_parent/libpod-ID", "podman", None, None),
        (
            "/system.slice/cs-web.service/libpod-payload-ID",
            "podman",
            Some("cs-web.service"),
            Some("system.slice"),
        ),
        ("/system.slice/nerdctl-ID.scope", "containerd", Some("nerdctl-ID.scope"), Some("system.slice")),
    ] {
        let fields = json!({
            "unit": unit, "slice": slice, "runtime": runtime, "container_id": ID, "container": SHORT,
            "unknown": "runtime_state_not_found",
        });
        for hierarchies in [UNIFIED, HYBRID, LEGACY] {
            let mut fields = fields.clone();
            if hierarchies == LEGACY {
                // Units are in the hierarchies of systemd.
                (fields["unit"], fields["slice"]) = (Value::Null, Value::Null);
            }
            check(hierarchies, path, "container", SHORT, fields)?;
        }
    }
    Ok(())
}

/// Folders that a kubelet would make, removed with the value.
struct Logs(Vec<PathBuf>);

impl Logs {
    fn of_pod() -> Result<Self> {
        let pods = PathBuf::from(format!("/var/log/pods/cs-prod_cs-shop-7d9f_{UID}"));
        std::fs::create_dir_all(pods.join("app"))?;
        std::fs::create_dir_all("/var/log/containers")?;
        let link = PathBuf::from(format!("/var/log/containers/cs-shop-7d9f_cs-prod_app-{ID}.log"));
        let logs = Self(vec![link.clone(), pods.join("app"), pods]);
        std::os::unix::fs::symlink("/nonexistent", link)?;
        Ok(logs)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = if path.is_symlink() { std::fs::remove_file(path) } else { std::fs::remove_dir(path) };
        }
    }
}

#[test]
fn pods_in_every_layout_are_named_by_the_logs_of_the_kubelet() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let burstable = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice";
    let slice = "kubepods-burstable-podU_ID.slice";
    let fields = |runtime: Value, unit: Value, slice: Value| {
        json!({
            "runtime": runtime, "container_id": ID, "unit": unit, "slice": slice, "namespace": "cs-prod",
            "pod": "cs-shop-7d9f", "pod_uid": UID, "container": "app", "unknown": "service_account_not_told",
        })
    };
    let _logs = Logs::of_pod()?;
    for (runtime, scope) in [("containerd", "cri-containerd-ID.scope"), ("crio", "crio-ID.scope")] {
        for hierarchies in [UNIFIED, HYBRID] {
            let fields = fields(json!(runtime), json!(scope), json!(slice));
            check(
                hierarchies,
                &format!("{burstable}/{scope}"),
                "kubernetes",
                "cs-prod/cs-shop-7d9f",
                fields,
            )?;
        }
    }
    for (path, runtime) in [
        ("/kubepods/burstable/podUID/ID", Value::Null),
        ("/kubepods/podUID/crio-ID", json!("crio")),
        ("/kubelet/kubepods/besteffort/podUID/ID", Value::Null),
    ] {
        for hierarchies in [UNIFIED, LEGACY] {
            let fields = fields(runtime.clone(), Value::Null, Value::Null);
            check(hierarchies, path, "kubernetes", "cs-prod/cs-shop-7d9f", fields)?;
        }
    }
    let path = "/system.slice/cs-containerd.service/kubepods-burstable-podU_ID.slice:cri-containerd:ID";
    let fields = fields(json!("containerd"), json!("cs-containerd.service"), json!("system.slice"));
    check(HYBRID, path, "kubernetes", "cs-prod/cs-shop-7d9f", fields)
}

#[test]
fn what_a_user_makes_below_his_manager_is_his() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let _logs = Logs::of_pod()?;
    let (_server, port) = tls_server()?;
    let manager = "/user.slice/user-4242.slice/user@4242.service";
    for claim in [
        "docker-ID.scope",
        "docker/ID",
        "kubepods.slice/kubepods-podU_ID.slice/cri-containerd-ID.scope",
        "kubepods/podUID/crio-ID",
        "x.slice:docker:ID",
    ] {
        let cgroup = Cgroup::unified(&expand(&format!("{manager}/{claim}")))?;
        cgroup.delegate("user@4242.service", 4242)?;
        let record = record_of_client(Some(&cgroup), tls_client(port))?;
        let expected = Expectation::default()
            .is("/client/workload/kind", "systemd")
            .is("/client/workload/unknown", "container_not_confirmed")
            .is("/client/workload/container_id", Value::Null)
            .is("/client/workload/pod", Value::Null);
        assert_says(claim, &record, &expected);
    }
    Ok(())
}
