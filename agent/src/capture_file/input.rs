//! The bytes of an input: opened, counted, decompressed if they begin like gzip or zstd.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::OFlag;

use super::error::CaptureError;
use super::gzip::{GZIP_MAGIC, GzipMembers};
use super::stop::Stop;
use super::waiting::Waiting;
use super::zstd::{ZstdFrames, is_zstd};

/// Compressed bytes read at a time.
const COMPRESSED_CHUNK: usize = 16 * 1024;
/// Bytes that tell every format apart.
const MAGIC_BYTES: usize = 4;

/// Where a capture comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl fmt::Display for Input {
    /// As the user named it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::File(path) => path.display().fmt(f),
            Input::Stdin => f.write_str("-"),
        }
    }
}

/// An opened input.
pub struct Opened {
    /// Its bytes, decompressed.
    pub bytes: Box<dyn Read + Send>,
    /// Its first bytes, decompressed; they are also the first of `bytes`. Fails if compressed data is damaged so early that
    /// nobody can tell what it holds.
    pub magic: io::Result<Vec<u8>>,
    /// Raw bytes read so far.
    pub read: Arc<AtomicU64>,
    /// Raw bytes in all, if known.
    pub total: Option<u64>,
    /// It is a pipe or the like, and may be slow.
    pub live: bool,
}

/// Opens an input and sees through its compression.
pub fn open(input: &Input, stop: &Stop) -> Result<Opened, CaptureError> {
    let failed = |source| CaptureError::Open { input: input.to_string(), source };
    let file = match input {
        // Opening a FIFO would wait for its writer, deaf to whoever wants an end; so the wait is left to reading.
        Input::File(path) => File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path),
        // Not the library's own handle: what that holds in its buffer cannot be waited for.
        Input::Stdin => io::stdin().as_fd().try_clone_to_owned().map(File::from),
    }
    .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let live = !metadata.is_file();
    let total = (!live && *input != Input::Stdin).then_some(metadata.len());
    let raw: Box<dyn Read + Send> =
        if live { Box::new(Waiting::new(file, stop.clone())) } else { Box::new(file) };
    let read = Arc::new(AtomicU64::new(0));
    let mut raw = Counting { source: raw, read: Arc::clone(&read) };
    let magic = match first_bytes(&mut raw) {
        // A pipe that was left before it said anything.
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            return Ok(Opened { bytes: Box::new(io::empty()), magic: Err(error), read, total, live });
        }
        magic => magic.map_err(failed)?,
    };
    let raw = io::Cursor::new(magic.clone()).chain(raw);
    if magic.starts_with(&GZIP_MAGIC) {
        let decoder = GzipMembers::new(BufReader::with_capacity(COMPRESSED_CHUNK, raw));
        decompressed(input, Box::new(decoder), (read, total, live))
    } else if is_zstd(&magic) {
        let decoder = ZstdFrames::new(BufReader::with_capacity(COMPRESSED_CHUNK, raw));
        decompressed(input, Box::new(decoder), (read, total, live))
    } else {
        Ok(Opened { bytes: Box::new(raw), magic: Ok(magic), read, total, live })
    }
}

fn decompressed(
    input: &Input,
    mut bytes: Box<dyn Read + Send>,
    (read, total, live): (Arc<AtomicU64>, Option<u64>, bool),
) -> Result<Opened, CaptureError> {
    let (bytes, magic): (Box<dyn Read + Send>, _) = match first_bytes(&mut bytes) {
        Ok(magic) => (Box::new(io::Cursor::new(magic.clone()).chain(bytes)), Ok(magic)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            return Err(CaptureError::Compression { input: input.to_string(), problem: error.to_string() });
        }
        Err(error) => (Box::new(io::empty()), Err(error)),
    };
    Ok(Opened { bytes, magic, read, total, live })
}

/// The first [`MAGIC_BYTES`], fewer only at the end: a pipe may hand them out one by one.
fn first_bytes(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    source.take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    Ok(magic)
}

struct Counting {
    source: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
