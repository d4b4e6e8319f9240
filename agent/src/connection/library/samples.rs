//! What tests of library evidence are made of.

use bytes::Bytes;

use super::assembly::Whole;
use crate::event::{
    Library, LibraryBytes, LibraryCall, LibraryForm, LibrarySocket, Presenter, ProcessKey, Task, Timestamp,
};

pub(super) fn task(pid: u32, thread: u32) -> Task {
    let process = ProcessKey { pid, start_time: 7 };
    Task { process, thread, uid: 0, cgroup: 1, comm: [0; 16], kernel_thread: false }
}

/// A call of a thread of process 200.
pub(super) fn call(thread: u32, socket: Option<LibrarySocket>) -> LibraryCall {
    LibraryCall { at: Timestamp(6), task: task(200, thread), library: Library::OpenSsl, socket }
}

pub(super) fn run(
    call: LibraryCall,
    form: LibraryForm,
    total: u32,
    offset: u32,
    bytes: &[u8],
) -> LibraryBytes {
    let bytes = Bytes::copy_from_slice(bytes);
    LibraryBytes { call, presenter: Presenter::Peer, form, total, offset, bytes }
}

pub(super) fn whole(form: LibraryForm, bytes: &[u8]) -> Whole {
    let bytes = Bytes::copy_from_slice(bytes);
    let total = bytes.len() as u32;
    Whole { call: call(1, None), presenter: Presenter::Peer, form, total, bytes }
}

/// Looks like a certificate from outside, at least 132 bytes long.
pub(super) fn certificate(seed: u32, length: usize) -> Bytes {
    let mut der = match length {
        ..260 => vec![0x30, 0x81, (length - 3) as u8],
        _ => vec![0x30, 0x82, ((length - 4) >> 8) as u8, (length - 4) as u8],
    };
    der.push(0x30);
    der.extend(seed.to_be_bytes());
    der.resize(length, 0x5a);
    der.into()
}

/// Its certificate_list.
pub(super) fn list_of(chain: &[Bytes], modern: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for der in chain {
        list.extend(&(der.len() as u32).to_be_bytes()[1..]);
        list.extend(der);
        if modern {
            list.extend([0, 0]);
        }
    }
    list
}
