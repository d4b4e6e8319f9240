//! A sliding window over the bytes of an input, so that whole packets lie in one piece.

use std::io::{self, Read};

/// First size of a window: many captures can be open of which few are being read.
const SIZE_FIRST: usize = 4 * 1024;
/// Size of a window in use, as long as there are few: some hundreds of full packets per read.
const SIZE_USUAL: usize = 256 * 1024;
/// Sizes of all windows together, but for packets that are larger.
const SIZES_MAX: usize = 16 * 1024 * 1024;
/// Largest piece that is ever held: four times the largest snap length of tcpdump (262,144), so that a packet with all its
/// options fits. Longer blocks are passed over, they hold no packets.
pub const PIECE_MAX: usize = 1024 * 1024;

/// The window.
pub struct Window {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Its size in use.
    usual: usize,
    start: usize,
    end: usize,
    /// Bytes that lie before `start`.
    passed: u64,
    ended: bool,
    /// Why reading ended, if not at the end.
    failed: Option<io::Error>,
}

/// Bytes that a processor's caches hold together.
const LINE: usize = 64;

impl Window {
    /// One of so many windows at a time.
    pub fn new(source: Box<dyn Read + Send>, windows: usize) -> Self {
        let usual = SIZE_USUAL.min(SIZES_MAX / windows.max(1));
        Window { source, buffer: Vec::new(), usual, start: 0, end: 0, passed: 0, ended: false, failed: None }
    }

    /// What is at hand.
    #[inline]
    pub fn data(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Looks at what is at hand behind so many bytes, only that it comes near: the kernel has left it in a distant cache, from
    /// where it is on its way while what stands before it is read.
    #[inline]
    pub fn approach(&self, behind: usize) {
        let line = |number: usize| self.buffer.get(self.start + behind + number * LINE).copied();
        std::hint::black_box((line(0), line(1)));
    }

    /// How many bytes of the input lie before [`Window::data`].
    pub fn offset(&self) -> u64 {
        self.passed
    }

    /// Takes the error that ended reading.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Reads until `count` bytes, at most [`PIECE_MAX`], are at hand; `false` if the input ends before.
    #[inline]
    pub fn need(&mut self, count: usize) -> bool {
        self.end - self.start >= count || self.read(count)
    }

    fn read(&mut self, count: usize) -> bool {
        while self.end - self.start < count {
            if self.ended || count > PIECE_MAX {
                return false;
            }
            self.make_room(count);
            let Some(room) = self.buffer.get_mut(self.end..) else { return false };
            match self.source.read(room) {
                Ok(0) => self.end_reading(None),
                Ok(read) => self.end += read.min(room.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.end_reading(Some(error)),
            }
        }
        true
    }

    /// Passes over bytes at hand.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.passed += count as u64;
    }

    /// Passes over bytes that need not be at hand; `false` if the input ends before.
    pub fn skip(&mut self, mut count: u64) -> bool {
        loop {
            let held = (self.end - self.start) as u64;
            self.consume(usize::try_from(count.min(held)).unwrap_or(usize::MAX));
            count -= count.min(held);
            if count == 0 {
                return true;
            }
            if !self.need(1) {
                return false;
            }
        }
    }

    fn make_room(&mut self, count: usize) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let wanted = if self.passed == 0 { count.max(SIZE_FIRST) } else { count.max(self.usual) };
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
    }

    /// The source and the buffer are not needed any more: what is at hand stays.
    fn end_reading(&mut self, failed: Option<io::Error>) {
        self.ended = true;
        self.failed = failed;
        self.source = Box::new(io::empty());
    }
}
