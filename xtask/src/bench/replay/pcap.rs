//! Writing the classic capture format, with nanoseconds (draft-ietf-opsawg-pcap, section 4).

use std::io::{self, Write};

/// Little-endian, times in seconds and nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const MAJOR: u16 = 2;
const MINOR: u16 = 4;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// What capture programs declare today; no packet is cut.
const SNAP_LENGTH: u32 = 262_144;
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// A capture that is being written.
pub struct Writer<W> {
    output: W,
    bytes: u64,
    packets: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = Self { output, bytes: 0, packets: 0 };
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC.to_le_bytes());
        header.extend(MAJOR.to_le_bytes());
        header.extend(MINOR.to_le_bytes());
        // Two reserved fields, once the time zone and its accuracy.
        header.extend([0; 8]);
        header.extend(SNAP_LENGTH.to_le_bytes());
        header.extend(ETHERNET.to_le_bytes());
        writer.write(&header)?;
        Ok(writer)
    }

    /// Adds a packet, seen at this time in nanoseconds since 1970.
    pub fn packet(&mut self, time: u64, frame: &[u8]) -> io::Result<()> {
        let number = |value: u64| u32::try_from(value).map_err(io::Error::other);
        let length = number(frame.len() as u64)?;
        let mut header = [0; 16];
        let fields = [
            number(time / NANOSECONDS_PER_SECOND)?,
            number(time % NANOSECONDS_PER_SECOND)?,
            // What is in the file, and what was on the wire.
            length,
            length,
        ];
        for (place, field) in header.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.write(&header)?;
        self.write(frame)?;
        self.packets += 1;
        Ok(())
    }

    /// Bytes written so far, headers included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets written so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Hands everything over to the system.
    pub fn finish(mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_readers_expect() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file).unwrap();
        writer.packet(1_700_000_000_123_456_789, &[0xab; 3]).unwrap();
        assert_eq!((writer.packets(), writer.bytes()), (1, 24 + 16 + 3));
        writer.finish().unwrap();
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, // file
            0x00, 0xf1, 0x53, 0x65, 0x15, 0xcd, 0x5b, 0x07, 3, 0, 0, 0, 3, 0, 0, 0, // packet
            0xab, 0xab, 0xab,
        ];
        assert_eq!(file, expected);
    }
}
