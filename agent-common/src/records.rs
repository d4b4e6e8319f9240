//! Records that cross the kernel border.

use core::mem::{offset_of, size_of};

use crate::{COMM_BYTES, PATH_BYTES, field::Field};

/// A record that can be decoded from bytes.
pub trait Record: Copy {
    /// Copies a record from the start of `bytes`, whatever their alignment; `None` if they are
    /// too few. There are no other errors: any bytes are a valid record.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// Defines records whose size is asserted to be the sum of their fields: reading the fields one
/// after another is then the same as copying the structure, and needs no unsafe code.
macro_rules! records {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident = $size:literal {
            $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        const _: () = assert!(size_of::<$name>() == $size && 0 $(+ size_of::<$type>())* == $size);

        impl Field for $name {
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Some($name { $($field: Field::take(bytes)?,)* })
            }
        }

        impl Record for $name {
            fn read(mut bytes: &[u8]) -> Option<Self> {
                Field::take(&mut bytes)
            }
        }
    )*};
}

records! {
    /// Starts every ring-buffer record.
    pub struct Header = 32 {
        /// Nanoseconds since boot.
        pub at: u64,
        /// Socket cookie, 0 for processes.
        pub socket: u64,
        /// Network namespace cookie, 0 if not known.
        pub netns: u64,
        /// One of [`crate::kind`].
        pub kind: u32,
        /// As [`crate::kind`] says for each kind.
        pub detail: u32,
    }

    /// A task.
    pub struct TaskRecord = 48 {
        /// Start of the thread group leader, nanoseconds since boot; 0 if it could not be read.
        pub start_time: u64,
        /// Id of its cgroup (v2).
        pub cgroup: u64,
        /// Thread group id.
        pub pid: u32,
        /// Thread id.
        pub thread: u32,
        /// Real user id.
        pub uid: u32,
        /// [`crate::task`] flags.
        pub flags: u32,
        /// Name, NUL-padded.
        pub comm: [u8; COMM_BYTES],
    }

    /// The two addresses of a socket.
    pub struct PairRecord = 40 {
        /// Own address: 4 bytes used for IPv4, 16 for IPv6.
        pub local: [u32; 4],
        /// Peer's address.
        pub remote: [u32; 4],
        /// Own port.
        pub local_port: u16,
        /// Peer's port.
        pub remote_port: u16,
        /// One of [`crate::family`].
        pub family: u32,
    }

    /// Connect, peer asked, released.
    pub struct HolderRecord = 120 {
        /// Header.
        pub header: Header,
        /// Who.
        pub task: TaskRecord,
        /// The socket's addresses.
        pub pair: PairRecord,
    }

    /// Three-way handshake done.
    pub struct EstablishedRecord = 80 {
        /// Header.
        pub header: Header,
        /// The socket's addresses.
        pub pair: PairRecord,
        /// Sequence number of the first byte sent.
        pub first_sent: u32,
        /// Sequence number of the first byte received.
        pub first_received: u32,
    }

    /// A run of payload; `length` bytes follow it, then what is left of the reserved room.
    pub struct SegmentRecord = 96 {
        /// Header; its detail holds [`crate::segment`] flags.
        pub header: Header,
        /// Only for listening sockets: as the accepted socket will have it.
        pub pair: PairRecord,
        /// Of the first byte that follows.
        pub sequence: u32,
        /// Of the packet.
        pub acknowledged: u32,
        /// Bytes of the packet behind these that were not shipped.
        pub withheld: u32,
        /// Interface index.
        pub interface: u32,
        /// Bytes that follow.
        pub length: u32,
        /// 0.
        pub reserved: u32,
    }

    /// TCP_CLOSE.
    pub struct ClosedRecord = 48 {
        /// Header; its detail holds a [`crate::close`].
        pub header: Header,
        /// Payload bytes acknowledged by the peer.
        pub sent: u64,
        /// Payload bytes received.
        pub received: u64,
    }

    /// A packet of a socket that is older than the agent.
    pub struct ExistingRecord = 72 {
        /// Header.
        pub header: Header,
        /// The socket's addresses.
        pub pair: PairRecord,
    }

    /// A new process.
    pub struct ForkRecord = 56 {
        /// Header.
        pub header: Header,
        /// Start of the parent.
        pub parent_start: u64,
        /// Start of the child.
        pub child_start: u64,
        /// Thread group id of the parent.
        pub parent: u32,
        /// Thread group id of the child.
        pub child: u32,
    }

    /// A process runs another program.
    pub struct ExecRecord = 344 {
        /// Header.
        pub header: Header,
        /// The process, under its new name.
        pub task: TaskRecord,
        /// Bytes of `path` in use.
        pub path_length: u32,
        /// 0.
        pub reserved: u32,
        /// As given to execve(2).
        pub path: [u8; PATH_BYTES],
    }

    /// What happened to a process: its thread group leader exited, or its libraries changed.
    pub struct ProcessRecord = 48 {
        /// Header.
        pub header: Header,
        /// Start of the process.
        pub start_time: u64,
        /// Thread group id.
        pub pid: u32,
        /// 0.
        pub reserved: u32,
    }

    /// A run of certificate bytes out of a TLS library; `length` bytes follow it, then what is left of the reserved room.
    /// The header's socket is 0 and its detail [`crate::socket_by::NONE`] where the call was not joined to one.
    pub struct LibraryBytesRecord = 112 {
        /// Header; its detail holds a [`crate::socket_by`].
        pub header: Header,
        /// Who called.
        pub task: TaskRecord,
        /// When the thread last received from the socket, nanoseconds since boot; 0 if that was not seen.
        pub received_at: u64,
        /// One of [`crate::library`].
        pub library: u32,
        /// One of [`crate::presenter`].
        pub presenter: u32,
        /// One of [`crate::form`].
        pub form: u32,
        /// Bytes of the whole.
        pub total: u32,
        /// Where these bytes stand in it.
        pub offset: u32,
        /// Bytes that follow.
        pub length: u32,
    }

    /// What a TLS library said of the peer's certificate.
    pub struct LibraryVerificationRecord = 104 {
        /// Header; its detail holds a [`crate::socket_by`].
        pub header: Header,
        /// Who called.
        pub task: TaskRecord,
        /// As in [`LibraryBytesRecord`].
        pub received_at: u64,
        /// One of [`crate::library`].
        pub library: u32,
        /// One of [`crate::verdict`].
        pub verdict: u32,
        /// With [`crate::verdict::FAILED`], the library's own number, 0 if not known.
        pub code: i32,
        /// 0.
        pub reserved: u32,
    }

    /// One open TCP socket of one process, from the iterator; not a ring-buffer record.
    pub struct SocketRecord = 112 {
        /// Socket cookie.
        pub socket: u64,
        /// Network namespace cookie, 0 if not known.
        pub netns: u64,
        /// A holder.
        pub task: TaskRecord,
        /// Addresses.
        pub pair: PairRecord,
        /// One of [`crate::tcp_state`].
        pub state: u32,
        /// IPPROTO_TCP (6) or IPPROTO_MPTCP (262).
        pub protocol: u32,
    }

    /// What user space decided about a socket, the value of the decisions map.
    pub struct DecisionRecord = 16 {
        /// Not 0: nothing more is wanted.
        pub stop: u32,
        /// Payload bytes wanted from the start of what the socket sends.
        pub sent: u32,
        /// The same of what it receives.
        pub received: u32,
        /// 0.
        pub reserved: u32,
    }

    /// Where the running kernel keeps the fields that the programs read, from its BTF, in bytes.
    /// [`Offsets::UNKNOWN`] marks a field that this kernel does not have or that must not be read.
    pub struct Offsets = 136 {
        /// task_struct.tgid
        pub task_tgid: u32,
        /// task_struct.pid
        pub task_pid: u32,
        /// task_struct.group_leader
        pub task_group_leader: u32,
        /// task_struct.start_boottime (real_start_time before 5.5)
        pub task_start: u32,
        /// task_struct.flags
        pub task_flags: u32,
        /// task_struct.comm
        pub task_comm: u32,
        /// task_struct.cred
        pub task_cred: u32,
        /// task_struct.cgroups
        pub task_cgroups: u32,
        /// css_set.dfl_cgrp
        pub css_set_cgroup: u32,
        /// cgroup.kn
        pub cgroup_node: u32,
        /// kernfs_node.id
        pub node_id: u32,
        /// cred.uid
        pub cred_uid: u32,
        /// linux_binprm.filename
        pub binprm_filename: u32,
        /// socket.sk
        pub socket_sk: u32,
        /// sock.sk_protocol (16 bits since 5.6)
        pub sock_protocol: u32,
        /// sock_common.skc_family
        pub sock_family: u32,
        /// sock_common.skc_state
        pub sock_state: u32,
        /// sock_common.skc_dport
        pub sock_remote_port: u32,
        /// sock_common.skc_num
        pub sock_local_port: u32,
        /// sock_common.skc_daddr
        pub sock_remote4: u32,
        /// sock_common.skc_rcv_saddr
        pub sock_local4: u32,
        /// sock_common.skc_v6_daddr
        pub sock_remote6: u32,
        /// sock_common.skc_v6_rcv_saddr
        pub sock_local6: u32,
        /// sock_common.skc_net
        pub sock_net: u32,
        /// net.net_cookie
        pub net_cookie: u32,
        /// sock_common.skc_cookie
        pub sock_cookie: u32,
        /// task_struct.files
        pub task_files: u32,
        /// files_struct.fdt
        pub files_table: u32,
        /// fdtable.max_fds
        pub table_size: u32,
        /// fdtable.fd
        pub table_files: u32,
        /// file.f_inode
        pub file_inode: u32,
        /// file.private_data
        pub file_private: u32,
        /// inode.i_mode
        pub inode_mode: u32,
        /// 0.
        pub reserved: u32,
    }
}

impl Offsets {
    /// The field is not there.
    pub const UNKNOWN: u32 = u32::MAX;
}

const _: () = {
    assert!(offset_of!(Header, kind) == 24);
    assert!(offset_of!(HolderRecord, task) == 32);
    assert!(offset_of!(HolderRecord, pair) == 80);
    assert!(offset_of!(EstablishedRecord, first_sent) == 72);
    assert!(offset_of!(SegmentRecord, sequence) == 72);
    assert!(offset_of!(SegmentRecord, length) == 88);
    assert!(offset_of!(ExecRecord, path) == 88);
    assert!(offset_of!(LibraryBytesRecord, length) == 108);
    assert!(offset_of!(LibraryVerificationRecord, code) == 96);
    assert!(offset_of!(SocketRecord, pair) == 64);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_from_any_alignment() {
        let mut bytes = [0u8; 33];
        bytes[1..9].copy_from_slice(&7u64.to_ne_bytes());
        bytes[25..29].copy_from_slice(&5u32.to_ne_bytes());
        let header = Header::read(&bytes[1..]);
        assert_eq!(header.map(|header| (header.at, header.kind)), Some((7, 5)));
    }

    #[test]
    fn a_short_record_is_refused() {
        let bytes = [0u8; size_of::<ExecRecord>()];
        assert!(ExecRecord::read(&bytes).is_some());
        for length in 0..bytes.len() {
            assert!(ExecRecord::read(&bytes[..length]).is_none());
        }
    }
}
