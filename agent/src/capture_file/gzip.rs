//! gzip (RFC 1952): all members of a stream, and what stands behind them.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// RFC 1952 section 2.3.1: ID1, ID2 and the one compression method there is.
pub const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// All members of a gzip stream. The library's own reading of several takes what stands behind them for a damaged one.
pub struct GzipMembers<R> {
    /// The one at hand; none behind the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    pub fn new(source: R) -> Self {
        GzipMembers { member: Some(GzDecoder::new(source)) }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut source) = self.member.take().map(GzDecoder::into_inner) else { return Ok(0) };
            if begins_another(&mut source)? {
                self.member = Some(GzDecoder::new(source));
            }
        }
    }
}

/// Whether another member follows. Zeros behind the last are padding, as gzip(1) has it; of anything else it warns, too.
fn begins_another(source: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let rest = source.fill_buf()?;
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        match rest.get(zeros..).unwrap_or_default() {
            [] if rest.is_empty() => return Ok(false),
            [] => source.consume(zeros),
            begin if zeros == 0 => {
                let count = begin.len().min(GZIP_MAGIC.len());
                if begin[..count] == GZIP_MAGIC[..count] {
                    return Ok(true);
                }
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "what follows the compressed data is no further gzip member, and was left out",
                ));
            }
            _ => source.consume(zeros),
        }
    }
}
