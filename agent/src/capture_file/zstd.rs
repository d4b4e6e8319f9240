//! Zstandard (RFC 8878): all frames of a stream, and words for people where it is damaged.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Largest window of zstd that is given memory: what RFC 8878 section 3.1.1.1.2 recommends decoders to support. Only
/// `zstd --ultra` and `zstd --long` make larger ones.
const ZSTD_WINDOW_MAX: u64 = 8 * 1024 * 1024;
/// RFC 8878 section 3.1.1, little-endian.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A last block without content (RFC 8878 section 3.1.1.2), and room for a checksum.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Also if it begins with a skippable frame (RFC 8878 section 3.1.2), as archives by pzstd do.
pub fn is_zstd(magic: &[u8]) -> bool {
    magic == ZSTD_MAGIC || matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

/// All frames of a zstd stream: the library decodes one.
pub struct ZstdFrames<R> {
    source: Watched<R>,
    decoder: FrameDecoder,
    within: bool,
    /// What ended decoding, to be said once everything before it was handed out.
    failed: Option<io::Error>,
}

impl<R: BufRead> ZstdFrames<R> {
    pub fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_MAX);
        ZstdFrames {
            source: Watched { source, starved: false, failed: None },
            decoder,
            within: false,
            failed: None,
        }
    }

    /// Begins the next frame; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.source.source).take(u64::from(length)), &mut io::sink())?;
                }
                Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                    return Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        format!(
                            "it was compressed with a window of {requested} bytes, more than {ZSTD_WINDOW_MAX}; decompress it first (zstd -d --long=31)"
                        ),
                    ));
                }
                Err(_) => return Err(self.source.why()),
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
                if self.decoder.decode_blocks(&mut self.source, one).is_err() {
                    let why = self.source.why();
                    self.failed.get_or_insert(why);
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

/// A source that remembers why the decoder was given less than it asked for: the decoder's own errors name its inner parts.
struct Watched<R> {
    source: R,
    /// More was asked for than there is.
    starved: bool,
    failed: Option<io::Error>,
}

impl<R> Watched<R> {
    /// Why decoding failed.
    fn why(&mut self) -> io::Error {
        match self.failed.take() {
            Some(error) => error,
            None if self.starved => io::ErrorKind::UnexpectedEof.into(),
            None => io::Error::new(io::ErrorKind::InvalidData, "its zstd data is damaged"),
        }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.source.read(buffer) {
            Ok(count) => {
                self.starved |= count == 0 && !buffer.is_empty();
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                if kind != io::ErrorKind::Interrupted {
                    self.failed = Some(error);
                }
                Err(kind.into())
            }
        }
    }
}
