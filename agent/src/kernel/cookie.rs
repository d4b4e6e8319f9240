//! The cookie of one of our own sockets.
#![expect(unsafe_code, reason = "nix has no SO_COOKIE")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use nix::libc;

/// `SO_COOKIE` (socket(7)).
pub(super) fn of(socket: &impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    let target = (&raw mut cookie).cast();
    // SAFETY: `target` has room for the `length` bytes that the kernel writes at most.
    match unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_COOKIE, target, &raw mut length) }
    {
        0 => Ok(cookie),
        _ => Err(io::Error::last_os_error()),
    }
}
