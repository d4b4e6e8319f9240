//! HTTP/2 by its connection preface.

use super::{Match, begins};

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn http2(client: &[u8], _server: &[u8]) -> Match {
    begins(client, PREFACE)
}
