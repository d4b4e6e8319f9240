//! Who runs.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_current_uid_gid,
    generated::bpf_get_current_comm,
};
use countersign_common::{COMM_BYTES, TaskRecord, task};

use crate::kernel::{offset, read};

/// PF_KTHREAD (linux/sched.h, unchanged since 2.6.27).
const PF_KTHREAD: u32 = 0x0020_0000;

/// The thread group id of the current task.
#[inline(always)]
pub fn current_process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Writes the current task, in process context.
#[inline(always)]
pub fn write_current(record: *mut TaskRecord) {
    let ids = bpf_get_current_pid_tgid();
    unsafe {
        (*record).pid = (ids >> 32) as u32;
        (*record).thread = ids as u32;
        (*record).uid = bpf_get_current_uid_gid() as u32;
        (*record).cgroup = bpf_get_current_cgroup_id();
        (*record).comm = [0; COMM_BYTES];
        bpf_get_current_comm((&raw mut (*record).comm).cast(), COMM_BYTES as u32);
        let current = bpf_get_current_task();
        (*record).start_time = start_of(current);
        (*record).flags = flags_of(current);
    }
}

/// Start of the thread group leader of `task_struct`, nanoseconds since boot.
#[inline(always)]
pub fn start_of(task_struct: u64) -> u64 {
    read(read(task_struct, offset!(task_group_leader)), offset!(task_start))
}

/// The flags that matter here.
#[inline(always)]
pub fn flags_of(task_struct: u64) -> u32 {
    if read::<u32>(task_struct, offset!(task_flags)) & PF_KTHREAD != 0 { task::KERNEL_THREAD } else { 0 }
}
