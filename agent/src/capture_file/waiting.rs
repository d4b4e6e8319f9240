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

/// Reads what there is; ends when the source does, or fails soon after it is to stop.
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
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "interrupted before its end"));
                }
            }
            let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::from(LOOK)) {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn after_the_wish_to_stop_a_pipe_is_read_to_its_end_or_for_a_second() {
        let (reader, mut writer) = io::pipe().unwrap();
        let stop = Stop::default();
        let mut waiting = Waiting::new(File::from(OwnedFd::from(reader)), stop.clone());
        stop.request();
        let mut buffer = [0; 16];
        // It is quiet for longer than a look takes before it says its last words.
        let last_words = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(3 * u64::from(LOOK)));
            writer.write_all(b"last").unwrap();
            writer
        });
        assert_eq!(waiting.read(&mut buffer).unwrap(), 4);
        let writer = last_words.join().unwrap();
        assert_eq!(waiting.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(writer);

        let (reader, writer) = io::pipe().unwrap();
        let mut waiting = Waiting::new(File::from(OwnedFd::from(reader)), stop);
        drop(writer);
        assert_eq!(waiting.read(&mut buffer).unwrap(), 0);
    }
}
