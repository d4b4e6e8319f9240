//! A cursor over the prefix of a direction, for protocols that are read field by field rather than line by line.
//!
//! A field that is not there yet is told apart from one that contradicts, so that a recogniser written with `?` is three-valued.

use super::{Credential, Dialogue, Match, Switch, Upgrade, begins};
use crate::tls::PEEK;

/// A value, or why there is none: [`Match::NotYet`] if bytes are missing, [`Match::No`] if they contradict.
pub(super) type Seen<T> = Result<T, Match>;

/// Reads from the front.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What it means that bytes are missing.
    missing: Match,
}

impl<'a> Cursor<'a> {
    /// Over a prefix: what is missing may come.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0, missing: Match::NotYet }
    }

    /// Over a whole: what is missing will not come.
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0, missing: Match::No }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Seen<&'a [u8]> {
        let taken = self.rest().get(..count).ok_or(self.missing)?;
        self.at += count;
        Ok(taken)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Seen<u8> {
        let &byte = self.rest().first().ok_or(self.missing)?;
        self.at += 1;
        Ok(byte)
    }

    /// An unsigned integer of at most four bytes, most significant first.
    pub(super) fn big(&mut self, count: usize) -> Seen<usize> {
        Ok(self.take(count)?.iter().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    }

    /// An unsigned integer of at most four bytes, least significant first.
    pub(super) fn little(&mut self, count: usize) -> Seen<usize> {
        Ok(self.take(count)?.iter().rfold(0, |value, &byte| value << 8 | usize::from(byte)))
    }

    /// Exactly these bytes, the first wrong one being enough to say no.
    pub(super) fn expect(&mut self, wanted: &[u8]) -> Seen<()> {
        match begins(self.rest(), wanted) {
            Match::Yes => {
                self.at += wanted.len();
                Ok(())
            }
            Match::NotYet => Err(self.missing),
            Match::No => Err(Match::No),
        }
    }

    /// Bytes before the next NUL, which is read too; no more than `most`, all of which must please.
    pub(super) fn text(&mut self, most: usize, pleases: impl Fn(&u8) -> bool) -> Seen<&'a [u8]> {
        let rest = self.rest();
        let end = rest.iter().position(|&byte| byte == 0);
        let text = &rest[..end.unwrap_or(rest.len())];
        ensure(text.len() <= most && text.iter().all(pleases))?;
        let end = end.ok_or(self.missing)?;
        self.at += end + 1;
        Ok(text)
    }
}

/// No, unless `condition`.
pub(super) fn ensure(condition: bool) -> Seen<()> {
    if condition { Ok(()) } else { Err(Match::No) }
}

/// What reading a prefix leads to. A full prefix has all that will be looked at.
pub(super) fn settle(seen: Seen<()>, prefix: &[u8]) -> Match {
    match seen {
        Ok(()) => Match::Yes,
        Err(Match::NotYet) if prefix.len() >= PEEK => Match::No,
        Err(reason) => reason,
    }
}

/// What listening leads to: what does not fit the protocol ends it.
pub(super) fn heard(seen: Seen<Dialogue>) -> Dialogue {
    match seen {
        Ok(dialogue) => dialogue,
        Err(Match::NotYet) => Dialogue::default(),
        Err(_) => OVER,
    }
}

/// Nothing was found, and nothing will be.
pub(super) const OVER: Dialogue =
    Dialogue { credential: None, switch: None, asked: false, protected: false, over: true };

/// What follows is protected in a way of the protocol's own.
pub(super) const PROTECTED: Dialogue = Dialogue { protected: true, ..OVER };

/// The client asked for a switch and awaits the answer.
pub(super) fn asking() -> Dialogue {
    Dialogue::default().asking()
}

/// A credential, after which nothing else matters.
pub(super) fn crossed(credential: Credential) -> Dialogue {
    Dialogue { credential: Some(credential), ..OVER }
}

/// A switch after what both cursors have read.
pub(super) fn switched(from: Upgrade, client: &Cursor, server: &Cursor) -> Dialogue {
    Dialogue { switch: Some(Switch { from, client: client.at(), server: server.at() }), ..OVER }
}

/// Whether a message of SASL PLAIN, `[authzid] NUL authcid NUL passwd` (RFC 4616), has a password.
pub(super) fn plain_has_password(message: &[u8]) -> bool {
    message.splitn(3, |&byte| byte == 0).nth(2).is_some_and(|password| !password.is_empty())
}
