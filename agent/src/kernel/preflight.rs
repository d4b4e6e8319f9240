//! Can it run here, and if not, why?

use std::{fs, path::Path};

use aya::Ebpf;

use super::{KernelError, KernelOptions, cgroup, existing, offsets, probes, programs};

/// Oldest kernel whose helpers the programs keep to.
const KERNEL_EXPECTED: (u32, u32) = (5, 15);
/// Oldest kernel that has every hook; untried.
const KERNEL_MIN: (u32, u32) = (5, 11);
/// Kernels that every release is tried on.
const KERNELS_TRIED: &str = "6.1, 6.12 and 6.18";

/// Ring of the trial: the smallest, it is thrown away.
const TRIAL_RING_BYTES: u32 = 65_536;

/// Capabilities (linux/capability.h): number, name, whether nothing works without it, what for.
const CAPABILITIES: [(u32, &str, bool, &str); 6] = [
    (39, "CAP_BPF", true, "load programs"),
    (12, "CAP_NET_ADMIN", true, "attach them to the network hooks"),
    (38, "CAP_PERFMON", true, "read the start of a process, attach to tracepoints"),
    (19, "CAP_SYS_PTRACE", false, "name the executables of other users"),
    (2, "CAP_DAC_READ_SEARCH", false, "read the root cgroup and container state"),
    (21, "CAP_SYS_ADMIN", false, "look into other namespaces"),
];

/// How much of something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    /// All of it.
    Works,
    /// The agent runs with less.
    Degraded,
    /// The agent does not run without it.
    Missing,
    /// What no host lets it see.
    Limit,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was asked: a program's name, or a few words.
    pub name: &'static str,
    /// The answer.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do, where something can be done.
    pub remedy: Option<String>,
}

impl Check {
    fn works(name: &'static str, detail: impl Into<String>) -> Check {
        Check { name, status: CheckStatus::Works, detail: detail.into(), remedy: None }
    }

    fn lacks(name: &'static str, status: CheckStatus, detail: impl Into<String>, remedy: &str) -> Check {
        let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
        Check { name, status, detail: detail.into(), remedy }
    }
}

/// Asks everything. Programs are loaded and attached for a moment, since nothing else tells for
/// sure; a running agent is not disturbed.
pub fn preflight(options: &KernelOptions) -> Vec<Check> {
    let mut checks = vec![
        kernel_version(),
        rights(&read("/proc/self/status")),
        hierarchy(options),
        kernel_types(),
        lockdown(&read("/sys/kernel/security/lockdown")),
        compiler(&read("/proc/sys/net/core/bpf_jit_enable")),
    ];
    trial(options, &mut checks);
    checks.push(unseen());
    checks
}

/// Whether this process may load and attach the programs at all.
pub fn has_rights() -> bool {
    rights(&read("/proc/self/status")).status != CheckStatus::Missing
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn kernel_version() -> Check {
    let release = read("/proc/sys/kernel/osrelease");
    let release = release.trim();
    let name = "kernel";
    match version_of(release) {
        Some(version) if version >= KERNEL_EXPECTED => {
            Check::works(name, format!("Linux {release}; tried on {KERNELS_TRIED}"))
        }
        Some(version) if version >= KERNEL_MIN => Check::lacks(
            name,
            CheckStatus::Degraded,
            format!("Linux {release} is older than 5.15 and not tried"),
            "use Linux 5.15 or newer",
        ),
        _ => Check::lacks(
            name,
            CheckStatus::Missing,
            format!("Linux {release} lacks the hooks"),
            "use Linux 5.15 or newer",
        ),
    }
}

fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn rights(status: &str) -> Check {
    let name = "rights";
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let Some(effective) = effective else {
        return Check::lacks(
            name,
            CheckStatus::Degraded,
            "/proc/self/status does not tell the capabilities",
            "mount /proc",
        );
    };
    let lacking: Vec<_> = CAPABILITIES.iter().filter(|(bit, ..)| effective >> bit & 1 == 0).collect();
    if lacking.is_empty() {
        return Check::works(name, "all capabilities are there");
    }
    let needed = lacking.iter().any(|(_, _, needed, _)| *needed);
    let names: Vec<_> = lacking.iter().map(|(_, name, _, reason)| format!("{name} ({reason})")).collect();
    let status = if needed { CheckStatus::Missing } else { CheckStatus::Degraded };
    Check::lacks(
        name,
        status,
        format!("without {}", names.join(", ")),
        "run as root, or grant them to the service (AmbientCapabilities=)",
    )
}

fn hierarchy(options: &KernelOptions) -> Check {
    let name = "cgroup v2";
    let found = match &options.cgroup_root {
        Some(path) => Some(cgroup::at(path)).filter(|hierarchy| hierarchy.path.is_dir()),
        None => cgroup::find(),
    };
    match found {
        None => Check::lacks(
            name,
            CheckStatus::Missing,
            KernelError::NoCgroup.to_string(),
            "mount -t cgroup2 none /sys/fs/cgroup, or name its folder in the configuration",
        ),
        Some(found) if !found.is_root => Check::lacks(
            name,
            CheckStatus::Degraded,
            format!("{} is a part of the hierarchy: processes outside are not seen", found.path.display()),
            "run on the host, or in its cgroup namespace (--cgroupns=host)",
        ),
        Some(found) => Check::works(name, format!("root at {}", found.path.display())),
    }
}

fn kernel_types() -> Check {
    let name = "kernel types (BTF)";
    let missing = offsets::of_running_kernel().missing;
    if missing.is_empty() {
        return Check::works(name, offsets::KERNEL_BTF);
    }
    let detail = if fs::metadata(offsets::KERNEL_BTF).is_ok() {
        format!("not to be read: {}", missing.join(", "))
    } else {
        format!("{} is not there: no start times of processes, no older sockets", offsets::KERNEL_BTF)
    };
    Check::lacks(name, CheckStatus::Degraded, detail, "use a kernel with CONFIG_DEBUG_INFO_BTF=y")
}

fn lockdown(modes: &str) -> Check {
    let name = "lockdown";
    let mode = modes.split(['[', ']']).nth(1).unwrap_or("none");
    if mode == "confidentiality" {
        return Check::lacks(
            name,
            CheckStatus::Degraded,
            "confidentiality: programs may not read kernel memory; no start times of processes, no older sockets",
            "boot with lockdown=integrity",
        );
    }
    Check::works(name, mode)
}

fn compiler(enabled: &str) -> Check {
    let name = "BPF compiler";
    if enabled.trim() == "0" {
        return Check::lacks(
            name,
            CheckStatus::Degraded,
            "programs are interpreted, several times slower",
            "sysctl net.core.bpf_jit_enable=1",
        );
    }
    Check::works(name, "on")
}

/// Loads and attaches each program by itself.
fn trial(options: &KernelOptions, checks: &mut Vec<Check>) {
    let options = KernelOptions { ring_bytes: TRIAL_RING_BYTES, ..options.clone() };
    let name = "kernel programs";
    let (mut ebpf, root) =
        match programs::object(&options).and_then(|ebpf| Ok((ebpf, programs::root(&options)?))) {
            Ok(both) => both,
            Err(error) => return checks.push(Check::lacks(name, CheckStatus::Missing, explain(&error), "")),
        };
    for program in programs::CGROUP_PROGRAMS {
        let result = programs::attach_to_cgroup(&mut ebpf, program, &root);
        checks.push(tried(program, result, CheckStatus::Missing, ""));
    }
    for program in programs::TRACEPOINTS {
        let result = programs::attach_tracepoint(&mut ebpf, program);
        let remedy = "short-lived processes may stay unnamed; use a kernel with CONFIG_BPF_EVENTS=y";
        checks.push(tried(program, result, CheckStatus::Degraded, remedy));
    }
    let result = iterator(&mut ebpf);
    let reason = result.as_ref().err().map(explain);
    let remedy = "sockets older than the agent are sought in /proc, which is slower; use a kernel with BTF";
    checks.push(tried(existing::PROGRAM, result, CheckStatus::Degraded, remedy));
    checks.push(older_sockets(reason));
    checks.push(probes_of_libraries(&mut ebpf));
    let result = probes::load_receives(&mut ebpf).and_then(|()| probes::attach_receives(&mut ebpf).map(drop));
    let remedy = "certificates read at TLS libraries are joined to connections by their sizes only; use Linux 6.3 or newer";
    checks.push(tried(probes::RECEIVES, result, CheckStatus::Degraded, remedy));
}

fn probes_of_libraries(ebpf: &mut Ebpf) -> Check {
    let name = "library probes";
    let remedy = "certificates behind TLS 1.3 are not seen; use a kernel with CONFIG_UPROBE_EVENTS=y";
    let refused = probes::load_all(ebpf);
    match refused.first() {
        None => tried(name, probes::attach_to_self(ebpf), CheckStatus::Degraded, remedy),
        Some(first) => {
            let detail = format!("{} programs are refused, the first: {}", refused.len(), explain(first));
            Check::lacks(name, CheckStatus::Degraded, detail, "")
        }
    }
}

fn iterator(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    programs::load_iterator(ebpf)?;
    existing::iterator::prove(ebpf)
}

/// By which way sockets that are older than the agent are found, and what that way does not show here.
fn older_sockets(without_iterator: Option<String>) -> Check {
    let name = "older sockets";
    let Some(reason) = without_iterator else {
        return Check::works(name, "found by the kernel's iterator over open files (task_file)");
    };
    let why = format!("since task_file does not run ({reason})");
    let remedy = "what is not found is listed with its next packet, without an owner";
    match existing::files::read(Path::new("/proc")) {
        Err(error) => {
            let detail = format!("not found: {}, {why}", explain(&error));
            Check::lacks(name, CheckStatus::Degraded, detail, remedy)
        }
        Ok(found) if found.missed.is_empty() => {
            Check::works(name, format!("found in /proc and by sock_diag, {why}"))
        }
        Ok(found) => {
            let missed = found.missed.reasons().join("; ");
            let detail = format!("found in /proc and by sock_diag, {why}; not all of them: {missed}");
            Check::lacks(name, CheckStatus::Degraded, detail, remedy)
        }
    }
}

fn tried(name: &'static str, result: Result<(), KernelError>, otherwise: CheckStatus, remedy: &str) -> Check {
    match result {
        Ok(()) => Check::works(name, "loads and attaches"),
        Err(error) => Check::lacks(name, otherwise, explain(&error), remedy),
    }
}

/// An error with its causes.
fn explain(error: &KernelError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.trim_end().to_owned()
}

/// What no host shows to these hooks, and whether this one has some of it.
fn unseen() -> Check {
    let name = "not seen";
    let never = "payload redirected by sockmap, AF_XDP and user-space stacks, forwarded traffic without a local socket";
    let mut here = Vec::new();
    if read("/proc/net/protocols").lines().any(|line| line.starts_with("SMC")) {
        here.push("SMC");
    }
    if fs::read_dir("/sys/class/infiniband").is_ok_and(|mut devices| devices.next().is_some()) {
        here.push("RDMA");
    }
    if here.is_empty() {
        let detail = format!("{never}; RDMA and SMC are not in use here");
        return Check::lacks(name, CheckStatus::Limit, detail, "");
    }
    Check::lacks(
        name,
        CheckStatus::Degraded,
        format!("this host has {}, whose connections bypass TCP; as everywhere: {never}", here.join(" and ")),
        "",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_as_numbers() {
        assert_eq!(version_of("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version_of("5.4"), Some((5, 4)));
        assert!(version_of("5.4").unwrap() < KERNEL_MIN);
        assert_eq!(version_of("linux"), None);
    }

    #[test]
    fn a_missing_capability_is_named_with_its_use() {
        let check = rights("Name:\tx\nCapEff:\t000001bfffffffff\n");
        assert_eq!(check.status, CheckStatus::Missing);
        assert!(check.detail.contains("CAP_PERFMON"), "{}", check.detail);
        assert_eq!(rights("CapEff:\t000001ffffffffff\n").status, CheckStatus::Works);
        assert_eq!(rights("").status, CheckStatus::Degraded);
    }

    #[test]
    fn the_lockdown_mode_is_the_one_in_brackets() {
        assert_eq!(lockdown("none [integrity] confidentiality\n").status, CheckStatus::Works);
        assert_eq!(lockdown("none integrity [confidentiality]\n").status, CheckStatus::Degraded);
        assert_eq!(lockdown("").status, CheckStatus::Works);
    }
}
