//! Reads of kernel structures, at the places that the running kernel's BTF names.

use aya_ebpf::{cty::c_void, helpers::generated::bpf_probe_read_kernel};
use core::mem::MaybeUninit;
use countersign_common::Offsets;

/// Set by user space before loading. The verifier knows read-only globals as constants, so a
/// field that is not there costs nothing, and a kernel that forbids the helper never sees it.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets {
    task_tgid: Offsets::UNKNOWN,
    task_pid: Offsets::UNKNOWN,
    task_group_leader: Offsets::UNKNOWN,
    task_start: Offsets::UNKNOWN,
    task_flags: Offsets::UNKNOWN,
    task_comm: Offsets::UNKNOWN,
    task_cred: Offsets::UNKNOWN,
    task_cgroups: Offsets::UNKNOWN,
    css_set_cgroup: Offsets::UNKNOWN,
    cgroup_node: Offsets::UNKNOWN,
    node_id: Offsets::UNKNOWN,
    cred_uid: Offsets::UNKNOWN,
    binprm_filename: Offsets::UNKNOWN,
    socket_sk: Offsets::UNKNOWN,
    sock_protocol: Offsets::UNKNOWN,
    sock_family: Offsets::UNKNOWN,
    sock_state: Offsets::UNKNOWN,
    sock_remote_port: Offsets::UNKNOWN,
    sock_local_port: Offsets::UNKNOWN,
    sock_remote4: Offsets::UNKNOWN,
    sock_local4: Offsets::UNKNOWN,
    sock_remote6: Offsets::UNKNOWN,
    sock_local6: Offsets::UNKNOWN,
    sock_net: Offsets::UNKNOWN,
    net_cookie: Offsets::UNKNOWN,
    sock_cookie: Offsets::UNKNOWN,
    task_files: Offsets::UNKNOWN,
    files_table: Offsets::UNKNOWN,
    table_size: Offsets::UNKNOWN,
    table_files: Offsets::UNKNOWN,
    file_inode: Offsets::UNKNOWN,
    file_private: Offsets::UNKNOWN,
    inode_mode: Offsets::UNKNOWN,
    reserved: 0,
};

/// One of the offsets.
macro_rules! offset {
    ($field:ident) => {
        unsafe { core::ptr::read_volatile(&raw const $crate::kernel::OFFSETS.$field) }
    };
}
pub(crate) use offset;

/// The eight bytes at `offset` behind `base`, a structure of which the verifier knows what it is; 0 if the kernel has no such field.
#[inline(always)]
pub fn load(base: *const c_void, offset: u32) -> u64 {
    if offset == Offsets::UNKNOWN {
        return 0;
    }
    unsafe { core::ptr::read_volatile(base.byte_add(offset as usize).cast()) }
}

/// The `T` at `offset` behind `base`; zeros if the kernel has no such field or cannot read it.
/// `T` is an integer or an array of them.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    if offset != Offsets::UNKNOWN && base != 0 {
        let source = (base + u64::from(offset)) as *const _;
        unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, source) };
    }
    // The helper zeroes the target when it fails.
    unsafe { value.assume_init() }
}
