//! What the path of a cgroup claims: which systemd unit, and which containers. Pure text, and no more than a claim: a user
//! to whom a part of the tree was delegated names folders there as he likes. Who made a folder is asked elsewhere.
//!
//! The forms are those of the runtimes themselves, with their systemd and cgroupfs drivers:
//!
//! | runtime | systemd driver | cgroupfs driver |
//! |---|---|---|
//! | Docker | `docker-ID.scope` | `docker/ID` |
//! | Podman | `libpod-ID.scope`, `libpod-payload-ID` in a unit | `libpod_parent/libpod-ID` |
//! | containerd (CRI) | `…-podUID.slice/cri-containerd-ID.scope` | `kubepods/…/podUID/ID` |
//! | CRI-O | `…-podUID.slice/crio-ID.scope` | `kubepods/…/podUID/crio-ID` |
//! | nerdctl, ctr | `nerdctl-ID.scope` | `NAMESPACE/ID` |
//! | runc, crun | `runc-NAME.scope`, `crun-NAME.scope` | `NAME` |
//!
//! Where a runtime is given a path for systemd and does not talk to systemd, the folder is called `SLICE:PREFIX:ID`.

/// Containers considered in one path: what is nested deeper belongs to the outermost one anyway.
const MAX_CLAIMS: usize = 4;
/// Longest name of a container that is no digest: runtimes allow more, people do not use it.
const MAX_NAME_BYTES: usize = 128;

/// Who runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Runtime {
    Docker,
    Podman,
    Containerd,
    Crio,
    Runc,
    Crun,
}

impl Runtime {
    /// As records have it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Podman => "podman",
            Runtime::Containerd => "containerd",
            Runtime::Crio => "crio",
            Runtime::Runc => "runc",
            Runtime::Crun => "crun",
        }
    }
}

/// Prefixes of scopes and folders, with a digest behind them.
const PREFIXES: [(&str, Runtime); 5] = [
    ("docker", Runtime::Docker),
    ("libpod", Runtime::Podman),
    ("cri-containerd", Runtime::Containerd),
    ("crio", Runtime::Crio),
    ("nerdctl", Runtime::Containerd),
];

/// What the name of a folder says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing else is called like this.
    Certain(Runtime),
    /// A bare digest: a container if a runtime knows it.
    Digest,
    /// Any name: a container if a runtime knows it by this name, in this cgroup.
    Name,
}

/// A folder that may be that of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    /// From the root of the hierarchy to this folder, itself included.
    pub(super) path: &'a str,
    pub(super) form: Form,
    /// The container's id: 64 digits, or the name that it was given. Never a path.
    pub(super) id: &'a str,
    /// The folder above.
    pub(super) parent: &'a str,
    /// Of the Kubernetes pod whose folder is above.
    pub(super) pod_uid: Option<String>,
    /// A unit or its delegated part is above.
    pub(super) below_unit: bool,
}

/// Where systemd has a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Unit<'a> {
    /// As systemd calls it, with the escapes that are part of its name.
    pub(super) name: Option<&'a str>,
    /// The innermost slice above it.
    pub(super) slice: Option<&'a str>,
    /// Whose manager runs the unit; `None` for the system's.
    pub(super) manager: Option<u32>,
}

/// The systemd unit of a cgroup path, by the rule of systemd itself (`cg_path_get_unit` and
/// `cg_path_get_user_unit`, src/basic/cgroup-util.c): slices are skipped, the first name that is left is the
/// unit, and below a user's manager the same again. What lies deeper was delegated to the unit, which
/// can name it as it likes, also like another unit. Where the name would be that of a file of the kernel's, as `memory.slice`
/// or `cpu.service`, or begins with `_`, the folder has one `_` more (`cg_escape`).
pub(super) fn unit(path: &str) -> Unit<'_> {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "." | "..")).peekable();
    let mut slice = None;
    let mut skip_slices = |names: &mut std::iter::Peekable<_>| {
        while let Some(name) = names.next_if(|name: &&str| name.ends_with(".slice")) {
            slice = Some(unescaped(name));
        }
        slice
    };
    let outer_slice = skip_slices(&mut names);
    let Some(first) = names.next().filter(|name| is_unit(unescaped(name))) else {
        return Unit { slice: outer_slice, ..Unit::default() };
    };
    let system = Unit { name: Some(unescaped(first)), slice: outer_slice, manager: None };
    let manager = first.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
    let Some(uid) = manager.and_then(|uid| uid.parse().ok()) else { return system };
    let inner_slice = skip_slices(&mut names);
    match names.next().map(unescaped) {
        // `init.scope` below a user's manager is the manager.
        Some(name) if is_unit(name) && name != "init.scope" => {
            Unit { name: Some(name), slice: inner_slice, manager: Some(uid) }
        }
        _ => system,
    }
}

/// The unit of a folder's name.
fn unescaped(folder: &str) -> &str {
    folder.strip_prefix('_').unwrap_or(folder)
}

fn is_unit(name: &str) -> bool {
    // The kinds of unit that hold processes (systemd.unit(5)).
    [".service", ".scope", ".socket", ".mount", ".swap"]
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

/// The containers that a path names, the outermost first.
pub(super) fn claims(path: &str) -> Vec<Claim<'_>> {
    let mut claims = Vec::new();
    let (mut parent, mut pod_uid, mut below_kubepods, mut below_unit) = ("", None, false, false);
    let mut end = 0;
    for name in path.split('/') {
        end += name.len();
        let here = &path[..end];
        end += 1;
        if name.is_empty() {
            continue;
        }
        if name == ".." || claims.len() == MAX_CLAIMS {
            break;
        }
        if let Some(uid) = pod_slice(name).or_else(|| pod_folder(name).filter(|_| below_kubepods)) {
            pod_uid = Some(uid);
        } else if let Some((form, id, colon_pod)) = named(name, parent) {
            let pod_uid = colon_pod.or_else(|| pod_uid.clone());
            claims.push(Claim { path: here, form, id, parent, pod_uid, below_unit });
        }
        below_kubepods |= name.ends_with("kubepods");
        below_unit |= is_unit(name);
        parent = name;
    }
    claims
}

/// Form, id, and the uid of the pod if the name itself has one.
fn named<'a>(name: &'a str, parent: &str) -> Option<(Form, &'a str, Option<String>)> {
    if let Some((head, id)) = name.rsplit_once(':') {
        let (slice, prefix) = head.rsplit_once(':')?;
        let (_, runtime) = PREFIXES.iter().find(|(known, _)| *known == prefix)?;
        return is_digest(id).then(|| (Form::Certain(*runtime), id, pod_slice(slice)));
    }
    let stem = name.strip_suffix(".scope");
    for (prefix, runtime) in PREFIXES {
        let Some(rest) = stem.unwrap_or(name).strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'))
        else {
            continue;
        };
        let rest = if stem.is_none() { rest.strip_prefix("payload-").unwrap_or(rest) } else { rest };
        if is_digest(rest) {
            return Some((Form::Certain(runtime), rest, None));
        }
    }
    if let Some(stem) = stem {
        let id = stem.strip_prefix("runc-").or_else(|| stem.strip_prefix("crun-"))?;
        return is_name(id).then_some((Form::Name, id, None));
    }
    if is_digest(name) {
        let form = if parent == "docker" { Form::Certain(Runtime::Docker) } else { Form::Digest };
        return Some((form, name, None));
    }
    (is_name(name) && !is_unit(name) && !name.ends_with(".slice")).then_some((Form::Name, name, None))
}

/// An id as Docker, Podman, containerd's CRI and CRI-O make them.
pub(super) fn is_digest(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// An id that a person gave: what runc and crun accept, shorter, and never a path or hidden.
fn is_name(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+');
    id.len() <= MAX_NAME_BYTES
        && id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && id.bytes().all(allowed)
}

/// `kubepods-burstable-pod…_….slice`: systemd's driver writes the dashes of the uid as underscores.
fn pod_slice(name: &str) -> Option<String> {
    let (head, uid) = name.strip_suffix(".slice")?.rsplit_once("-pod")?;
    (head.contains("kubepods")).then(|| uid.replace('_', "-")).filter(|uid| is_pod_uid(uid))
}

/// `pod…` of the cgroupfs driver.
fn pod_folder(name: &str) -> Option<String> {
    name.strip_prefix("pod").filter(|uid| is_pod_uid(uid)).map(str::to_owned)
}

/// A UUID; pods that the kubelet has from files have the 32 digits of a hash.
fn is_pod_uid(uid: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match uid.len() {
        32 => uid.bytes().all(is_digit),
        36 => uid.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_digit(byte),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c0a6de2b97c3585d1e0f6a7b8c9d04f1c0a6de2b97c3585d1e0f6a7b8c9d0";
    const OTHER: &str = "aa1c0a6de2b97c3585d1e0f6a7b8c9d04f1c0a6de2b97c3585d1e0f6a7b8c9d0";
    const UID: &str = "0d9a8c1e-52f3-4b6a-9c7d-1e2f3a4b5c6d";
    const STATIC: &str = "8b7e6d5c4f3a2b1c0d9e8f7a6b5c4d3e";

    #[test]
    fn units_are_named_as_systemd_names_them() {
        let system = |name: &'static str, slice| (Some(name), slice, None);
        for (path, expected) in [
            ("/system.slice/nginx.service", system("nginx.service", Some("system.slice"))),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                system("getty@tty1.service", Some("system-getty.slice")),
            ),
            (
                "/user.slice/user-1000.slice/session-3.scope",
                system("session-3.scope", Some("user-1000.slice")),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
                (Some("foo.service"), Some("app.slice"), Some(1000)),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
                (Some("vte-spawn-1.scope"), Some("app-org.gnome.Terminal.slice"), Some(1000)),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                system("user@1000.service", Some("user-1000.slice")),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service",
                system("user@1000.service", Some("user-1000.slice")),
            ),
            (
                "/system.slice/docker-0123.scope/system.slice/inner.service",
                system("docker-0123.scope", Some("system.slice")),
            ),
            ("/system.slice/with\\x2ddash.service", system("with\\x2ddash.service", Some("system.slice"))),
            ("/system.slice/_cpu.service", system("cpu.service", Some("system.slice"))),
            ("/_memory.slice/_io.scope/_x.service", system("io.scope", Some("memory.slice"))),
            ("/system.slice/__x.service", system("_x.service", Some("system.slice"))),
            (
                "/user.slice/user-7.slice/user@7.service/_cpu.slice/_pids.service",
                (Some("pids.service"), Some("cpu.slice"), Some(7)),
            ),
            ("/system.slice/_.service", (None, Some("system.slice"), None)),
            ("/../../system.slice/ssh.service", system("ssh.service", Some("system.slice"))),
            ("/init.scope", system("init.scope", None)),
            ("/kubepods/besteffort/pod1/0123", (None, None, None)),
            ("/system.slice", (None, Some("system.slice"), None)),
            ("/.service", (None, None, None)),
            ("/", (None, None, None)),
            ("", (None, None, None)),
        ] {
            let unit = unit(path);
            assert_eq!((unit.name, unit.slice, unit.manager), expected, "{path}");
        }
    }

    #[test]
    fn a_service_cannot_pass_for_another_one_by_naming_its_sub_cgroups() {
        assert_eq!(unit("/system.slice/web.service/sshd.service").name, Some("web.service"));
    }

    /// Paths as the runtimes document and make them, written for this test; `ID`, `UID` and `U_ID` stand for the digits.
    #[test]
    fn the_containers_of_every_runtime_and_driver_are_found() {
        use Runtime::*;
        let pod = Some(UID);
        for (path, form, pod_uid, below_unit) in [
            // Docker: systemd and cgroupfs, a parent of one's own, rootless.
            ("/system.slice/docker-ID.scope", Form::Certain(Docker), None, false),
            ("/docker/ID", Form::Certain(Docker), None, false),
            ("/batch.slice/docker-ID.scope", Form::Certain(Docker), None, false),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
                Form::Certain(Docker),
                None,
                true,
            ),
            // Podman: with and without the sub-cgroup, in a pod of its own, cgroupfs, split in a unit, rootless.
            ("/machine.slice/libpod-ID.scope", Form::Certain(Podman), None, false),
            ("/machine.slice/libpod-ID.scope/container", Form::Certain(Podman), None, false),
            (
                "/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope/container",
                Form::Certain(Podman),
                None,
                false,
            ),
            ("/libpod_parent/libpod-ID", Form::Certain(Podman), None, false),
            ("/system.slice/web.service/libpod-payload-ID", Form::Certain(Podman), None, true),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                Form::Certain(Podman),
                None,
                true,
            ),
            // Kubernetes with containerd: both drivers, each class, the colons of cgroup v1, another root of the kubelet.
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope",
                Form::Certain(Containerd),
                pod,
                false,
            ),
            (
                "/kubepods.slice/kubepods-podU_ID.slice/cri-containerd-ID.scope",
                Form::Certain(Containerd),
                pod,
                false,
            ),
            ("/kubepods/burstable/podUID/ID", Form::Digest, pod, false),
            ("/kubepods/podUID/ID", Form::Digest, pod, false),
            ("/kubepods/besteffort/podSTATIC/ID", Form::Digest, Some(STATIC), false),
            (
                "/system.slice/containerd.service/kubepods-burstable-podU_ID.slice:cri-containerd:ID",
                Form::Certain(Containerd),
                pod,
                true,
            ),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podU_ID.slice/cri-containerd-ID.scope",
                Form::Certain(Containerd),
                pod,
                false,
            ),
            ("/kubelet/kubepods/besteffort/podUID/ID", Form::Digest, pod, false),
            // Kubernetes with CRI-O.
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/crio-ID.scope/container",
                Form::Certain(Crio),
                pod,
                false,
            ),
            ("/kubepods/besteffort/podUID/crio-ID", Form::Certain(Crio), pod, false),
            // Kubernetes with Docker.
            ("/kubepods.slice/kubepods-podU_ID.slice/docker-ID.scope", Form::Certain(Docker), pod, false),
            // nerdctl and ctr.
            ("/system.slice/nerdctl-ID.scope", Form::Certain(Containerd), None, false),
            // Nested: the outermost is the one that this host's runtime knows.
            ("/docker/ID/docker/OTHER", Form::Certain(Docker), None, false),
            (
                "/system.slice/docker-ID.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_ID.slice/cri-containerd-OTHER.scope",
                Form::Certain(Docker),
                None,
                false,
            ),
        ] {
            let path = path
                .replace("U_ID", &UID.replace('-', "_"))
                .replace("UID", UID)
                .replace("STATIC", STATIC)
                .replace("OTHER", OTHER)
                .replace("ID", ID);
            let claims = claims(&path);
            let found =
                claims.iter().find(|claim| claim.form != Form::Name).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((found.form, found.pod_uid.as_deref()), (form, pod_uid), "{path}");
            assert_eq!((found.id, found.below_unit), (ID, below_unit), "{path}");
            assert!(path.starts_with(found.path) && found.path.contains(ID), "{path}: {}", found.path);
        }
    }

    #[test]
    fn names_that_people_gave_are_claims_of_no_weight() {
        let names =
            |path| claims(path).iter().map(|claim| (claim.form, claim.id.to_owned())).collect::<Vec<_>>();
        assert_eq!(names("/web"), [(Form::Name, "web".to_owned())]);
        assert_eq!(names("/system.slice/runc-web.scope"), [(Form::Name, "web".to_owned())]);
        assert_eq!(names("/system.slice/crun-web.scope"), [(Form::Name, "web".to_owned())]);
        assert_eq!(
            names("/default/redis"),
            [(Form::Name, "default".to_owned()), (Form::Name, "redis".to_owned())]
        );
        assert_eq!(names("/a/b/c/d/e/f").len(), MAX_CLAIMS);
    }

    #[test]
    fn nothing_else_is_a_container() {
        let short = &ID[1..];
        let upper = ID.to_uppercase();
        for path in [
            "/system.slice/nginx.service",
            "/user.slice/user-1000.slice/session-3.scope",
            &format!("/machine.slice/libpod-conmon-{ID}.scope"),
            &format!("/system.slice/crio-conmon-{ID}.scope"),
            &format!("/system.slice/docker-{short}.scope"),
            &format!("/system.slice/docker-{upper}.scope"),
            &format!("/system.slice/docker-{ID}0.scope"),
            &format!("/system.slice/x:unknown:{ID}"),
            "/system.slice/runc-..scope",
            "/system.slice/runc-.hidden.scope",
            "/..",
            "/../../../etc",
            "/\u{1b}[31m",
            "/a b",
            "/",
            "",
        ] {
            assert_eq!(claims(path), [], "{path}");
        }
        let long = format!("/{}", "x".repeat(MAX_NAME_BYTES + 1));
        assert_eq!(claims(&long), []);
    }

    #[test]
    fn every_prefix_of_a_path_is_read_without_a_panic() {
        let path = format!("/kubepods.slice/ä/kubepods-burstable-pod{UID}.slice:cri-containerd:{ID}/x");
        for (end, _) in path.char_indices() {
            claims(&path[..end]);
            unit(&path[..end]);
        }
    }
}
