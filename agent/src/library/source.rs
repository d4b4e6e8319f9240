//! A file that is read in parts: what is asked for is bounded, each time and in all.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;

use object::pod::{Pod, slice_from_all_bytes};

use super::Reason;

/// What is read and searched at once. A multiple of the size of a symbol and of a relocation, so that none is cut.
const WINDOW: usize = 24 * 4096;

/// What is read of one file in all. Of Node it is 70 MiB.
const BUDGET: u64 = 128 << 20;

/// Bytes at offsets: a file on disk, or in memory.
pub trait Source {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Where the file cannot be asked.
    fn length(&self) -> io::Result<u64>;

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// Where there are fewer bytes, or they cannot be read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }
}

impl Source for &[u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = start.checked_add(into.len()).and_then(|end| self.get(start..end));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Reads a source within the budget.
pub struct Reader<'a> {
    source: &'a dyn Source,
    length: u64,
    left: u64,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a dyn Source) -> Result<Self, Reason> {
        let length = source.length().map_err(|error| Reason::Unreadable(error.kind()))?;
        Ok(Self { source, length, left: BUDGET })
    }

    /// Fills `into` from `offset` on.
    pub fn fill(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Reason> {
        let wanted = into.len() as u64;
        if offset.checked_add(wanted).is_none_or(|end| end > self.length) {
            return Err(Reason::Damaged("a table reaches beyond the end"));
        }
        self.left = self.left.checked_sub(wanted).ok_or(Reason::TooLarge)?;
        self.source.read_at(offset, into).map_err(|error| Reason::Unreadable(error.kind()))
    }

    /// The bytes of a range that has at most a window's length.
    pub fn part(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, Reason> {
        if length > WINDOW {
            return Err(Reason::TooLarge);
        }
        let mut bytes = vec![0; length];
        self.fill(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Shows a range window by window. Each begins with the last `overlap` bytes of the one before, so that nothing of that
    /// length is missed at a border.
    pub fn windows(
        &mut self,
        range: Range<u64>,
        overlap: usize,
        mut show: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Reason> {
        // What cannot be read to its end is not begun.
        if range.end.saturating_sub(range.start) > self.left {
            return Err(Reason::TooLarge);
        }
        let mut window = vec![0; WINDOW];
        let mut at = range.start;
        while at < range.end {
            let length = WINDOW.min(usize::try_from(range.end - at).unwrap_or(WINDOW));
            self.fill(at, &mut window[..length])?;
            if show(at, &window[..length]).is_break() || length < WINDOW {
                break;
            }
            at += (WINDOW - overlap) as u64;
        }
        Ok(())
    }

    /// Shows a table window by window, in whole entries of 24 bytes, as symbols and relocations have.
    pub fn entries<T: Pod>(
        &mut self,
        range: Range<u64>,
        mut show: impl FnMut(&[T]) -> ControlFlow<()>,
    ) -> Result<(), Reason> {
        const { assert!(WINDOW.is_multiple_of(size_of::<T>()) && align_of::<T>() == 1) };
        self.windows(range, 0, |_, bytes| {
            let whole = bytes.len() / size_of::<T>() * size_of::<T>();
            // Of whole entries that lie anywhere it is always made.
            slice_from_all_bytes(&bytes[..whole]).map_or(ControlFlow::Continue(()), &mut show)
        })
    }
}

/// The window that holds what was read last: for small parts that follow one another.
pub struct Follower {
    start: u64,
    bytes: Vec<u8>,
    end: u64,
}

impl Follower {
    /// For parts before `end`.
    pub fn new(end: u64) -> Self {
        Self { start: 0, bytes: Vec::new(), end }
    }

    /// `N` bytes at `offset`.
    pub fn at<const N: usize>(&mut self, reader: &mut Reader<'_>, offset: u64) -> Result<[u8; N], Reason> {
        if let Some(part) = self.held(offset) {
            return Ok(part);
        }
        let room = self.end.saturating_sub(offset);
        let length = WINDOW.min(usize::try_from(room).unwrap_or(WINDOW));
        self.bytes = reader.part(offset, length)?;
        self.start = offset;
        self.held(offset).ok_or(Reason::Damaged("a table reaches beyond its section"))
    }

    fn held<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        let start = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(start..)?.first_chunk().copied()
    }
}
