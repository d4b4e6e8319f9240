//! Bodies of the handshake messages that TLS ≤ 1.2 sends in clear.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::hello::OfferedTypes;
use super::{IncompleteReason, SessionHandle};

/// Handshake message types (IANA TLS HandshakeType).
pub(super) mod kind {
    pub const HELLO_REQUEST: u8 = 0;
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const NEW_SESSION_TICKET: u8 = 4;
    /// A message of its own until draft 21 of TLS 1.3.
    pub const HELLO_RETRY_REQUEST: u8 = 6;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    pub const CERTIFICATE_REQUEST: u8 = 13;
    pub const SERVER_HELLO_DONE: u8 = 14;
    pub const CERTIFICATE_VERIFY: u8 = 15;
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub const FINISHED: u8 = 20;
    pub const CERTIFICATE_STATUS: u8 = 22;
}

/// Certificates kept per chain: OpenSSL's default depth limit is 100, real chains have at most 10.
pub(super) const MAX_CHAIN: usize = 32;

/// Takes pieces off the front of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with an 8-bit length (RFC 8446 section 3.4).
    pub fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    pub fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub fn vector24(&mut self) -> Option<&'a [u8]> {
        let high = self.u8()?;
        let low = self.u16()?;
        self.take(usize::from(high) << 16 | usize::from(low))
    }
}

/// A certificate chain, leaf first.
#[derive(Debug)]
pub(super) struct Chain {
    pub certificates: Vec<Bytes>,
    /// It had more than [`MAX_CHAIN`].
    pub truncated: bool,
}

/// What a Certificate message shows.
#[derive(Debug)]
pub(super) enum Shown {
    Chain(Chain),
    /// SHA-256 of a SubjectPublicKeyInfo (RFC 7250 section 3).
    RawPublicKey([u8; 32]),
    /// Something of another type.
    Unread,
}

/// Reads a Certificate message by the types that are allowed in it. A chain and a key cannot be taken for each other:
/// a chain that began with the tag of a key would be three megabytes long.
pub(super) fn shown(body: &[u8], allowed: OfferedTypes) -> Result<Shown, IncompleteReason> {
    const SEQUENCE: u8 = 0x30;
    let mut cursor = Cursor(body);
    if allowed.raw_public_key
        && let Some(key) = cursor.vector24()
        && key.first() == Some(&SEQUENCE)
        && cursor.0.is_empty()
    {
        return Ok(Shown::RawPublicKey(Sha256::digest(key).into()));
    }
    match certificate(body) {
        Err(_) if allowed.other => Ok(Shown::Unread),
        chain => chain.map(Shown::Chain),
    }
}

/// Certificate (RFC 5246 section 7.4.2).
pub(super) fn certificate(body: &[u8]) -> Result<Chain, IncompleteReason> {
    let read = || {
        let mut list = Cursor(Cursor(body).vector24()?);
        let mut chain = Chain { certificates: Vec::new(), truncated: false };
        while !list.0.is_empty() {
            let der = list.vector24()?;
            if chain.certificates.len() == MAX_CHAIN {
                chain.truncated = true;
            } else {
                chain.certificates.push(Bytes::copy_from_slice(der));
            }
        }
        Some(chain)
    };
    read().ok_or(IncompleteReason::Malformed)
}

/// The named curve of an ECDHE ServerKeyExchange (RFC 8422 section 5.4); with a PSK identity hint in front of it
/// for ECDHE_PSK (RFC 5489). `None` for explicit curves.
pub(super) fn named_curve(body: &[u8], after_hint: bool) -> Option<u16> {
    const NAMED_CURVE: u8 = 3;
    let mut cursor = Cursor(body);
    if after_hint {
        cursor.vector16()?;
    }
    (cursor.u8()? == NAMED_CURVE).then(|| cursor.u16())?
}

/// The ticket of a NewSessionTicket (RFC 5077 section 3.3); `None` if it is empty, which issues nothing.
pub(super) fn session_ticket(body: &[u8]) -> Result<Option<SessionHandle>, IncompleteReason> {
    let mut cursor = Cursor(body);
    let read = cursor.take(4).and_then(|_lifetime| cursor.vector16());
    let ticket = read.ok_or(IncompleteReason::Malformed)?;
    Ok((!ticket.is_empty()).then(|| SessionHandle::of(ticket)))
}

impl SessionHandle {
    /// The handle of a session ID or ticket.
    pub fn of(secret: &[u8]) -> SessionHandle {
        SessionHandle(Sha256::digest(secret).into())
    }
}
