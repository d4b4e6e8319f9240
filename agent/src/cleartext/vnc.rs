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

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Name, Protocol, name};

    #[test]
    fn a_screen_is_recognised_by_the_versions_of_both_sides() {
        for (client, server) in [
            (&b"RFB 003.008\n\x01"[..], &b"RFB 003.008\n\x02\x01\x02"[..]),
            (b"RFB 003.003\n", b"RFB 003.889\n"),
            (b"RFB 005.000\n", b"RFB 005.000\n\x01\x05"),
        ] {
            assert_all_prefixes(Protocol::Vnc, client, server);
        }
    }

    #[test]
    fn what_only_begins_like_a_version_is_none() {
        const VERSION: &[u8] = b"RFB 003.008\n";
        for other in [
            &b"RFB 003.008\r\n"[..],
            b"RFB 003,008\n",
            b"RFB 3.8\nabcdefgh",
            b"RFB 00x.008\n",
            b"RFB version 1\n",
            b"RFB-003.008\n",
            b"rfb 003.008\n",
            b"RFBPROTO 1.0\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            &[b'R'; 12],
        ] {
            for (client, server) in [(other, VERSION), (VERSION, other), (other, other)] {
                let what = format!("{} / {}", client.escape_ascii(), server.escape_ascii());
                assert_eq!(vnc(client, server), Match::No, "{what}");
                assert_ne!(name(client, server), Name::Found(Protocol::Vnc), "{what}");
            }
        }
        // A server's word alone is no name.
        assert_eq!(name(b"", VERSION), Name::Incomplete);
        assert_eq!(name(&VERSION[..11], VERSION), Name::Incomplete);
    }
}
