//! Memory that is free again.

/// Gives the kernel back what was used for a moment, as far as the C library can.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number and looks after the allocator's own lists, under its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
