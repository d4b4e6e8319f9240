//! The reading end of the ring buffer.
#![expect(unsafe_code, reason = "poll(2) on a descriptor that aya does not lend")]

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use aya::maps::{Map, MapData, RingBuf};
use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{KernelError, decode};
use crate::event::Event;

pub(super) struct Ring {
    buffer: RingBuf<MapData>,
    woken: Arc<EventFd>,
    malformed: u64,
}

/// Ends a wait for the ring buffer from another thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// The wait under way ends, or the next one does not begin.
    pub fn wake(&self) {
        // It fails only where it is at its highest: the reader is about to wake anyway.
        let _ = self.0.write(1);
    }
}

impl Ring {
    pub(super) fn new(map: Map) -> Result<Self, KernelError> {
        let buffer = RingBuf::try_from(map).map_err(KernelError::map("EVENTS"))?;
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let woken = EventFd::from_value_and_flags(0, flags)
            .map_err(|error| KernelError::map("EVENTS")(aya::maps::MapError::IoError(error.into())))?;
        Ok(Ring { buffer, woken: Arc::new(woken), malformed: 0 })
    }

    /// Waits for readability. The kernel wakes a reader only if it has read everything before, so a
    /// reader that sleeps between two drains is woken at most once per drain.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let woke = poll([self.buffer.as_raw_fd(), self.woken.as_raw_fd()], timeout);
        // Nothing to read is the usual case.
        let _ = self.woken.read();
        woke
    }

    pub(super) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.woken))
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

fn poll(descriptors: [RawFd; 2], timeout: Duration) -> io::Result<bool> {
    let mut entries = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // Rounded up: a wait of less than a millisecond must not become a busy loop.
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    let milliseconds = libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX);
    // SAFETY: two valid entries are passed, and their count is 2.
    match unsafe { libc::poll(entries.as_mut_ptr(), 2, milliseconds) } {
        0 => Ok(false),
        ready if ready > 0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}
