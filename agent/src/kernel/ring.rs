//! The reading end of the ring buffer.
#![expect(unsafe_code, reason = "poll(2)")]

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use aya::maps::{Map, MapData, RingBuf};
use nix::libc;

use super::{KernelError, decode};
use crate::event::Event;

pub(super) struct Ring {
    buffer: RingBuf<MapData>,
    malformed: u64,
}

impl Ring {
    pub(super) fn new(map: Map) -> Result<Self, KernelError> {
        let buffer = RingBuf::try_from(map).map_err(KernelError::map("EVENTS"))?;
        Ok(Ring { buffer, malformed: 0 })
    }

    /// Waits for readability. The kernel wakes a reader only if it has read everything before, so a
    /// reader that sleeps between two drains is woken at most once per drain.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        poll(self.buffer.as_raw_fd(), timeout)
    }

    pub(super) fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Event)) -> usize {
        for count in 0..limit {
            let Some(record) = self.buffer.next() else { return count };
            match decode::event(&record) {
                Some(event) => each(event),
                None => self.malformed += 1,
            }
        }
        limit
    }

    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }
}

fn poll(descriptor: RawFd, timeout: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // Rounded up: a wait of less than a millisecond must not become a busy loop.
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    let milliseconds = libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX);
    // SAFETY: one valid entry is passed, and its count is 1.
    match unsafe { libc::poll(&raw mut entry, 1, milliseconds) } {
        0 => Ok(false),
        ready if ready > 0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}
