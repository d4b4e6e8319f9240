//! Fuzz body: any bytes as what a library handed over.

use bytes::Bytes;

use super::assembly::{Assembly, MAX_WHOLE};
use super::list::{self, MAX_CHAIN};
use super::{LibraryCounts, LibraryOutcome};
use crate::event::{Library, LibraryBytes, LibraryCall, LibraryForm, Presenter, ProcessKey, Task, Timestamp};

/// Each operation is five bytes for thread, form, total and offset, one for how much, then the bytes themselves. Whatever
/// comes: no panic, bounded wholes and chains, and every certificate a part of what came.
pub fn fuzz(data: &[u8]) {
    let (mut assembly, mut counts) = (Assembly::default(), LibraryCounts::default());
    let mut rest = data;
    while let Some((&[what, high, low, place, count], after)) = rest.split_first_chunk::<5>() {
        let (bytes, after) = after.split_at(after.len().min(usize::from(count) << 5));
        rest = after;
        let process = ProcessKey { pid: 1, start_time: 1 };
        let thread = u32::from(what & 3);
        let task = Task { process, thread, uid: 0, cgroup: 0, comm: [0; 16], kernel_thread: false };
        let run = LibraryBytes {
            call: LibraryCall { at: Timestamp(1), task, library: Library::Go, socket: None },
            presenter: Presenter::Peer,
            form: [LibraryForm::List, LibraryForm::Leaf, LibraryForm::Following][usize::from(what >> 2) % 3],
            total: u32::from(u16::from_be_bytes([high, low])) << (what >> 6),
            offset: u32::from(place) << 5,
            bytes: Bytes::copy_from_slice(bytes),
        };
        let Some(whole) = assembly.take(&run, &mut counts) else { continue };
        assert!(whole.bytes.len() <= MAX_WHOLE);
        for modern in [false, true] {
            let Ok(shown) = list::read(&whole, modern) else { continue };
            assert!(shown.certificates.len() <= MAX_CHAIN);
            let inside: usize = shown.certificates.iter().map(Bytes::len).sum();
            assert!(inside <= whole.bytes.len());
        }
    }
    assembly.sweep(Timestamp(u64::MAX), &mut counts);
    assert_eq!(counts.of(Library::Go, LibraryOutcome::Attributed), 0);
}
