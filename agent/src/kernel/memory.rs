//! Gives memory back to the kernel.
#![expect(unsafe_code, reason = "malloc_trim(3)")]

/// Returns free heap pages to the kernel. Loading reads the kernel's whole type information (several times its 6 MB
/// on disk), after which the daemon needs a fraction of that for good.
pub fn release_unused_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes any padding, keeps every live allocation where it is, and is thread-safe.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
