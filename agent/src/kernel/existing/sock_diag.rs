//! The TCP sockets of the network namespace in which the calling thread is: a dump of sock_diag(7).
//!
//! Layouts: `include/uapi/linux/netlink.h` and `inet_diag.h`. What is read of an answer has a fixed place; attributes are
//! passed over. Any bytes give sockets or an error, never a panic.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use countersign_common::{family, tcp_state};
use nix::{
    libc,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike},
    },
};

use super::MULTIPATH;
use crate::{
    event::{AddressPair, NetworkNamespace, SocketCookie},
    kernel::cookie,
};

/// SOCK_DIAG_BY_FAMILY (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST, NLM_F_ROOT and NLM_F_MATCH.
const DUMP: u16 = 0x301;
/// INET_DIAG_REQ_PROTOCOL: a protocol that does not fit into the request's byte.
const PROTOCOL_ATTRIBUTE: u16 = 3;
const TCP: u32 = 6;

/// Listening and connected sockets, as a mask.
const STATES: u32 = 1 << tcp_state::LISTEN
    | 1 << tcp_state::ESTABLISHED
    | 1 << tcp_state::FIN_WAIT1
    | 1 << tcp_state::FIN_WAIT2
    | 1 << tcp_state::CLOSE_WAIT;

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// `struct inet_diag_msg`.
const ANSWER_BYTES: usize = 72;

/// The kernel answers a dump in pieces of at most 32 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers at once; a thread shall not wait for ever if it does not.
const PATIENCE_SECONDS: i64 = 5;

/// A socket as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its cookie.
    pub socket: SocketCookie,
    /// Its addresses.
    pub pair: AddressPair,
    /// Its state, one of [`tcp_state`].
    pub state: u32,
    /// The number of its file; 0 if it has none (any more, or yet).
    pub inode: u32,
    /// It is a multipath one.
    pub multipath: bool,
}

/// A netlink socket in one network namespace.
#[derive(Debug)]
pub struct Diagnosis {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Diagnosis {
    /// Opens it where the calling thread is.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
        Ok(Diagnosis { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Where it is; 0 before Linux 5.14.
    pub fn network_namespace(&self) -> NetworkNamespace {
        cookie::network_namespace_of(&self.socket)
    }

    /// Hands listening and connected sockets to `each`, multipath ones first: their subflows have the same file.
    pub fn sockets(&mut self, each: &mut dyn FnMut(Listed)) -> io::Result<()> {
        for family in [family::INET, family::INET6] {
            match self.dump(&request(family, MULTIPATH), true, each) {
                // A kernel without multipath TCP has none.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                outcome => outcome?,
            }
            self.dump(&request(family, TCP), false, each)?;
        }
        Ok(())
    }

    fn dump(&mut self, request: &[u8], multipath: bool, each: &mut dyn FnMut(Listed)) -> io::Result<()> {
        let descriptor = self.socket.as_raw_fd();
        sendto(descriptor, request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        loop {
            let length = match recv(descriptor, &mut self.buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                answer => answer?,
            };
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            if rest.is_empty() {
                return Err(malformed());
            }
            while !rest.is_empty() {
                match message(&mut rest).ok_or_else(malformed)? {
                    Message::End(0) => return Ok(()),
                    Message::End(error) => return Err(io::Error::from_raw_os_error(error)),
                    Message::Answer(bytes) => listed(bytes, multipath).into_iter().for_each(&mut *each),
                    Message::Other => {}
                }
            }
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "sock_diag answered something that is no netlink message")
}

fn request(family: u32, protocol: u32) -> Vec<u8> {
    let attribute = u8::try_from(protocol).is_err();
    let length = HEADER_BYTES + REQUEST_BYTES + if attribute { 8 } else { 0 };
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    // Sequence number and port: there is one dump at a time, and the kernel names the port.
    bytes.extend([0; 8]);
    bytes.extend([family as u8, protocol as u8, 0, 0]);
    bytes.extend(STATES.to_ne_bytes());
    // Any socket.
    bytes.resize(HEADER_BYTES + REQUEST_BYTES, 0);
    if attribute {
        bytes.extend(8u16.to_ne_bytes());
        bytes.extend(PROTOCOL_ATTRIBUTE.to_ne_bytes());
        bytes.extend(protocol.to_ne_bytes());
    }
    bytes
}

/// A netlink message.
#[derive(Debug, PartialEq, Eq)]
enum Message<'bytes> {
    /// The dump is over, with an error number if it is not 0.
    End(i32),
    /// About one socket.
    Answer(&'bytes [u8]),
    /// Nothing of interest.
    Other,
}

/// Takes a message off the front; `None` if it is not whole.
fn message<'bytes>(rest: &mut &'bytes [u8]) -> Option<Message<'bytes>> {
    /// NLMSG_ERROR and NLMSG_DONE.
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let length = usize::try_from(word(rest, 0)?).ok()?;
    let payload = rest.get(HEADER_BYTES..length)?;
    let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
    // Messages begin at multiples of four bytes.
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(match kind {
        ERROR => Message::End(word(payload, 0)?.cast_signed().wrapping_neg()),
        // Its number is negative if the dump failed in the middle.
        DONE => Message::End(word(payload, 0).map_or(0, |code| code.cast_signed().wrapping_neg())),
        BY_FAMILY => Message::Answer(payload),
        _ => Message::Other,
    })
}

/// Reads a `struct inet_diag_msg`; `None` if it is too short or of another family.
fn listed(bytes: &[u8], multipath: bool) -> Option<Listed> {
    let bytes = bytes.get(..ANSWER_BYTES)?;
    let address = |port: usize, start: usize| -> Option<SocketAddr> {
        let port = u16::from_be_bytes(*bytes.get(port..)?.first_chunk()?);
        let octets: &[u8; 16] = bytes.get(start..)?.first_chunk()?;
        match u32::from(bytes[0]) {
            family::INET => {
                let [a, b, c, d, ..] = *octets;
                Some(SocketAddr::from((Ipv4Addr::new(a, b, c, d), port)))
            }
            family::INET6 => Some(SocketAddr::new(Ipv6Addr::from(*octets).to_canonical(), port)),
            _ => None,
        }
    };
    Some(Listed {
        pair: AddressPair { local: address(4, 8)?, remote: address(6, 24)? },
        socket: SocketCookie(u64::from(word(bytes, 44)?) | u64::from(word(bytes, 48)?) << 32),
        state: u32::from(bytes[1]),
        inode: word(bytes, 68)?,
        multipath,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut bytes = vec![0; ANSWER_BYTES];
        bytes[..2].copy_from_slice(&[family::INET as u8, tcp_state::ESTABLISHED as u8]);
        bytes[4..8].copy_from_slice(&[0x1f, 0x90, 0xc3, 0x50]);
        bytes[8..12].copy_from_slice(&[10, 0, 0, 1]);
        bytes[24..28].copy_from_slice(&[10, 0, 0, 2]);
        bytes[44..48].copy_from_slice(&7u32.to_ne_bytes());
        bytes[48..52].copy_from_slice(&1u32.to_ne_bytes());
        bytes[68..72].copy_from_slice(&4711u32.to_ne_bytes());
        bytes
    }

    fn message_of(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER_BYTES + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn an_answer_says_which_socket_and_which_file() {
        let found = listed(&answer(), false).unwrap();
        assert_eq!(found.pair.local, SocketAddr::from(([10, 0, 0, 1], 8080)));
        assert_eq!(found.pair.remote, SocketAddr::from(([10, 0, 0, 2], 50000)));
        assert_eq!((found.socket, found.inode), (SocketCookie(1 << 32 | 7), 4711));
        let mut mapped = answer();
        mapped[0] = family::INET6 as u8;
        mapped[8..24].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets());
        assert_eq!(listed(&mapped, false).unwrap().pair.local, found.pair.local);
    }

    #[test]
    fn a_dump_ends_with_its_error() {
        for (kind, code, end) in [(3, 0, 0), (3, -libc::ENOMEM, libc::ENOMEM), (2, -libc::EPERM, libc::EPERM)]
        {
            let bytes = message_of(kind, &code.to_ne_bytes());
            assert_eq!(message(&mut &bytes[..]), Some(Message::End(end)));
        }
        assert_eq!(message(&mut &message_of(3, &[])[..]), Some(Message::End(0)));
    }

    #[test]
    fn hostile_messages_never_panic() {
        let whole = [message_of(BY_FAMILY, &answer()), message_of(3, &[0; 4])].concat();
        let walk = |mut rest: &[u8]| {
            while !rest.is_empty() {
                match message(&mut rest) {
                    Some(Message::Answer(bytes)) => drop(listed(bytes, true)),
                    Some(_) => {}
                    None => break,
                }
            }
        };
        for end in 0..=whole.len() {
            walk(&whole[..end]);
        }
        for index in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[index] = value;
                walk(&changed);
            }
        }
    }
}
