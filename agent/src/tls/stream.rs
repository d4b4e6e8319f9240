//! One direction's records, incrementally: handshake messages are assembled, encrypted bodies passed over.

use super::IncompleteReason;
use super::message::kind;
use super::outline::{Entry, Outline, What};
use super::renegotiation::Records;
use super::ssl2;

/// Content types (RFC 8446 section 5.1).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
pub(super) const HEARTBEAT: u8 = 24;

pub(super) const HEADER: usize = 5;
/// Longest record body: RFC 5246 section 6.2.3 (2^14 + 2048); TLS 1.3 allows 2^14 + 256.
pub(super) const MAX_RECORD: u16 = (1 << 14) + 2048;
/// Longest body in clear (RFC 8446 section 5.1).
const MAX_PLAINTEXT: u16 = 1 << 14;
/// Longest handshake message that is kept: twice the longest certificate chain that common servers send;
/// OpenSSL's own default limit is 100 KiB.
pub(super) const MAX_HANDSHAKE_MESSAGE: usize = 128 << 10;
/// Bytes that tell a second ClientHello from an encrypted record: type, length, legacy_version.
const PROBE: usize = 6;

/// A complete handshake message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Incoming<'a> {
    /// Type and body.
    Message(u8, &'a [u8]),
    /// A hello in SSLv2's format, from its type on.
    Ssl2Hello(&'a [u8]),
}

/// Takes each handshake message; says what it was.
pub(super) type OnMessage<'a> = dyn FnMut(Incoming<'_>) -> Result<What, IncompleteReason> + 'a;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub outline: Outline,
    broken: Option<IncompleteReason>,
    position: u64,
    header: [u8; HEADER],
    header_filled: u8,
    body: Body,
    remaining: u16,
    record_start: u64,
    record_acknowledged: u64,
    probe: [u8; PROBE],
    probe_filled: u8,
    alert: Option<u8>,
    /// The handshake message in progress; grows with what arrives, never by what it claims.
    message: Vec<u8>,
    message_start: u64,
    message_acknowledged: u64,
    /// Keys are in use as TLS ≤ 1.2 does it: after ChangeCipherSpec every record is encrypted.
    pub encrypts: Encrypts,
    ssl2: Ssl2,
    last_acknowledged: u64,
}

/// Whether the direction is in SSLv2's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ssl2 {
    /// It is not, or its first record has not come.
    #[default]
    No,
    /// Its hello was; what follows shows which protocol was chosen.
    Hello,
    /// All of it is: nothing further is read.
    Entirely,
}

/// What ChangeCipherSpec means in this direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encrypts {
    /// Not known: a TLS 1.3 client sends it before a second ClientHello, which is recognised by its bytes.
    #[default]
    Unknown,
    /// Everything after it is encrypted (≤ 1.2).
    AfterChangeCipherSpec,
    /// Nothing (1.3).
    ByContentType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Body {
    #[default]
    Skipped,
    Handshake,
    Ssl2Hello,
    Probed,
    Alert,
}

impl Stream {
    /// Stream offset up to which the outline is known: it may be ahead of the bytes, by an encrypted body.
    pub fn seen_to(&self) -> u64 {
        self.outline.entries().last().map_or(0, |entry| entry.end).max(self.position)
    }

    /// Bytes of the other direction that the sender is known to have had.
    pub fn last_acknowledged(&self) -> u64 {
        self.last_acknowledged
    }

    /// Bytes of memory that it takes beside itself.
    pub fn held(&self) -> usize {
        self.message.capacity() + self.outline.held()
    }

    pub fn broken(&self) -> Option<IncompleteReason> {
        self.broken
    }

    /// The first reason stands. Frees what cannot be completed any more.
    pub fn set_broken(&mut self, reason: IncompleteReason) {
        self.broken.get_or_insert(reason);
        self.message = Vec::new();
    }

    pub fn skippable(&self) -> u64 {
        match self.body {
            Body::Skipped if self.broken.is_none() => u64::from(self.remaining),
            _ => 0,
        }
    }

    pub fn skip(&mut self, count: u64) {
        let count = count.min(self.skippable());
        self.position += count;
        // Not more than `remaining`, which is a u16.
        self.remaining -= u16::try_from(count).unwrap_or(self.remaining);
    }

    /// Where it stands among records that are all encrypted.
    pub fn records(&self) -> Records {
        let (header, filled, remaining) = (self.header, self.header_filled, self.remaining);
        Records { header, filled, remaining, over: self.broken.is_some(), found: false }
    }

    /// Stream offset up to which bytes are wanted at least, so far as known.
    pub fn wanted(&self) -> u64 {
        if self.broken.is_some() {
            return self.position;
        }
        let header = (HEADER - usize::from(self.header_filled)) as u64;
        match (self.remaining, self.body) {
            (0, _) => self.position + header,
            (remaining, Body::Skipped) => self.position + u64::from(remaining) + HEADER as u64,
            (remaining, _) => self.position + u64::from(remaining),
        }
    }

    /// Reads on. Returns whether there is a new entry in the outline. After a failure the direction is broken.
    pub fn push(&mut self, bytes: &[u8], acknowledged: u64, on_message: &mut OnMessage<'_>) -> bool {
        let before = self.outline.pushed();
        if !bytes.is_empty() {
            self.last_acknowledged = self.last_acknowledged.max(acknowledged);
        }
        if self.broken.is_none()
            && let Err(reason) = self.read(bytes, acknowledged, on_message)
        {
            self.set_broken(reason);
            return true;
        }
        self.outline.pushed() != before
    }

    fn read(
        &mut self,
        mut bytes: &[u8],
        acknowledged: u64,
        on_message: &mut OnMessage<'_>,
    ) -> Result<(), IncompleteReason> {
        while !bytes.is_empty() {
            let taken = if self.ssl2 == Ssl2::Entirely {
                bytes.len()
            } else if self.remaining == 0 {
                self.read_header(bytes, acknowledged)?
            } else {
                let count = bytes.len().min(usize::from(self.remaining));
                let count = match self.body {
                    Body::Skipped => count,
                    Body::Alert => self.read_alert(bytes[0]),
                    Body::Probed => self.read_probe(&bytes[..count], on_message)?,
                    Body::Ssl2Hello => self.read_ssl2_hello(&bytes[..count], on_message)?,
                    Body::Handshake => {
                        self.assemble(&bytes[..count], self.position, acknowledged, on_message)?;
                        count
                    }
                };
                // At most `remaining`, see `count`.
                self.remaining -= count as u16;
                count
            };
            self.position += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn read_header(&mut self, bytes: &[u8], acknowledged: u64) -> Result<usize, IncompleteReason> {
        let filled = usize::from(self.header_filled);
        if filled == 0 {
            self.record_start = self.position;
            self.record_acknowledged = acknowledged;
        }
        let count = bytes.len().min(HEADER - filled);
        self.header[filled..filled + count].copy_from_slice(&bytes[..count]);
        // At most HEADER.
        self.header_filled += count as u8;
        if filled + count == HEADER {
            self.header_filled = 0;
            self.begin_record(self.position + count as u64)?;
        }
        Ok(count)
    }

    fn begin_record(&mut self, body_start: u64) -> Result<(), IncompleteReason> {
        let [content, major, minor, high, low] = self.header;
        if let Some(length) = ssl2::record_length([content, major]) {
            return self.begin_ssl2_record(length);
        }
        let length = u16::from_be_bytes([high, low]);
        if major != 3
            || minor > 4
            || length == 0
            || length > MAX_RECORD
            || !(CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&content)
        {
            return Err(IncompleteReason::Malformed);
        }
        self.remaining = length;
        let changed = self.outline.change_cipher_spec().is_some();
        self.body = match (content, self.encrypts) {
            (_, Encrypts::AfterChangeCipherSpec) if changed => self.encrypted(content, length, body_start),
            (APPLICATION_DATA | HEARTBEAT, _) => self.encrypted(content, length, body_start),
            (CHANGE_CIPHER_SPEC, _) => {
                if length != 1 {
                    return Err(IncompleteReason::Malformed);
                }
                self.log(What::ChangeCipherSpec, self.record_start, body_start + 1, self.record_acknowledged);
                Body::Skipped
            }
            (ALERT, _) if length == 2 => Body::Alert,
            // Alerts in clear are two bytes (RFC 8446 section 6); a longer one is encrypted.
            (ALERT, _) => self.encrypted(content, length, body_start),
            (_, Encrypts::Unknown) if changed && self.message.is_empty() => {
                self.probe_filled = 0;
                if usize::from(length) < PROBE {
                    self.encrypted(content, length, body_start)
                } else {
                    Body::Probed
                }
            }
            (_, _) if length > MAX_PLAINTEXT => return Err(IncompleteReason::Malformed),
            (_, _) => Body::Handshake,
        };
        Ok(())
    }

    /// A record in SSLv2's format: a hello at the very beginning, or what follows one. `minor` of the TLS header is its
    /// message type.
    fn begin_ssl2_record(&mut self, length: u16) -> Result<(), IncompleteReason> {
        let [_, _, message, ..] = self.header;
        let rest = HEADER - ssl2::HEADER;
        match (self.ssl2, message) {
            (Ssl2::No, ssl2::CLIENT_HELLO | ssl2::SERVER_HELLO)
                if self.record_start == 0 && usize::from(length) > rest =>
            {
                self.message_acknowledged = self.record_acknowledged;
                self.message.extend_from_slice(&self.header[ssl2::HEADER..]);
                self.body = Body::Ssl2Hello;
                // More than `rest`, which is 3.
                self.remaining = length - rest as u16;
            }
            (Ssl2::Hello, ssl2::CLIENT_MASTER_KEY) => {
                let end = self.record_start + ssl2::HEADER as u64 + u64::from(length);
                let what = What::Message(kind::CLIENT_KEY_EXCHANGE);
                self.log(what, self.record_start, end, self.record_acknowledged);
                self.ssl2 = Ssl2::Entirely;
            }
            _ => return Err(IncompleteReason::Malformed),
        }
        Ok(())
    }

    fn read_ssl2_hello(
        &mut self,
        bytes: &[u8],
        on_message: &mut OnMessage<'_>,
    ) -> Result<usize, IncompleteReason> {
        self.message.extend_from_slice(bytes);
        if bytes.len() == usize::from(self.remaining) {
            let message = std::mem::take(&mut self.message);
            let what = on_message(Incoming::Ssl2Hello(&message))?;
            let end = self.position + bytes.len() as u64;
            self.log(what, self.record_start, end, self.message_acknowledged);
            let goes_on = what == What::Message(kind::SERVER_HELLO);
            self.ssl2 = if goes_on { Ssl2::Entirely } else { Ssl2::Hello };
        }
        Ok(bytes.len())
    }

    fn encrypted(&mut self, content: u8, length: u16, body_start: u64) -> Body {
        let end = body_start + u64::from(length);
        self.log(What::Encrypted { content, length }, self.record_start, end, self.record_acknowledged);
        Body::Skipped
    }

    fn log(&mut self, what: What, start: u64, end: u64, acknowledged: u64) {
        self.outline.push(Entry { what, start, end, acknowledged });
    }

    fn read_alert(&mut self, byte: u8) -> usize {
        match self.alert.take() {
            None => self.alert = Some(byte),
            Some(level) => {
                let what = What::Alert { level, description: byte };
                self.log(what, self.record_start, self.position + 1, self.record_acknowledged);
            }
        }
        1
    }

    /// A handshake record after ChangeCipherSpec of a client that sent only ClientHellos: a second ClientHello
    /// (TLS 1.3 after HelloRetryRequest, RFC 8446 appendix D.4), or Finished of an abbreviated handshake.
    fn read_probe(
        &mut self,
        bytes: &[u8],
        on_message: &mut OnMessage<'_>,
    ) -> Result<usize, IncompleteReason> {
        let filled = usize::from(self.probe_filled);
        let count = bytes.len().min(PROBE - filled);
        self.probe[filled..filled + count].copy_from_slice(&bytes[..count]);
        // At most PROBE.
        self.probe_filled += count as u8;
        if filled + count < PROBE {
            return Ok(count);
        }
        let [message, high, _, _, major, minor] = self.probe;
        if message == kind::CLIENT_HELLO && high == 0 && major == 3 && minor <= 3 {
            self.body = Body::Handshake;
            let start = self.position + count as u64 - PROBE as u64;
            self.assemble(&self.probe.clone(), start, self.record_acknowledged, on_message)?;
        } else {
            let length = u16::from_be_bytes([self.header[3], self.header[4]]);
            self.encrypts = Encrypts::AfterChangeCipherSpec;
            self.body = self.encrypted(self.header[0], length, self.record_start + HEADER as u64);
        }
        Ok(count)
    }

    /// Takes a piece of the handshake stream that starts at stream offset `at`.
    fn assemble(
        &mut self,
        mut piece: &[u8],
        mut at: u64,
        acknowledged: u64,
        on_message: &mut OnMessage<'_>,
    ) -> Result<(), IncompleteReason> {
        while !piece.is_empty() {
            if self.message.is_empty() {
                self.message_start = at;
                self.message_acknowledged = acknowledged;
                if let Some(total) = message_length(piece)?
                    && let Some(whole) = piece.get(..total)
                {
                    self.finish_message(whole, at + total as u64, on_message)?;
                    piece = &piece[total..];
                    at += total as u64;
                    continue;
                }
            }
            let wanted = message_length(&self.message)?.unwrap_or(4) - self.message.len();
            let count = wanted.min(piece.len());
            self.message.extend_from_slice(&piece[..count]);
            piece = &piece[count..];
            at += count as u64;
            if message_length(&self.message)? == Some(self.message.len()) {
                let mut message = std::mem::take(&mut self.message);
                self.finish_message(&message, at, on_message)?;
                // The next message finds room in it.
                message.clear();
                self.message = message;
            }
        }
        Ok(())
    }

    fn finish_message(
        &mut self,
        message: &[u8],
        end: u64,
        on_message: &mut OnMessage<'_>,
    ) -> Result<(), IncompleteReason> {
        let what = on_message(Incoming::Message(message[0], &message[4..]))?;
        self.log(what, self.message_start, end, self.message_acknowledged);
        self.encrypts = match (self.encrypts, what) {
            (Encrypts::Unknown, What::Message(kind::SERVER_HELLO | kind::CLIENT_HELLO)) => Encrypts::Unknown,
            (Encrypts::Unknown, What::HelloRetryRequest) => Encrypts::ByContentType,
            // Only TLS ≤ 1.2 sends anything else in clear.
            (Encrypts::Unknown, _) => Encrypts::AfterChangeCipherSpec,
            (known, _) => known,
        };
        Ok(())
    }
}

/// Length of the message with its header, if the header is there. Fails if it is longer than is kept.
fn message_length(message: &[u8]) -> Result<Option<usize>, IncompleteReason> {
    let Some(&[_, high, middle, low]) = message.first_chunk::<4>() else { return Ok(None) };
    let total = 4 + usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX - 4);
    if total > MAX_HANDSHAKE_MESSAGE { Err(IncompleteReason::Truncated) } else { Ok(Some(total)) }
}
