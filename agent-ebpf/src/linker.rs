//! The dynamic linker tells debuggers that the libraries of a process have changed, by a call of an empty function.

use aya_ebpf::{helpers::bpf_get_current_task, macros::uprobe, programs::ProbeContext};
use countersign_common::{ProcessRecord, kind};

use crate::{
    events::{header, reserve, spares_room, submit},
    task::{current_process, start_of},
};

/// `void _dl_debug_state(void)`
#[uprobe]
fn linker_state(_context: ProbeContext) -> u32 {
    if !spares_room() {
        return 0;
    }
    let Some(record) = reserve::<ProcessRecord>() else { return 0 };
    unsafe {
        (*record).header = header(kind::LIBRARIES_CHANGED, 0, 0, 0);
        (*record).start_time = start_of(bpf_get_current_task());
        (*record).pid = current_process();
        (*record).reserved = 0;
    }
    submit(record);
    0
}
