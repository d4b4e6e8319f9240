//! The cookies of our own sockets and of our own network namespace.
#![expect(unsafe_code, reason = "nix has no SO_COOKIE")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use nix::libc;

use crate::event::NetworkNamespace;

/// `SO_COOKIE` (socket(7)).
pub(super) fn of(socket: &impl AsFd) -> io::Result<u64> {
    option(socket, libc::SO_COOKIE)
}

/// The network namespace in which the agent runs (`SO_NETNS_COOKIE`, Linux 5.14); 0 if the kernel does not say.
pub fn own_network_namespace() -> NetworkNamespace {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0));
    socket.map_or_else(|_| NetworkNamespace::default(), |socket| network_namespace_of(&socket))
}

/// The network namespace of a socket of any family; 0 if the kernel does not say.
pub(super) fn network_namespace_of(socket: &impl AsFd) -> NetworkNamespace {
    /// `include/uapi/asm-generic/socket.h`; the libc crate has it for some targets only.
    const SO_NETNS_COOKIE: libc::c_int = 71;
    NetworkNamespace(option(socket, SO_NETNS_COOKIE).unwrap_or(0))
}

fn option(socket: &impl AsFd, name: libc::c_int) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    let target = (&raw mut cookie).cast();
    // SAFETY: `target` has room for the `length` bytes that the kernel writes at most.
    match unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, name, target, &raw mut length) } {
        0 => Ok(cookie),
        _ => Err(io::Error::last_os_error()),
    }
}
