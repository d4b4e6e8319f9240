//! What one direction sent, in order, without its content.

use super::stream::HANDSHAKE;

/// Bound on [`Outline::entries`]: a handshake with client authentication and tickets has about 20 per direction;
/// the rest is room for early data and what follows the handshake at once.
pub(super) const MAX_ENTRIES: usize = 96;

/// Something that one direction sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub what: What,
    /// Stream offset of its first byte (for encrypted records: of the header).
    pub start: u64,
    /// Stream offset behind its last byte.
    pub end: u64,
    /// Bytes of the other direction that the sender had when it sent the first byte.
    pub acknowledged: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A handshake message in clear, by type (RFC 8446 section 4, RFC 5246 section 7.4).
    Message(u8),
    HelloRetryRequest,
    ChangeCipherSpec,
    /// An alert in clear.
    Alert {
        level: u8,
        description: u8,
    },
    /// An encrypted record: outer content type and length field.
    Encrypted {
        content: u8,
        length: u16,
    },
}

/// The entries of one direction.
#[derive(Debug, Default)]
pub(super) struct Outline {
    entries: Vec<Entry>,
    pushed: u64,
    finished: u64,
}

impl Outline {
    /// Past [`MAX_ENTRIES`] the last one is replaced, see [`Outline::is_whole_to`].
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop();
        }
        if self.entries.is_empty() {
            // Most handshakes have fewer.
            self.entries.reserve(12);
        }
        self.pushed += 1;
        self.finished += u64::from(matches!(entry.what, What::Encrypted { content: HANDSHAKE, .. }));
        self.entries.push(entry);
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of memory that it takes beside itself.
    pub fn held(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// How many entries there were, dropped ones included.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many encrypted handshake records there were, dropped ones included.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Whether no entry up to that stream offset was replaced.
    pub fn is_whole_to(&self, offset: u64) -> bool {
        let last_kept = self.entries.get(MAX_ENTRIES - 2);
        self.pushed <= MAX_ENTRIES as u64 || last_kept.is_some_and(|entry| entry.end >= offset)
    }

    pub fn contains(&self, message: u8) -> bool {
        self.find(message).is_some()
    }

    /// The first message of that type.
    pub fn find(&self, message: u8) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.what == What::Message(message))
    }

    pub fn change_cipher_spec(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.what == What::ChangeCipherSpec)
    }

    /// Encrypted records of a content type.
    pub fn encrypted(&self, wanted: u8) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| matches!(entry.what, What::Encrypted { content, .. } if content == wanted))
    }

    /// The first fatal alert in clear.
    pub fn fatal_alert(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| matches!(entry.what, What::Alert { level: 2, .. }))
    }
}
