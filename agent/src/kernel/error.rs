//! Why the kernel source could not start or go on.

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    programs::{ProgramError, links::LinkError},
};
use thiserror::Error;

/// Characters of a verifier log that are kept, from its end: the reason stands there.
const LOG_TAIL: usize = 4000;

/// See the variants; each says what to do where that is known.
#[derive(Debug, Error)]
pub enum KernelError {
    /// No cgroup v2 hierarchy is mounted.
    #[error("no cgroup v2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")]
    NoCgroup,
    /// The root cgroup cannot be opened.
    #[error("cgroup {} cannot be opened", path.display())]
    Cgroup {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ring buffer's size is refused.
    #[error("ring buffer of {bytes} bytes: must be a power of two of at least 65536")]
    RingSize {
        /// What was asked for.
        bytes: u32,
    },
    /// The object or its maps are refused.
    #[error("the kernel programs' object or maps are refused{}", remedy_for_load(source))]
    Object {
        /// Why.
        #[source]
        source: Box<EbpfError>,
    },
    /// The embedded object lacks a part.
    #[error("the embedded object has no {kind} {name}: the build is broken")]
    Missing {
        /// Program or map.
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// A program does not load.
    #[error("program {program} is refused by the kernel: {reason}\n{log}")]
    Load {
        /// Which.
        program: &'static str,
        /// The kernel's answer.
        reason: String,
        /// End of the verifier's log.
        log: String,
    },
    /// A program does not attach.
    #[error("program {program} does not attach to {hook}: {reason}")]
    Attach {
        /// Which.
        program: &'static str,
        /// Where.
        hook: String,
        /// The kernel's answer, and what to do.
        reason: String,
    },
    /// A map operation failed.
    #[error("map {map} failed")]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        #[source]
        source: Box<MapError>,
    },
    /// Open sockets cannot be listed by way of `/proc` and sock_diag.
    #[error("open sockets cannot be listed: {reason}")]
    Existing {
        /// Why.
        reason: String,
    },
    /// The socket iterator cannot be used.
    #[error("the socket iterator is not available: {reason}")]
    Iterator {
        /// Why.
        reason: String,
    },
}

impl KernelError {
    /// A refused program, with the end of the verifier's log.
    pub(super) fn load(program: &'static str, error: &ProgramError) -> KernelError {
        let (reason, log) = match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let remedy = match io_error.raw_os_error() {
                    Some(nix::libc::EPERM) => "; run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
                    _ => "",
                };
                (format!("{io_error}{remedy}"), verifier_log.to_string())
            }
            other => (other.to_string(), String::new()),
        };
        let start = log.char_indices().rev().nth(LOG_TAIL).map_or(0, |(index, _)| index);
        KernelError::Load { program, reason, log: log[start..].to_owned() }
    }

    /// A refused attachment.
    pub(super) fn attach(
        program: &'static str,
        hook: impl Into<String>,
        error: &ProgramError,
    ) -> KernelError {
        let reason = match error {
            ProgramError::SyscallError(error) => {
                let remedy = match error.io_error.raw_os_error() {
                    Some(nix::libc::EPERM) => {
                        "; another program holds the hook exclusively (bpftool cgroup tree), or CAP_NET_ADMIN is missing"
                    }
                    _ => "",
                };
                format!("{}: {}{remedy}", error.call, error.io_error)
            }
            other => other.to_string(),
        };
        KernelError::Attach { program, hook: hook.into(), reason }
    }

    pub(super) fn map(map: &'static str) -> impl FnOnce(MapError) -> KernelError {
        move |source| KernelError::Map { map, source: Box::new(source) }
    }

    pub(super) fn iterator(reason: impl ToString) -> KernelError {
        KernelError::Iterator { reason: reason.to_string() }
    }

    pub(super) fn existing(reason: impl ToString) -> KernelError {
        KernelError::Existing { reason: reason.to_string() }
    }
}

impl From<LinkError> for KernelError {
    fn from(error: LinkError) -> KernelError {
        KernelError::iterator(error)
    }
}

fn remedy_for_load(error: &EbpfError) -> &'static str {
    match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. })
            if io_error.raw_os_error() == Some(nix::libc::EPERM) =>
        {
            "; run as root or with CAP_BPF and CAP_NET_ADMIN"
        }
        _ => "",
    }
}
