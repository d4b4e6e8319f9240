//! The bytes of an input: opened, counted, decompressed if they begin like gzip or zstd.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::error::CaptureError;

/// Compressed bytes read at a time.
const COMPRESSED_CHUNK: usize = 16 * 1024;
/// Largest window of zstd that is given memory: what RFC 8878 section 3.1.1.1.2 recommends decoders to support. Only
/// `zstd --ultra` and `zstd --long` make larger ones.
const ZSTD_WINDOW_MAX: u64 = 8 * 1024 * 1024;
/// RFC 1952 section 2.3.1: ID1, ID2 and the one compression method there is.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// RFC 8878 section 3.1.1, little-endian.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
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
    /// Its first bytes, decompressed; they are also the first of `bytes`.
    pub magic: Vec<u8>,
    /// Raw bytes read so far.
    pub read: Arc<AtomicU64>,
    /// Raw bytes in all, if known.
    pub total: Option<u64>,
}

/// Opens an input and sees through its compression.
pub fn open(input: &Input) -> Result<Opened, CaptureError> {
    let failed = |source| CaptureError::Open { input: input.to_string(), source };
    let (raw, total): (Box<dyn Read + Send>, _) = match input {
        Input::File(path) => {
            let file = File::open(path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        }
        Input::Stdin => (Box::new(io::stdin()), None),
    };
    let read = Arc::new(AtomicU64::new(0));
    let mut raw = Counting { source: raw, read: Arc::clone(&read) };
    let magic = first_bytes(&mut raw).map_err(failed)?;
    let raw = io::Cursor::new(magic.clone()).chain(raw);
    if magic.starts_with(&GZIP_MAGIC) {
        let decoder = MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_CHUNK, raw));
        decompressed(Box::new(decoder), read, total).map_err(failed)
    } else if is_zstd(&magic) {
        let decoder = ZstdFrames::new(BufReader::with_capacity(COMPRESSED_CHUNK, raw));
        decompressed(Box::new(decoder), read, total).map_err(failed)
    } else {
        Ok(Opened { bytes: Box::new(raw), magic, read, total })
    }
}

fn decompressed(
    mut bytes: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
) -> io::Result<Opened> {
    let magic = first_bytes(&mut bytes)?;
    Ok(Opened { bytes: Box::new(io::Cursor::new(magic.clone()).chain(bytes)), magic, read, total })
}

/// The first [`MAGIC_BYTES`], fewer only at the end: a pipe may hand them out one by one.
fn first_bytes(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    source.take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    Ok(magic)
}

/// Also if it begins with a skippable frame (RFC 8878 section 3.1.2), as archives by pzstd do.
fn is_zstd(magic: &[u8]) -> bool {
    magic == ZSTD_MAGIC || matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
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

/// A last block without content (RFC 8878 section 3.1.1.2), and room for a checksum.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// All frames of a zstd stream: the library decodes one.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    within: bool,
    /// What ended decoding, to be said once everything before it was handed out.
    failed: Option<io::Error>,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_MAX);
        ZstdFrames { source, decoder, within: false, failed: None }
    }

    /// Begins the next frame; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.source).take(u64::from(length)), &mut io::sink())?;
                }
                Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                    return Err(io::Error::other(format!(
                        "it was compressed with a window of {requested} bytes, more than {ZSTD_WINDOW_MAX}; decompress it first (zstd -d --long=31)"
                    )));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within {
                self.within = self.begin()?;
                if !self.within {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                if let Err(error) = self.decoder.decode_blocks(&mut self.source, one) {
                    self.failed.get_or_insert(io::Error::other(error));
                    // The decoder holds back a window's worth of bytes until the frame ends: it is told that it has.
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    if self.decoder.decode_blocks(&mut &LAST_BLOCK[..], one).is_err() {
                        break;
                    }
                }
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            self.within = false;
        }
    }
}
