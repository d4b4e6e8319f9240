//! What certificates look like in the memory of a process.

use countersign_common::counter;

use crate::{
    maps::count,
    user::{be24, read_user},
};

/// Certificates of one list: browsers stop at ten.
const CERTIFICATES_MAX: u32 = 16;

/// The longest list that OpenSSL takes (`SSL_MAX_CERT_LIST_DEFAULT`, openssl/ssl.h).
const LIST_MAX: u32 = 100 * 1024;

/// Handshake messages in a row that are looked at: with two ClientHellos and the certificates of both sides there are twelve.
const MESSAGES_MAX: u32 = 16;

/// HandshakeType of a Certificate message (RFC 8446 section 4), and the bytes before what is in a message.
const CERTIFICATE: u8 = 11;
const HEADER: u32 = 4;

/// DER tag of a SEQUENCE, with which every certificate begins.
const SEQUENCE: u8 = 0x30;

/// Where a walk along a list ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// At its end.
    List,
    /// Beyond it, or at something that is no certificate.
    Other,
    /// Before it, after [`CERTIFICATES_MAX`].
    TooLong,
}

/// The certificate_list that begins with the certificate at `der`, of `length` bytes: its address and its length.
///
/// Where a Certificate message is parsed in place, the three bytes before the first certificate are its length, and the
/// three before these the list's (RFC 5246 section 7.4.2, RFC 8446 section 4.4.2). Only if the lengths lead from one
/// certificate to the next and end where the list does is it one: what other code parses never looks like that.
#[inline(always)]
pub fn list_of(der: u64, length: u32) -> Option<(u64, u32)> {
    let before: [u8; 6] = read_user(der.wrapping_sub(6))?;
    let list_length = be24([before[0], before[1], before[2]]);
    if be24([before[3], before[4], before[5]]) != length || list_length < length.wrapping_add(3) {
        return None;
    }
    let list = der.wrapping_sub(3);
    let found = match walk::<false>(list, list_length) {
        Walk::Other => walk::<true>(list, list_length),
        found => found,
    };
    is_whole(found, list_length).then_some((list, list_length))
}

/// The handshake messages of TLS 1.3 that fill some memory, as far as they are of interest.
pub struct Messages {
    /// The last Certificate message among them: its address and length, 0 if there is none.
    certificate: (u64, u32),
    /// No other message follows it.
    pub ends_with_it: bool,
}

impl Messages {
    /// Those of `length` bytes at `address`; `None` if these are anything else.
    #[inline(always)]
    pub fn read(address: u64, length: u32) -> Option<Self> {
        let (mut at, mut found, mut size) = (0u32, 0u32, 0u32);
        for _ in 0..MESSAGES_MAX {
            if at >= length {
                break;
            }
            let start: [u8; 4] = read_user(address.wrapping_add(u64::from(at)))?;
            let whole = be24([start[1], start[2], start[3]]).wrapping_add(HEADER);
            if start[0] == CERTIFICATE {
                (found, size) = (at, whole);
            }
            at = at.wrapping_add(whole);
        }
        let certificate = (address.wrapping_add(u64::from(found)), size);
        (at == length).then_some(Messages { certificate, ends_with_it: found.wrapping_add(size) == length })
    }

    /// The certificate_list of the Certificate message, if it is one of TLS 1.3 with certificates.
    #[inline(always)]
    pub fn list(&self) -> Option<(u64, u32)> {
        let (address, length) = self.certificate;
        list_in(address.wrapping_add(u64::from(HEADER)), length.wrapping_sub(HEADER))
    }
}

/// The certificate_list in what a Certificate message of TLS 1.3 holds: a context, then the list, each behind its length (RFC 8446
/// section 4.4.2).
#[inline(always)]
pub fn list_in(body: u64, length: u32) -> Option<(u64, u32)> {
    let [context]: [u8; 1] = read_user(body)?;
    let before = 1 + u32::from(context) + 3;
    let list = body.wrapping_add(u64::from(before));
    let list_length = be24(read_user(list.wrapping_sub(3))?);
    if list_length.wrapping_add(before) != length {
        return None;
    }
    is_whole(walk::<true>(list, list_length), list_length).then_some((list, list_length))
}

/// Whether a walk along a list of `length` bytes came to its end.
#[inline(always)]
fn is_whole(found: Walk, length: u32) -> bool {
    // In the middle of a list, what stands before a certificate reads as the length of a huge one.
    if found == Walk::TooLong && length <= LIST_MAX {
        count(counter::LONG_CHAINS, 1);
    }
    found == Walk::List
}

/// What certificates, each behind its length and with `EXTENSIONS` (TLS 1.3) followed by extensions, amount to.
#[inline(always)]
fn walk<const EXTENSIONS: bool>(list: u64, length: u32) -> Walk {
    let mut at = 0u32;
    for _ in 0..CERTIFICATES_MAX {
        let Some(start) = read_user::<[u8; 3]>(list.wrapping_add(u64::from(at))) else { return Walk::Other };
        let entry = be24(start);
        if !is_certificate(list.wrapping_add(u64::from(at) + 3), entry) {
            return Walk::Other;
        }
        at = at.wrapping_add(3).wrapping_add(entry);
        if EXTENSIONS {
            let Some(size) = read_user::<[u8; 2]>(list.wrapping_add(u64::from(at))) else {
                return Walk::Other;
            };
            at = at.wrapping_add(2).wrapping_add(u32::from(u16::from_be_bytes(size)));
        }
        if at >= length {
            return if at == length { Walk::List } else { Walk::Other };
        }
    }
    Walk::TooLong
}

/// Whether the three bytes before a certificate are its length: it stands in a message.
#[inline(always)]
pub fn stands_in_message(der: u64, length: u32) -> bool {
    read_user::<[u8; 3]>(der.wrapping_sub(3)).is_some_and(|before| be24(before) == length)
}

/// Whether a DER sequence of exactly `length` bytes stands at `der` (X.690 sections 8.1.3 and 10.1) that begins with a
/// sequence, as a certificate does (RFC 5280 section 4.1) and no private key.
#[inline(always)]
pub fn is_certificate(der: u64, length: u32) -> bool {
    let Some(start) = read_user::<[u8; 6]>(der) else { return false };
    // One to three bytes of length follow. Computed rather than told apart: the verifier follows each path of a loop.
    let further = start[1].wrapping_sub(0x81);
    if start[0] != SEQUENCE || further > 2 {
        return false;
    }
    let word = u64::from_be_bytes([start[0], start[1], start[2], start[3], start[4], start[5], 0, 0]);
    if (word >> (32 - 8 * u32::from(further))) as u8 != SEQUENCE {
        return false;
    }
    let content = be24([start[2], start[3], start[4]]) >> (16 - 8 * u32::from(further));
    content.wrapping_add(3).wrapping_add(u32::from(further)) == length
}
