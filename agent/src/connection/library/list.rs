//! The certificates in what a library handed over. Who sends them chooses these bytes: every length must add up, or all of
//! them are discarded.

use bytes::Bytes;

use super::assembly::Whole;
use crate::event::LibraryForm;
use crate::tls::MessageSize;

/// Certificates kept of a chain: real ones have two to five, and OpenSSL verifies none deeper than 100.
pub(super) const MAX_CHAIN: usize = 16;
/// Handshake header, an empty certificate_request_context, and the length of the list (RFC 8446 section 4.4.2).
const AROUND_LIST: u32 = 4 + 1 + 3;
/// Length of a certificate, and of its extensions.
pub(super) const AROUND_CERTIFICATE: u32 = 3 + 2;

/// What a whole shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Leaf first, at most [`MAX_CHAIN`].
    pub certificates: Vec<Bytes>,
    /// The TLS 1.3 message that it takes.
    pub message: MessageSize,
    /// There are more certificates: beyond the bound, or in what was not copied.
    pub truncated: bool,
}

/// The bytes are not what they were said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a whole. `modern`: the connection speaks TLS 1.3, whose list has extensions.
pub(super) fn read(whole: &Whole, modern: bool) -> Result<Shown, Malformed> {
    let total = whole.total;
    match whole.form {
        LibraryForm::List => {
            let mut certificates = list(&whole.bytes, whole.is_truncated(), modern)?;
            let truncated = whole.is_truncated() || certificates.len() > MAX_CHAIN;
            certificates.truncate(MAX_CHAIN);
            let message = MessageSize { bytes: AROUND_LIST + total, exact: true };
            Ok(Shown { certificates, message, truncated })
        }
        LibraryForm::Leaf | LibraryForm::Following => {
            let bytes = AROUND_LIST + AROUND_CERTIFICATE + total;
            let message = MessageSize { bytes, exact: false };
            if whole.is_truncated() {
                return Ok(Shown { certificates: Vec::new(), message, truncated: true });
            }
            if !is_certificate(&whole.bytes) {
                return Err(Malformed);
            }
            let certificates = vec![Bytes::copy_from_slice(&whole.bytes)];
            Ok(Shown { certificates, message, truncated: false })
        }
    }
}

/// A certificate_list: RFC 8446 section 4.4.2, or without extensions RFC 5246 section 7.4.2. Of a truncated one, what is
/// whole of it. One certificate more than the bound says that there are more.
fn list(mut rest: &[u8], truncated: bool, extensions: bool) -> Result<Vec<Bytes>, Malformed> {
    let mut certificates = Vec::new();
    while !rest.is_empty() {
        let Some((certificate, after)) = entry(rest, extensions) else {
            return if truncated { Ok(certificates) } else { Err(Malformed) };
        };
        if !is_certificate(certificate) {
            return Err(Malformed);
        }
        if certificates.len() <= MAX_CHAIN {
            // A copy of its own: who keeps a certificate should not keep the whole list.
            certificates.push(Bytes::copy_from_slice(certificate));
        }
        rest = after;
    }
    if certificates.is_empty() && !truncated { Err(Malformed) } else { Ok(certificates) }
}

/// One certificate, and what comes after it and its extensions.
fn entry(bytes: &[u8], extensions: bool) -> Option<(&[u8], &[u8])> {
    let (&[high, middle, low], rest) = bytes.split_first_chunk::<3>()?;
    let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
    let (certificate, rest) = rest.split_at_checked(length)?;
    if !extensions {
        return Some((certificate, rest));
    }
    let (&length, rest) = rest.split_first_chunk::<2>()?;
    Some((certificate, rest.get(usize::from(u16::from_be_bytes(length))..)?))
}

/// A SEQUENCE that ends where the bytes do and begins with another one, as no private key does. No certificate is shorter
/// than 128 bytes, none here longer than 64 KiB.
fn is_certificate(der: &[u8]) -> bool {
    let body = match der {
        [0x30, 0x81, length, body @ ..] if *length >= 0x80 && body.len() == usize::from(*length) => body,
        [0x30, 0x82, high, low, body @ ..]
            if *high > 0 && body.len() == usize::from(u16::from_be_bytes([*high, *low])) =>
        {
            body
        }
        _ => return false,
    };
    body.first() == Some(&0x30)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{certificate, list_of, whole};
    use super::*;

    #[test]
    fn lists_of_both_versions_are_read_and_not_taken_for_each_other() {
        let chain = [certificate(1, 700), certificate(2, 200)];
        for modern in [true, false] {
            let bytes = list_of(&chain, modern);
            let whole = whole(LibraryForm::List, &bytes);
            let shown = read(&whole, modern).unwrap();
            assert_eq!(shown.certificates, chain);
            assert_eq!(shown.message, MessageSize { bytes: 8 + bytes.len() as u32, exact: true });
            assert_eq!(read(&whole, !modern), Err(Malformed));
        }
    }

    #[test]
    fn a_list_whose_lengths_do_not_add_up_is_discarded_whole() {
        let bytes = list_of(&[certificate(1, 300), certificate(2, 300)], true);
        for end in 0..bytes.len() {
            // What ends behind the first entry is a list of its own.
            let first_only = end == bytes.len() / 2;
            assert_eq!(read(&whole(LibraryForm::List, &bytes[..end]), true).is_ok(), first_only, "{end}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(read(&whole(LibraryForm::List, &longer), true), Err(Malformed));
        let mut other = bytes;
        other[3] = 0x31;
        assert_eq!(read(&whole(LibraryForm::List, &other), true), Err(Malformed));
    }

    #[test]
    fn of_a_truncated_list_the_whole_certificates_are_kept() {
        let chain = [certificate(1, 300), certificate(2, 300)];
        let bytes = list_of(&chain, true);
        for (end, kept) in [(0, 0), (304, 0), (305 + 3, 1), (bytes.len() - 1, 1)] {
            let cut = Whole { total: bytes.len() as u32, ..whole(LibraryForm::List, &bytes[..end]) };
            assert_eq!(read(&cut, true).unwrap().certificates, chain[..kept], "{end}");
        }
    }

    #[test]
    fn no_more_certificates_are_kept_than_the_bound_but_all_must_add_up() {
        let chain: Vec<_> = (0..40).map(|number| certificate(number, 200)).collect();
        let bytes = list_of(&chain, true);
        let shown = read(&whole(LibraryForm::List, &bytes), true).unwrap();
        assert_eq!(shown.certificates, chain[..MAX_CHAIN]);
        assert!(shown.truncated);
        let bytes = list_of(&chain[..MAX_CHAIN], true);
        assert!(!read(&whole(LibraryForm::List, &bytes), true).unwrap().truncated);
        let bytes = list_of(&chain, true);
        assert!(read(&whole(LibraryForm::List, &bytes[..bytes.len() - 1]), true).is_err());
    }

    #[test]
    fn a_single_certificate_must_be_one() {
        let der = certificate(1, 700);
        let shown = read(&whole(LibraryForm::Leaf, &der), true).unwrap();
        assert_eq!(shown.certificates[..], [der[..].to_vec()]);
        assert_eq!(shown.message, MessageSize { bytes: 4 + 1 + 3 + 3 + 700 + 2, exact: false });
        assert_eq!(read(&whole(LibraryForm::Leaf, &der[..699]), true), Err(Malformed));
        assert_eq!(read(&whole(LibraryForm::Leaf, b"-----BEGIN"), true), Err(Malformed));
    }
}
