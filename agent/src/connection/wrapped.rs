//! TLS in packets of another protocol: those of TDS, as long as the handshake lasts (MS-TDS section 2.2.6.5).

/// Bytes of a packet's header (section 2.2.3.1).
const HEADER: usize = 8;
/// Types of packets that carry the handshake: pre-login and, from the server, a response. No TLS record begins so.
const TYPES: [u8; 2] = [0x12, 0x04];

/// One direction, taken out of its packets.
#[derive(Debug, Default)]
pub struct Unwrapper {
    header: [u8; HEADER],
    /// Bytes of the header that have arrived.
    begun: usize,
    /// Bytes of the packet that are still to come.
    left: usize,
    /// Bytes of headers in all.
    pub passed: u64,
    /// Records came bare: from there on all of them do.
    pub bare: bool,
}

impl Unwrapper {
    /// Hands on what is no header, in one or several runs.
    pub fn unwrap(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(&first) = bytes.first() {
            if self.bare || (self.left == 0 && self.begun == 0 && !TYPES.contains(&first)) {
                self.bare = true;
                return each(bytes);
            }
            if self.left > 0 {
                let (run, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= run.len();
                bytes = rest;
                each(run);
                continue;
            }
            self.header[self.begun] = first;
            self.begun += 1;
            self.passed += 1;
            bytes = &bytes[1..];
            if self.begun == HEADER {
                self.begun = 0;
                let length = u16::from_be_bytes([self.header[2], self.header[3]]);
                self.left = usize::from(length).saturating_sub(HEADER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_cut_anywhere_give_what_they_carry() {
        let packet = |kind: u8, body: &[u8]| [&[kind, 1, 0, 8 + body.len() as u8, 0, 0, 0, 0], body].concat();
        let all = [packet(0x12, b"one "), packet(0x12, b""), packet(0x04, b"two "), b"\x17bare\x12".to_vec()]
            .concat();
        for size in 1..=all.len() {
            let (mut unwrapper, mut seen) = (Unwrapper::default(), Vec::new());
            all.chunks(size).for_each(|chunk| unwrapper.unwrap(chunk, |run| seen.extend_from_slice(run)));
            assert_eq!(seen, b"one two \x17bare\x12", "in pieces of {size}");
            assert_eq!((unwrapper.passed, unwrapper.bare), (24, true));
        }
    }

    #[test]
    fn a_length_below_the_header_is_an_empty_packet() {
        let mut unwrapper = Unwrapper::default();
        unwrapper.unwrap(&[0x12, 1, 0, 3, 0, 0, 0, 0], |_| panic!("it is empty"));
        assert_eq!(unwrapper.left, 0);
    }
}
