//! What is remembered of a thread.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE},
    helpers::generated::{bpf_get_current_task_btf, bpf_task_storage_get},
};
use core::ptr::{null, null_mut};
use countersign_common::counter;

use crate::maps::{count, raw};

/// A map of threads, as the loader wants it described: types whose sizes are the numbers.
#[repr(C)]
pub struct TaskStorage<T: 'static> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers lead nowhere and are never followed.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    /// Filled in by the loader.
    pub const fn new() -> Self {
        TaskStorage { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }

    /// What is remembered of the current thread, which nobody else writes.
    #[inline(always)]
    pub fn get(&'static self) -> Option<&'static mut T> {
        self.of_current(0)
    }

    /// The same, zeros at first. `None`, and counted, if there is no memory for it.
    #[inline(always)]
    pub fn get_or_create(&'static self) -> Option<&'static mut T> {
        let value = self.of_current(u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE));
        if value.is_none() {
            count(counter::CALLS_FORGOTTEN, 1);
        }
        value
    }

    #[inline(always)]
    fn of_current(&'static self, flags: u64) -> Option<&'static mut T> {
        unsafe {
            let task = bpf_get_current_task_btf();
            bpf_task_storage_get(raw(self), task, null_mut(), flags).cast::<T>().as_mut()
        }
    }
}
