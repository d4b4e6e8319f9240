//! What the probes of TLS libraries share: which socket a call belongs to, and how certificates are shipped. Nothing but
//! certificates and outcomes is ever copied.

use aya_ebpf::helpers::{
    bpf_get_current_task, bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit,
    generated::bpf_probe_read_user,
};
use core::hint::black_box;
use countersign_common::{
    COMM_BYTES, LIBRARY_CHUNK_BYTES, LIBRARY_CHUNKS_MAX, LibraryBytesRecord, LibraryVerificationRecord,
    TaskRecord, counter, family, form, kind, presenter, socket_by,
};

use crate::{
    certificates::list_of,
    connect::TCP,
    events::{header, reserve, spares_room, submit},
    kernel::{offset, read},
    maps::{EVENTS, count, raw},
    receive::last_receive,
    task::write_current,
};

/// The kind of file that is a socket (`S_IFSOCK`), and the mask of the kinds (`S_IFMT`, include/uapi/linux/stat.h).
const SOCKET_MODE: u16 = 0o140_000;
const MODE_MASK: u16 = 0o170_000;

/// What is shipped.
#[derive(Clone, Copy)]
pub struct Subject {
    /// One of `library`.
    pub library: u32,
    /// One of `presenter`.
    pub presenter: u32,
    /// One of `form`.
    pub form: u32,
}

/// How to find the socket of a call.
#[derive(Clone, Copy)]
pub enum Whose {
    /// It is the one from which the thread received last.
    LastReceive,
    /// The library's structures name this file descriptor.
    Descriptor(i32),
}

/// Where a call belongs.
struct Place {
    cookie: u64,
    received_at: u64,
    by: u32,
}

#[inline(always)]
fn place(whose: Whose) -> Place {
    let received = last_receive();
    match whose {
        Whose::LastReceive => match received {
            Some(received) => {
                Place { cookie: received.socket, received_at: received.at, by: socket_by::LAST_RECEIVE }
            }
            None => Place { cookie: 0, received_at: 0, by: socket_by::NONE },
        },
        Whose::Descriptor(descriptor) => {
            let cookie = socket_of(descriptor);
            let received_at = match received {
                Some(received) if received.socket == cookie => received.at,
                _ => 0,
            };
            let by = if cookie == 0 { socket_by::NONE } else { socket_by::DESCRIPTOR };
            Place { cookie, received_at, by }
        }
    }
}

/// The cookie of the TCP socket that a file descriptor of the current process stands for; 0 if it is none, or if none of
/// the hooks has met it yet.
#[inline(always)]
fn socket_of(descriptor: i32) -> u64 {
    if descriptor < 0 {
        return 0;
    }
    let files: u64 = read(unsafe { bpf_get_current_task() }, offset!(task_files));
    let table: u64 = read(files, offset!(files_table));
    if descriptor as u32 >= read::<u32>(table, offset!(table_size)) {
        return 0;
    }
    let array: u64 = read(table, offset!(table_files));
    let file: u64 = read(array.wrapping_add(descriptor as u64 * 8), 0);
    let mode: u16 = read(read(file, offset!(file_inode)), offset!(inode_mode));
    if mode & MODE_MASK != SOCKET_MODE {
        return 0;
    }
    let sock: u64 = read(read(file, offset!(file_private)), offset!(socket_sk));
    let family: u16 = read(sock, offset!(sock_family));
    let protocol: u16 = read(sock, offset!(sock_protocol));
    let internet = u32::from(family) == family::INET || u32::from(family) == family::INET6;
    if internet && u32::from(protocol) == TCP { read(sock, offset!(sock_cookie)) } else { 0 }
}

/// Ships the list of the peer that begins with the certificate at `der`, and says whether there is one.
#[inline(always)]
pub fn ship_list_of(library: u32, der: u64, length: u64) -> bool {
    let Ok(length) = u32::try_from(length) else { return false };
    let Some(list) = list_of(der, length) else { return false };
    ship_list(library, presenter::PEER, list);
    true
}

/// Ships a list that a Certificate message of TLS 1.3 holds.
#[inline(always)]
pub fn ship_list(library: u32, presenter: u32, (list, total): (u64, u32)) {
    ship_certificates(Subject { library, presenter, form: form::LIST }, Whose::LastReceive, list, total);
}

/// Ships `total` bytes at `address` of the process that runs, as far as the bound goes.
#[inline(always)]
pub fn ship_certificates(subject: Subject, whose: Whose, address: u64, total: u32) {
    if !spares_room() {
        return;
    }
    let Place { cookie, received_at, by } = place(whose);
    let mut record = LibraryBytesRecord {
        header: header(kind::LIBRARY_BYTES, by, cookie, 0),
        task: NOBODY,
        received_at,
        library: subject.library,
        presenter: subject.presenter,
        form: subject.form,
        total,
        offset: 0,
        length: LIBRARY_CHUNK_BYTES as u32,
    };
    write_current(&raw mut record.task);
    let mut left = total;
    // Whole chunks first, with one path only that goes on: the verifier follows each.
    for _ in 0..LIBRARY_CHUNKS_MAX - 1 {
        if left <= LIBRARY_CHUNK_BYTES as u32 {
            break;
        }
        if !ship_chunk::<LIBRARY_CHUNK_BYTES>(&record, address) {
            return;
        }
        record.offset = record.offset.wrapping_add(LIBRARY_CHUNK_BYTES as u32);
        left -= LIBRARY_CHUNK_BYTES as u32;
    }
    record.length = left.min(LIBRARY_CHUNK_BYTES as u32);
    // Few sizes, since the room in the ring must be a constant: one certificate, a short chain, a chunk of a longer one.
    match record.length {
        0 => {}
        1..=1024 => _ = ship_chunk::<1024>(&record, address),
        1025..=2048 => _ = ship_chunk::<2048>(&record, address),
        _ => _ = ship_chunk::<LIBRARY_CHUNK_BYTES>(&record, address),
    }
}

/// A task whose fields are to be written.
const NOBODY: TaskRecord =
    TaskRecord { start_time: 0, cgroup: 0, pid: 0, thread: 0, uid: 0, flags: 0, comm: [0; COMM_BYTES] };

/// One chunk of at most `ROOM` bytes, a power of two. What cannot be read is counted.
#[inline(always)]
fn ship_chunk<const ROOM: usize>(record: &LibraryBytesRecord, address: u64) -> bool {
    unsafe {
        let size = (size_of::<LibraryBytesRecord>() + ROOM) as u64;
        let room = bpf_ringbuf_reserve(raw(&EVENTS), size, 0);
        if room.is_null() {
            count(counter::RING_FULL, 1);
            return false;
        }
        *room.cast::<LibraryBytesRecord>() = *record;
        // Linux 6.1 wants to see that the length is not 0; the black box keeps LLVM from removing what it knows to be
        // redundant.
        let length = (black_box(record.length).wrapping_sub(1) & (ROOM as u32 - 1)) + 1;
        let target = room.byte_add(size_of::<LibraryBytesRecord>());
        let source = address.wrapping_add(u64::from(record.offset)) as *const _;
        if bpf_probe_read_user(target, length, source) != 0 {
            bpf_ringbuf_discard(room, 0);
            count(counter::UNREADABLE_CERTIFICATES, 1);
            return false;
        }
        bpf_ringbuf_submit(room, 0);
    }
    true
}

/// Ships what a library said of the peer's certificate.
#[inline(always)]
pub fn ship_verdict(library: u32, whose: Whose, verdict: u32, code: i32) {
    if !spares_room() {
        return;
    }
    let Place { cookie, received_at, by } = place(whose);
    let Some(record) = reserve::<LibraryVerificationRecord>() else { return };
    unsafe {
        (*record).header = header(kind::LIBRARY_VERIFICATION, by, cookie, 0);
        write_current(&raw mut (*record).task);
        (*record).received_at = received_at;
        (*record).library = library;
        (*record).verdict = verdict;
        (*record).code = code;
        (*record).reserved = 0;
    }
    submit(record);
}
