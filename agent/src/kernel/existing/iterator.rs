//! The kernel's iterator over open files (`iter/task_file`).

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener},
    os::fd::AsRawFd,
};

use aya::{Ebpf, programs::Program};
use countersign_common::{Record, SocketRecord};

use super::{ExistingSockets, Held, MULTIPATH, PROGRAM, arrange};
use crate::{
    event::{NetworkNamespace, SocketCookie},
    kernel::{
        KernelError, cookie,
        decode::{pair_of, task_of},
        programs::program,
    },
};

/// Runs the iterator once.
pub fn read(ebpf: &mut Ebpf) -> Result<ExistingSockets, KernelError> {
    Ok(arrange(records(ebpf)?.iter().filter_map(held)))
}

/// Checks that the iterator shows this process and the cookie of a socket it has just opened: its
/// program follows the kernel's own description of structures, which a patched kernel can get wrong.
pub fn prove(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(KernelError::iterator)?;
    let local = listener.local_addr().map_err(KernelError::iterator)?;
    let cookie = cookie::of(&listener).map_err(KernelError::iterator)?;
    let found = read(ebpf)?.listeners;
    let seen = found.iter().find(|seen| seen.socket.0 == cookie);
    match seen {
        None => Err(KernelError::iterator(format!(
            "it does not show the agent's own socket (descriptor {})",
            listener.as_raw_fd()
        ))),
        Some(seen) if seen.owner.process.pid != std::process::id() => Err(KernelError::iterator(format!(
            "it shows the agent's own process as {} instead of {}",
            seen.owner.process.pid,
            std::process::id()
        ))),
        Some(seen) if seen.local != local => {
            Err(KernelError::iterator(format!("it shows {} instead of {local}", seen.local)))
        }
        Some(_) => Ok(()),
    }
}

fn records(ebpf: &mut Ebpf) -> Result<Vec<SocketRecord>, KernelError> {
    let Program::Iter(iterator) = program(ebpf, PROGRAM)? else {
        return Err(KernelError::Missing { kind: "program", name: PROGRAM });
    };
    let link = iterator.attach().map_err(KernelError::iterator)?;
    let mut file = iterator.take_link(link).map_err(KernelError::iterator)?.into_file()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(KernelError::iterator)?;
    Ok(bytes.chunks_exact(size_of::<SocketRecord>()).filter_map(SocketRecord::read).collect())
}

fn held(record: &SocketRecord) -> Option<Held> {
    Some(Held {
        socket: SocketCookie(record.socket),
        netns: NetworkNamespace(record.netns),
        pair: pair_of(&record.pair)?,
        state: record.state,
        multipath: record.protocol == MULTIPATH,
        owner: Some(task_of(&record.task)),
    })
}
