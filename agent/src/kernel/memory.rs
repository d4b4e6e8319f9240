//! Gives memory back to the kernel.
#![expect(unsafe_code, reason = "mallopt(3), malloc_trim(3)")]

/// Allocations of this size and more get pages of their own, which go back when they are freed: what is that large (files
/// that are examined, tables that grow) is not needed for long.
#[cfg(target_env = "gnu")]
const OWN_PAGES: nix::libc::c_int = 1024 * 1024;

/// Has all threads share one heap, so that what one has freed is of use to the others, and keeps the size at which an
/// allocation gets pages of its own: left to itself it grows with the first large allocation that is freed, up to 32 MiB,
/// and what is as large stays in the heap from then on. To be called before there are threads.
pub fn share_memory_between_threads() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) changes no allocation, and nobody allocates meanwhile. A refusal leaves things as they are.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, OWN_PAGES);
    }
}

/// Returns free heap pages to the kernel. Loading reads the kernel's whole type information (several times its 6 MB
/// on disk), after which the daemon needs a fraction of that for good.
pub fn release_unused_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes any padding, keeps every live allocation where it is, and is thread-safe.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
