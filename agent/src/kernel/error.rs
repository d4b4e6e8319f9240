//! Why the kernel source could not start or go on.

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    programs::{ProgramError, links::LinkError},
};
use nix::errno::Errno;
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
        /// For want of something of which there may be enough later.
        transient: bool,
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
        /// As in [`KernelError::Load`].
        transient: bool,
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
        let transient = errno_of(error).is_some_and(is_transient);
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
        KernelError::Load { program, reason, log: log[start..].to_owned(), transient }
    }

    /// There may be enough later of what was lacking: memory, file descriptors, time.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            KernelError::Load { transient: true, .. } | KernelError::Attach { transient: true, .. }
        )
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
        let transient = errno_of(error).is_some_and(is_transient);
        KernelError::Attach { program, hook: hook.into(), reason, transient }
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

/// The error number at the root of an error.
fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.raw_os_error().map(Errno::from_raw),
        None => errno_of(error.source()?),
    }
}

/// What bpf(2) and perf_event_open(2) answer where the same call can succeed later.
fn is_transient(error: Errno) -> bool {
    use Errno::{EAGAIN, EBUSY, EINTR, EMFILE, ENFILE, ENOMEM};
    matches!(error, EAGAIN | EBUSY | EINTR | EMFILE | ENFILE | ENOMEM)
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

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;
    use nix::libc;

    use super::*;

    #[test]
    fn what_may_be_there_later_is_told_from_what_never_will() {
        for (errno, transient) in [
            (libc::ENOMEM, true),
            (libc::EMFILE, true),
            (libc::EAGAIN, true),
            (libc::EPERM, false),
            (libc::EINVAL, false),
            (libc::ENOENT, false),
        ] {
            let io_error = io::Error::from_raw_os_error(errno);
            let error = ProgramError::SyscallError(SyscallError { call: "bpf_link_create", io_error });
            assert_eq!(KernelError::attach("program", "hook", &error).is_transient(), transient, "{errno}");
            assert_eq!(KernelError::load("program", &error).is_transient(), transient, "{errno}");
        }
    }
}
