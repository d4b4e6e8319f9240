//! As much of HPACK (RFC 7541) as a name and the beginning of a value need.
//!
//! There is no dynamic table: what a connection says first is never in it. Fields that are only indexes are passed over.

use super::Match;
use super::cursor::{Cursor, Seen, ensure};

/// Code and length in bits of the characters from space to tilde (RFC 7541 appendix B). Others end a text.
#[rustfmt::skip]
const CODES: [(u32, u8); 95] = [
    (0x14, 6), (0x3f8, 10), (0x3f9, 10), (0xffa, 12), (0x1ff9, 13), (0x15, 6), (0xf8, 8), (0x7fa, 11), (0x3fa, 10),
    (0x3fb, 10), (0xf9, 8), (0x7fb, 11), (0xfa, 8), (0x16, 6), (0x17, 6), (0x18, 6), (0x0, 5), (0x1, 5), (0x2, 5),
    (0x19, 6), (0x1a, 6), (0x1b, 6), (0x1c, 6), (0x1d, 6), (0x1e, 6), (0x1f, 6), (0x5c, 7), (0xfb, 8), (0x7ffc, 15),
    (0x20, 6), (0xffb, 12), (0x3fc, 10), (0x1ffa, 13), (0x21, 6), (0x5d, 7), (0x5e, 7), (0x5f, 7), (0x60, 7),
    (0x61, 7), (0x62, 7), (0x63, 7), (0x64, 7), (0x65, 7), (0x66, 7), (0x67, 7), (0x68, 7), (0x69, 7), (0x6a, 7),
    (0x6b, 7), (0x6c, 7), (0x6d, 7), (0x6e, 7), (0x6f, 7), (0x70, 7), (0x71, 7), (0x72, 7), (0xfc, 8), (0x73, 7),
    (0xfd, 8), (0x1ffb, 13), (0x7fff0, 19), (0x1ffc, 13), (0x3ffc, 14), (0x22, 6), (0x7ffd, 15), (0x3, 5),
    (0x23, 6), (0x4, 5), (0x24, 6), (0x5, 5), (0x25, 6), (0x26, 6), (0x27, 6), (0x6, 5), (0x74, 7), (0x75, 7),
    (0x28, 6), (0x29, 6), (0x2a, 6), (0x7, 5), (0x2b, 6), (0x76, 7), (0x2c, 6), (0x8, 5), (0x9, 5), (0x2d, 6),
    (0x77, 7), (0x78, 7), (0x79, 7), (0x7a, 7), (0x7b, 7), (0x7ffe, 15), (0x7fc, 11), (0x3ffd, 14), (0x1ffd, 13),
];
/// Shortest and longest of them.
const CODE_BITS: std::ops::RangeInclusive<u8> = 5..=19;
/// Entries of the static table that matter (RFC 7541 appendix A).
const STATIC_NAMES: [(usize, &[u8]); 3] =
    [(23, b"authorization"), (31, b"content-type"), (49, b"proxy-authorization")];

/// A string as it was sent.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    is_huffman: bool,
    bytes: &'a [u8],
    /// None of it is missing.
    pub(super) is_whole: bool,
}

impl<'a> Text<'a> {
    /// Its characters, up to one that is not printable ASCII.
    pub(super) fn characters(self) -> impl Iterator<Item = u8> + use<'a> {
        let mut plain = self.bytes.iter().copied().take_while(|byte| (0x20..0x7f).contains(byte));
        let mut bits = Bits { bytes: self.bytes, at: 0 };
        std::iter::from_fn(move || if self.is_huffman { bits.character() } else { plain.next() })
    }

    /// What follows `wanted`, in lower case and compared without case, if it begins so.
    pub(super) fn after(self, wanted: &[u8]) -> Option<impl Iterator<Item = u8> + use<'a>> {
        let mut characters = self.characters();
        wanted
            .iter()
            .all(|&byte| characters.next().is_some_and(|it| it.to_ascii_lowercase() == byte))
            .then_some(characters)
    }

    /// Whether it is `wanted` as a whole.
    pub(super) fn is(self, wanted: &[u8]) -> bool {
        self.is_whole && self.after(wanted).is_some_and(|mut rest| rest.next().is_none())
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn character(&mut self) -> Option<u8> {
        let mut code = 0;
        for count in 1..=*CODE_BITS.end() {
            let &byte = self.bytes.get(self.at / 8)?;
            code = code << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
            if count >= *CODE_BITS.start()
                && let Some(index) = CODES.iter().position(|&known| known == (code, count))
            {
                return u8::try_from(index).ok().map(|index| index + 0x20);
            }
        }
        None
    }
}

/// A field that was not only an index.
pub(super) struct Field<'a> {
    /// In the static table, if it is one of those that matter.
    known: &'static [u8],
    literal: Option<Text<'a>>,
    pub(super) value: Text<'a>,
}

impl Field<'_> {
    /// Names are sent in lower case (RFC 9113 section 8.2.1).
    pub(super) fn is_named(&self, wanted: &[u8]) -> bool {
        self.known == wanted || self.literal.is_some_and(|name| name.is(wanted))
    }
}

/// The next field of a block that is a literal, even if its value is not whole; `None` at the block's end.
pub(super) fn next_field<'a>(block: &mut Cursor<'a>) -> Seen<Option<Field<'a>>> {
    while let Some(&first) = block.rest().first() {
        let name = match first {
            0x80.. => {
                integer(block, 7)?;
                continue;
            }
            0x40.. => integer(block, 6)?,
            0x20.. => {
                integer(block, 5)?;
                continue;
            }
            _ => integer(block, 4)?,
        };
        let literal = if name == 0 { Some(text(block)?) } else { None };
        if literal.is_some_and(|text| !text.is_whole) {
            return Err(Match::NotYet);
        }
        let known =
            STATIC_NAMES.iter().find(|(index, _)| *index == name).map_or(&b""[..], |(_, known)| known);
        return Ok(Some(Field { known, literal, value: text(block)? }));
    }
    Ok(None)
}

/// RFC 7541 section 5.2.
fn text<'a>(block: &mut Cursor<'a>) -> Seen<Text<'a>> {
    let is_huffman = block.rest().first().is_some_and(|byte| byte & 0x80 != 0);
    let length = integer(block, 7)?;
    let available = length.min(block.rest().len());
    Ok(Text { is_huffman, bytes: block.take(available)?, is_whole: available == length })
}

/// RFC 7541 section 5.1, up to four bytes.
fn integer(block: &mut Cursor, bits: u8) -> Seen<usize> {
    let most = (1 << bits) - 1;
    let mut value = usize::from(block.byte()?) & most;
    if value < most {
        return Ok(value);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(block.byte()?);
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    ensure(false).map(|()| value)
}
