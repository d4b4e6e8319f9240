//! JA4, the fingerprint of a TLS client: what its ClientHello offers, whoever it is.
//!
//! Only JA4 (TLS client); the other methods of that family have another licence and are not implemented. Written
//! from the public specification (FoxIO, "technical_details/JA4.md"), whose licence asks for this notice:
//!
//! JA4 TLS Client Fingerprinting, Copyright (c) 2023 FoxIO. All rights reserved. BSD 3-Clause: redistribution and use
//! in source and binary forms, with or without modification, are permitted provided that this notice, the list of
//! conditions and the disclaimer are retained; they stand in full in the file NOTICE at the top of this project.

use std::fmt;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::message::Cursor;

/// Characters before the first hash.
const START: usize = 10;
/// Characters of each hash that are kept.
const HASH: usize = 12;
/// Counts have two digits; more is said as 99.
const MAX_COUNT: usize = 99;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// Most values of which the hashing waits until somebody wants it: what clients offer is mostly the same and shared, and then
/// hashed once. Browsers have about 50; longer lists would take more room than their hashes.
const MAX_VALUES: usize = 128;

/// A fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Ja4 {
    start: [u8; START],
    lists: Lists,
}

/// What of a fingerprint is hashed.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Lists {
    /// Cipher suites and extensions, each in order, and signature algorithms as they were sent; up to [`MAX_VALUES`].
    Kept { values: Box<[u16]>, suites: usize, extensions: usize },
    /// The hashes of longer ones.
    Hashed([[u8; HASH]; 2]),
}

impl Ja4 {
    /// As it is printed: ASCII.
    pub fn text(&self) -> String {
        let [suites, extensions] = match &self.lists {
            Lists::Hashed(hashes) => *hashes,
            Lists::Kept { values, suites, extensions } => hashes(values, *suites, *extensions),
        };
        let parts = [&self.start[..], &suites, &extensions].map(|part| String::from_utf8_lossy(part));
        parts.join("_")
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ja4({})", self.text())
    }
}

/// What of a ClientHello is sorted: most clients offer less.
pub(super) type Offered = SmallVec<[u16; 64]>;

/// What of a ClientHello goes into the fingerprint, as it was sent; GREASE included.
#[derive(Debug, Default)]
pub(super) struct Ja4Source<'a> {
    /// legacy_version.
    pub legacy_version: u16,
    /// The list of supported_versions, if there is that extension.
    pub supported_versions: Option<&'a [u8]>,
    pub cipher_suites: Offered,
    pub extensions: Offered,
    /// The first value of ALPN; empty if there is none.
    pub first_protocol: &'a [u8],
    /// The body of signature_algorithms.
    pub signature_algorithms: &'a [u8],
}

impl Ja4Source<'_> {
    /// The fingerprint of a client over TCP.
    pub fn fingerprint(mut self) -> Ja4 {
        self.cipher_suites.retain(|suite| !is_grease(*suite));
        self.extensions.retain(|extension| !is_grease(*extension));
        self.cipher_suites.sort_unstable();
        self.extensions.sort_unstable();
        let extension_count = self.extensions.len();
        let has_name = self.extensions.first() == Some(&SERVER_NAME);
        self.extensions.retain(|extension| ![SERVER_NAME, ALPN].contains(extension));

        let version = version(self.supported_versions, self.legacy_version);
        let suites = two_digits(self.cipher_suites.len());
        let extensions = two_digits(extension_count);
        let protocol = protocol(self.first_protocol);
        let mut start = [b't'; START];
        start[1..3].copy_from_slice(&version);
        start[3] = if has_name { b'd' } else { b'i' };
        start[4..6].copy_from_slice(&suites);
        start[6..8].copy_from_slice(&extensions);
        start[8..].copy_from_slice(&protocol);

        let algorithms = Cursor(self.signature_algorithms).vector16().unwrap_or_default();
        let (suites, extensions) = (self.cipher_suites.len(), self.extensions.len());
        // Mostly all there will be: then nothing is moved to fit.
        let mut values = Vec::with_capacity(suites + extensions + algorithms.len() / 2);
        values.extend_from_slice(&self.cipher_suites);
        values.extend_from_slice(&self.extensions);
        values.extend(words(algorithms).filter(|&algorithm| !is_grease(algorithm)));
        let lists = if values.len() > MAX_VALUES {
            Lists::Hashed(hashes(&values, suites, extensions))
        } else {
            Lists::Kept { values: values.into(), suites, extensions }
        };
        Ja4 { start, lists }
    }
}

/// The hash of the first `suites` values, and that of the `extensions` after them and of what remains.
fn hashes(values: &[u16], suites: usize, extensions: usize) -> [[u8; HASH]; 2] {
    let (suites, rest) = values.split_at(suites);
    let (extensions, algorithms) = rest.split_at(extensions);
    let mut text = Vec::with_capacity(5 * values.len() + 1);
    list(&mut text, suites);
    let suite_hash = hash(&text);
    text.clear();
    list(&mut text, extensions);
    if !text.is_empty() && !algorithms.is_empty() {
        text.push(b'_');
        list(&mut text, algorithms);
    }
    [suite_hash, hash(&text)]
}

/// Values that mean nothing, to keep others from relying on the list (RFC 8701 section 2).
pub(super) fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// The highest number offered decides, whatever it is: drafts of TLS 1.3 are above it, and have no name here.
fn version(supported: Option<&[u8]>, legacy: u16) -> [u8; 2] {
    let highest = match supported {
        Some(list) => words(list).filter(|&version| !is_grease(version)).max().unwrap_or(0),
        None => legacy,
    };
    match highest {
        0x0304 => *b"13",
        0x0303 => *b"12",
        0x0302 => *b"11",
        0x0301 => *b"10",
        0x0300 => *b"s3",
        0x0002 => *b"s2",
        _ => *b"00",
    }
}

fn two_digits(count: usize) -> [u8; 2] {
    // At most 99.
    let count = count.min(MAX_COUNT) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character, or of the bytes as hex if one of them is no ASCII letter or digit.
fn protocol(value: &[u8]) -> [u8; 2] {
    let (Some(&first), Some(&last)) = (value.first(), value.last()) else { return *b"00" };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [first, last]
    } else {
        [digit(first >> 4), digit(last & 0xf)]
    }
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 0xf)]
}

/// Four hex digits each, with commas between them.
fn list(text: &mut Vec<u8>, values: &[u16]) {
    let before = text.len();
    for value in values {
        let [high, low] = value.to_be_bytes();
        let digits = [high >> 4, high & 0xf, low >> 4, low & 0xf].map(digit);
        text.extend_from_slice(&digits);
        text.push(b',');
    }
    // Behind the last one there is no comma.
    text.truncate(before.max(text.len().saturating_sub(1)));
}

/// The first digits of SHA-256; zeros for nothing.
fn hash(text: &[u8]) -> [u8; HASH] {
    let mut digits = [b'0'; HASH];
    if !text.is_empty() {
        let digest = Sha256::digest(text);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest.iter()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITES: [u16; 15] = [
        0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
        0x009d, 0x002f, 0x0035,
    ];
    const EXTENSIONS: [u16; 16] = [
        0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b,
        0xff01, 0x000b, 0x000a, 0x0015,
    ];
    const ALGORITHMS: &[u8] = &[0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];

    fn example() -> Ja4Source<'static> {
        Ja4Source {
            legacy_version: 0x0303,
            supported_versions: Some(&[3, 4, 3, 3]),
            cipher_suites: SUITES.as_slice().into(),
            extensions: EXTENSIONS.as_slice().into(),
            first_protocol: b"h2",
            signature_algorithms: ALGORITHMS,
        }
    }

    #[test]
    fn the_example_of_the_specification_has_its_fingerprint() {
        assert_eq!(example().fingerprint().text(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        let unsigned = Ja4Source { signature_algorithms: &[], ..example() };
        assert_eq!(unsigned.fingerprint().text(), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn grease_changes_nothing() {
        let mut greased = example();
        greased.cipher_suites.insert(0, 0x0a0a);
        greased.extensions.insert(0, 0xdada);
        greased.extensions.push(0x1a1a);
        greased.supported_versions = Some(&[0xfa, 0xfa, 3, 4, 3, 3]);
        greased.signature_algorithms = &[0, 18, 0x6a, 0x6a, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];
        assert_eq!(greased.fingerprint(), example().fingerprint());
        // Looks like it, is not.
        assert!(!is_grease(0x0a1a) && !is_grease(0x0b0b));
    }

    #[test]
    fn a_client_that_offers_nothing_has_zeros() {
        let empty = Ja4Source { legacy_version: 0x0300, ..Ja4Source::default() };
        assert_eq!(empty.fingerprint().text(), "ts3i000000_000000000000_000000000000");
        // Only what is left out of the list.
        let named =
            Ja4Source { extensions: vec![16, 0].into(), legacy_version: 0x0301, ..Ja4Source::default() };
        assert_eq!(named.fingerprint().text(), "t10d000200_000000000000_000000000000");
    }

    #[test]
    fn counts_stop_at_99() {
        let many = Ja4Source { cipher_suites: (0..300).collect(), ..example() };
        assert!(many.fingerprint().text().starts_with("t13d9916h2_"));
    }

    #[test]
    fn a_long_list_is_hashed_at_once_and_to_the_same() {
        for suites in [MAX_VALUES - 31, 20 * MAX_VALUES] {
            let suites: Vec<u16> = (0x1000..0x1000 + suites as u16).collect();
            let fingerprint = Ja4Source { cipher_suites: suites.clone().into(), ..example() }.fingerprint();
            let mut text = Vec::new();
            list(&mut text, &suites);
            assert_eq!(fingerprint.text().as_bytes()[11..23], hash(&text));
            assert_eq!(fingerprint.text()[23..], example().fingerprint().text()[23..]);
            match fingerprint.lists {
                Lists::Kept { values, .. } => assert!(values.len() <= MAX_VALUES),
                Lists::Hashed(_) => assert!(suites.len() > MAX_VALUES),
            }
        }
    }

    #[test]
    fn protocols_are_named_by_their_ends_or_in_hex() {
        for (value, expected) in [
            (&b""[..], b"00"),
            (b"h2", b"h2"),
            (b"http/1.1", b"h1"),
            (b"x", b"xx"),
            // From the specification.
            (&[0xab], b"ab"),
            (&[0xab, 0xcd], b"ad"),
            (&[0x30, 0xab], b"3b"),
            (&[0x30, 0x31, 0xab, 0xcd], b"3d"),
            (&[0x30, 0xab, 0xcd, 0x31], b"01"),
        ] {
            assert_eq!(&protocol(value), expected, "{value:x?}");
        }
    }

    #[test]
    fn versions_without_a_name_are_zeros() {
        assert_eq!(version(Some(&[0x7f, 0x1c, 3, 4]), 0x0303), *b"00");
        assert_eq!(version(Some(&[]), 0x0303), *b"00");
        assert_eq!(version(None, 0x0302), *b"11");
        assert_eq!(version(None, 0x0505), *b"00");
    }
}
