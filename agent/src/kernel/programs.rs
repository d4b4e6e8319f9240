//! The embedded object: which programs there are, and how each is loaded and attached.

use std::fs::File;

use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    maps::Map,
    programs::{CgroupAttachMode, Program},
};

use super::{KernelError, KernelOptions, cgroup, existing, offsets};

/// Compiled by build.rs.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/countersign-ebpf"));

/// A ring buffer smaller than this holds no burst of handshakes.
const RING_BYTES_MIN: u32 = 65_536;

/// Hooks of the root cgroup, in the order in which they must be attached: those that give a socket
/// its storage before those that read packets.
pub(super) const CGROUP_PROGRAMS: [&str; 8] = [
    "socket_operations",
    "connect4",
    "connect6",
    "getpeername4",
    "getpeername6",
    "sock_release",
    "egress",
    "ingress",
];

/// Raw tracepoints; program and tracepoint have the same name. Without them, processes are known
/// from `/proc` only.
pub(super) const TRACEPOINTS: [&str; 3] = ["sched_process_fork", "sched_process_exec", "sched_process_exit"];

/// Something this kernel refused and the source does without.
#[derive(Debug, Clone)]
pub struct Unavailable {
    /// The program.
    pub program: &'static str,
    /// Why, in the kernel's words.
    pub reason: String,
}

impl Unavailable {
    pub(super) fn new(program: &'static str, error: &KernelError) -> Self {
        Unavailable { program, reason: error.to_string() }
    }
}

pub(super) struct Loaded {
    pub ebpf: Ebpf,
    pub unavailable: Vec<Unavailable>,
}

/// Loads and attaches everything.
pub(super) fn start(options: &KernelOptions) -> Result<Loaded, KernelError> {
    let mut ebpf = object(options)?;
    let root = root(options)?;
    let mut unavailable = Vec::new();
    for program in TRACEPOINTS {
        if let Err(error) = attach_tracepoint(&mut ebpf, program) {
            unavailable.push(Unavailable::new(program, &error));
        }
    }
    for program in CGROUP_PROGRAMS {
        attach_to_cgroup(&mut ebpf, program, &root)?;
    }
    if let Err(error) = load_iterator(&mut ebpf) {
        unavailable.push(Unavailable::new(existing::PROGRAM, &error));
    }
    Ok(Loaded { ebpf, unavailable })
}

/// Creates the maps. No program is loaded yet.
pub(super) fn object(options: &KernelOptions) -> Result<Ebpf, KernelError> {
    let bytes = options.ring_bytes;
    if !bytes.is_power_of_two() || bytes < RING_BYTES_MIN {
        return Err(KernelError::RingSize { bytes });
    }
    let offsets = offsets::of_running_kernel();
    let whole = hierarchy(options).is_some_and(|hierarchy| hierarchy.is_root);
    let loopback_once = u32::from(options.loopback_once && whole);
    EbpfLoader::new()
        // The object has no relocations against the kernel's types.
        .btf(None)
        .override_global("OFFSETS", offsets.words.as_slice(), true)
        .override_global("START_BUDGET_SENT", &options.start_budget, true)
        .override_global("START_BUDGET_RECEIVED", &options.start_budget, true)
        .override_global("LOOPBACK_ONCE", &loopback_once, true)
        .map_max_entries("EVENTS", bytes)
        // The storage of tasks, which nobody but the programs reads.
        .allow_unsupported_maps()
        .load(OBJECT)
        .map_err(|source| KernelError::Object { source: Box::new(source) })
}

/// The part of the cgroup hierarchy that is to be watched.
pub(super) fn hierarchy(options: &KernelOptions) -> Option<cgroup::Hierarchy> {
    match &options.cgroup_root {
        Some(path) => Some(cgroup::at(path)),
        None => cgroup::find(),
    }
}

/// Opens the root cgroup.
pub(super) fn root(options: &KernelOptions) -> Result<File, KernelError> {
    let path = hierarchy(options).ok_or(KernelError::NoCgroup)?.path;
    File::open(&path).map_err(|source| KernelError::Cgroup { path, source })
}

/// Loads one of [`CGROUP_PROGRAMS`] and attaches it by a link.
pub(super) fn attach_to_cgroup(ebpf: &mut Ebpf, name: &'static str, root: &File) -> Result<(), KernelError> {
    // A link takes no flags: `Single` is 0, and still shares the hook with other links.
    let mode = CgroupAttachMode::Single;
    let load = |error| KernelError::load(name, &error);
    let attach = |error| KernelError::attach(name, "the root cgroup", &error);
    match program(ebpf, name)? {
        Program::CgroupSockAddr(program) => {
            program.load().map_err(load)?;
            program.attach(root, mode).map_err(attach)?;
        }
        Program::CgroupSock(program) => {
            program.load().map_err(load)?;
            program.attach(root, mode).map_err(attach)?;
        }
        Program::SockOps(program) => {
            program.load().map_err(load)?;
            program.attach(root, mode).map_err(attach)?;
        }
        Program::CgroupSkb(program) => {
            use aya::programs::CgroupSkbAttachType::{Egress, Ingress};
            program.load().map_err(load)?;
            let direction = if name == "egress" { Egress } else { Ingress };
            program.attach(root, direction, mode).map_err(attach)?;
        }
        _ => return Err(KernelError::Missing { kind: "program", name }),
    }
    Ok(())
}

/// Loads and attaches one of [`TRACEPOINTS`].
pub(super) fn attach_tracepoint(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let Program::RawTracePoint(program) = program(ebpf, name)? else {
        return Err(KernelError::Missing { kind: "program", name });
    };
    program.load().map_err(|error| KernelError::load(name, &error))?;
    program.attach(name).map_err(|error| KernelError::attach(name, format!("tracepoint {name}"), &error))?;
    Ok(())
}

/// Loads the socket iterator.
pub(super) fn load_iterator(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let btf = Btf::from_sys_fs().map_err(KernelError::iterator)?;
    let name = existing::PROGRAM;
    let Program::Iter(program) = program(ebpf, name)? else {
        return Err(KernelError::Missing { kind: "program", name });
    };
    program.load(name, &btf).map_err(|error| KernelError::load(name, &error))
}

/// One of the object's programs.
pub(super) fn program<'ebpf>(
    ebpf: &'ebpf mut Ebpf,
    name: &'static str,
) -> Result<&'ebpf mut Program, KernelError> {
    ebpf.program_mut(name).ok_or(KernelError::Missing { kind: "program", name })
}

/// One of the object's maps.
pub(super) fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, KernelError> {
    ebpf.take_map(name).ok_or(KernelError::Missing { kind: "map", name })
}
