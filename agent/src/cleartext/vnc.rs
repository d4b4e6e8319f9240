//! VNC's Remote Framebuffer by its protocol versions (RFC 6143 section 7.1.1).

use super::{Match, begins};

/// Both sides send one, the server first.
pub(super) fn vnc(client: &[u8], server: &[u8]) -> Match {
    version(server).and(version(client))
}

/// `RFB 003.008\n`.
fn version(bytes: &[u8]) -> Match {
    let digits = |from: usize| bytes.get(from..).unwrap_or_default().iter().take(3).all(u8::is_ascii_digit);
    let fits = digits(4)
        && digits(8)
        && bytes.get(7).is_none_or(|&byte| byte == b'.')
        && bytes.get(11).is_none_or(|&byte| byte == b'\n');
    match begins(bytes, b"RFB ") {
        Match::Yes if !fits => Match::No,
        Match::Yes if bytes.len() < 12 => Match::NotYet,
        found => found,
    }
}
