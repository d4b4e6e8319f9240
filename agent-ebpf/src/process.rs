//! Raw tracepoints of the scheduler: processes that begin, change their program, and end. Raw
//! ones, since they need no tracefs.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str, macros::raw_tracepoint, programs::RawTracePointContext,
};
use countersign_common::{ExecRecord, ForkRecord, PATH_BYTES, ProcessRecord, kind};

use crate::{
    events::{header, reserve, submit},
    kernel::{offset, read},
    task::{start_of, write_current},
};

/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`
#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn sched_process_fork(context: RawTracePointContext) -> i32 {
    let (parent, child): (u64, u64) = (context.arg(0), context.arg(1));
    let child_process: u32 = read(child, offset!(task_tgid));
    if read::<u32>(child, offset!(task_pid)) != child_process {
        return 0;
    }
    let Some(record) = reserve::<ForkRecord>() else { return 0 };
    unsafe {
        (*record).header = header(kind::FORK, 0, 0, 0);
        (*record).parent = read(parent, offset!(task_tgid));
        (*record).parent_start = start_of(parent);
        (*record).child = child_process;
        (*record).child_start = start_of(child);
    }
    submit(record);
    0
}

/// `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn sched_process_exec(context: RawTracePointContext) -> i32 {
    let path: u64 = read(context.arg(2), offset!(binprm_filename));
    let Some(record) = reserve::<ExecRecord>() else { return 0 };
    unsafe {
        (*record).header = header(kind::EXEC, 0, 0, 0);
        write_current(&raw mut (*record).task);
        (*record).reserved = 0;
        let target = (&raw mut (*record).path).cast();
        let length = bpf_probe_read_kernel_str(target, PATH_BYTES as u32, path as *const _);
        // With its final NUL; negative if it could not be read.
        (*record).path_length = if length > 0 { (length - 1) as u32 } else { 0 };
    }
    submit(record);
    0
}

/// `TP_PROTO(struct task_struct *p)`; Linux 6.16 appends `bool group_dead`.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn sched_process_exit(context: RawTracePointContext) -> i32 {
    let task: u64 = context.arg(0);
    let process: u32 = read(task, offset!(task_tgid));
    if read::<u32>(task, offset!(task_pid)) != process {
        return 0;
    }
    let Some(record) = reserve::<ProcessRecord>() else { return 0 };
    unsafe {
        (*record).header = header(kind::EXIT, 0, 0, 0);
        (*record).start_time = start_of(task);
        (*record).pid = process;
        (*record).reserved = 0;
    }
    submit(record);
    0
}
