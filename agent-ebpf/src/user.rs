//! Reads of the memory of the process that runs.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use core::mem::MaybeUninit;

/// The `T` at `address`; `None` if it is not there, or swapped out. `T` is an integer or an array of them.
#[inline(always)]
pub fn read_user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let source = address as *const _;
    let result = unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, source) };
    // The helper zeroes the target when it fails.
    (result == 0).then_some(unsafe { value.assume_init() })
}

/// Three bytes in network order.
#[inline(always)]
pub fn be24(bytes: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}
