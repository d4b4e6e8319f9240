//! A pipe that can be waited for without being at its mercy.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::stop::Stop;

/// Between two looks at whether to stop, in milliseconds: nobody notices so little, and ten wake-ups a second cost nothing.
const LOOK: u8 = 100;
/// How long is read on after the wish to stop: Ctrl-C reaches the writer of a pipe as well, and tcpdump then writes what it
/// had kept back.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Reads what there is; ends when the source does, or soon after it is to stop.
pub struct Waiting {
    file: File,
    stop: Stop,
    /// When the last words are over; known once it is to stop.
    until: Option<Instant>,
}

impl Waiting {
    pub fn new(file: File, stop: Stop) -> Self {
        Waiting { file, stop, until: None }
    }
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.is_requested() {
                let now = Instant::now();
                if now >= *self.until.get_or_insert(now + LAST_WORDS) {
                    return Ok(0);
                }
            }
            let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::from(LOOK)) {
                Ok(0) if self.until.is_some() => return Ok(0),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => match self.file.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}
