//! Values as lines of JSON that may be printed: written in one pass, and escaped for terminals where they are written.
//!
//! Records are mostly names that need no escape and keys that never do, which the writer of `serde_json` looks at byte by
//! byte. The lines are the same as its own with [`json_safe`](super::json_safe).

use std::io::Write as _;

use serde::ser::{self, Error as _, Serialize};
use serde_json::Error;

use super::is_unsafe;

/// Appends a value as one line, with its end.
///
/// # Errors
///
/// If the value cannot be JSON: a map with other keys than text. What was appended is then no JSON.
pub fn json_line(value: &impl Serialize, line: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Json(line))?;
    line.push(b'\n');
    Ok(())
}

/// Bytes of a field's name, with what stands around it, that are appended in one go, so that the line is asked for room once. The
/// names of records are shorter.
const PIECE: usize = 64;

/// Writes one value.
struct Json<'a>(&'a mut Vec<u8>);

/// Writes the members of an array or object.
struct Members<'a> {
    line: &'a mut Vec<u8>,
    /// Where the first member's comma stands, in place of which `begin` belongs.
    first: usize,
    begin: u8,
    end: &'static [u8],
}

fn text(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    if is_plain(text.as_bytes()) {
        line.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|character| escape(line, character));
    }
    line.push(b'"');
}

/// Whether text stands for itself between quotes: printable ASCII without quote and backslash. Most text does, and eight bytes
/// are looked at in one go.
fn is_plain(text: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * EACH;
    // The highest bit of a byte is set if it is 0, and then perhaps in those above it.
    let zero = |word: u64| word.wrapping_sub(EACH) & !word;
    let is_plain = |bytes: &[u8; 8]| {
        let word = u64::from_le_bytes(*bytes);
        let control = word.wrapping_sub(0x20 * EACH) & !word;
        let special = zero(word ^ (0x22 * EACH)) | zero(word ^ (0x5c * EACH)) | zero(word ^ (0x7f * EACH));
        (word | control | special) & HIGHEST == 0
    };
    match text.last_chunk::<8>() {
        // The last word overlaps the one before.
        Some(last) => text.as_chunks::<8>().0.iter().all(is_plain) && is_plain(last),
        None => {
            let mut word = [b' '; 8];
            word[..text.len()].copy_from_slice(text);
            is_plain(&word)
        }
    }
}

fn escape(line: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        unsafe_one if is_unsafe(unsafe_one) => {
            for unit in unsafe_one.encode_utf16(&mut [0; 2]) {
                // A vector takes everything.
                let _ = write!(line, "\\u{unit:04x}");
            }
            return;
        }
        other => return line.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    };
    line.extend_from_slice(&[b'\\', short]);
}

impl<'a> Json<'a> {
    fn members(self, begin: u8, end: &'static [u8]) -> Members<'a> {
        Members { first: self.0.len(), line: self.0, begin, end }
    }

    /// `{"VARIANT":` as `serde_json` has it.
    fn variant(self, name: &str) -> Json<'a> {
        self.0.push(b'{');
        text(self.0, name);
        self.0.push(b':');
        self
    }
}

macro_rules! integers {
    ($($name:ident: $kind:ty),+) => {
        $(fn $name(self, value: $kind) -> Result<(), Error> {
            self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            Ok(())
        })+
    };
}

impl<'a> ser::Serializer for Json<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Members<'a>;
    type SerializeTupleStruct = Members<'a>;
    type SerializeTupleVariant = Members<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    integers!(
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128
    );

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        serde_json::to_writer(self.0, &value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        serde_json::to_writer(self.0, &value)
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        text(self.0, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let Json(line) = self.variant(variant);
        value.serialize(Json(line))?;
        line.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Members<'a>, Error> {
        Ok(self.members(b'[', b"]"))
    }

    fn serialize_tuple(self, _length: usize) -> Result<Members<'a>, Error> {
        Ok(self.members(b'[', b"]"))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Members<'a>, Error> {
        Ok(self.members(b'[', b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Members<'a>, Error> {
        Ok(self.variant(variant).members(b'[', b"]}"))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Members<'a>, Error> {
        Ok(self.members(b'{', b"}"))
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Members<'a>, Error> {
        Ok(self.members(b'{', b"}"))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Members<'a>, Error> {
        Ok(self.variant(variant).members(b'{', b"}}"))
    }
}

impl Members<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.line.push(b',');
        value.serialize(Json(self.line))
    }

    /// Names of fields are identifiers, or what a `rename` says: they need no escape. Where it is inlined their lengths are
    /// constants, so that they are copied without a call.
    #[inline(always)]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        let mut piece = [0; PIECE];
        match piece.get_mut(..name.len() + 4) {
            Some(piece) => {
                piece[..2].copy_from_slice(b",\"");
                piece[2..name.len() + 2].copy_from_slice(name.as_bytes());
                piece[name.len() + 2..].copy_from_slice(b"\":");
                self.line.extend_from_slice(piece);
            }
            None => {
                self.line.extend_from_slice(b",\"");
                self.line.extend_from_slice(name.as_bytes());
                self.line.extend_from_slice(b"\":");
            }
        }
        value.serialize(Json(self.line))
    }

    fn finish(self) -> Result<(), Error> {
        match self.line.get_mut(self.first) {
            Some(comma) => *comma = self.begin,
            None => self.line.push(self.begin),
        }
        self.line.extend_from_slice(self.end);
        Ok(())
    }
}

macro_rules! lists {
    ($($kind:ident $each:ident),+) => {
        $(impl ser::$kind for Members<'_> {
            type Ok = ();
            type Error = Error;

            fn $each<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        })+
    };
}

lists!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! structures {
    ($($kind:ident),+) => {
        $(impl ser::$kind for Members<'_> {
            type Ok = ();
            type Error = Error;

            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        })+
    };
}

structures!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.line.push(b',');
        let begin = self.line.len();
        key.serialize(Json(self.line))?;
        match self.line.get(begin) {
            Some(b'"') => Ok(()),
            _ => Err(Error::custom("a key that is no text")),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.line.push(b':');
        value.serialize(Json(self.line))
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::json_safe;
    use super::*;

    fn written(value: &impl Serialize) -> String {
        let mut line = Vec::new();
        json_line(value, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    fn expected(value: &impl Serialize) -> String {
        format!("{}\n", json_safe(&serde_json::to_string(value).unwrap()))
    }

    #[test]
    fn every_character_is_written_as_serde_json_writes_it_and_safe() {
        for character in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = format!("a{character}b");
            assert_eq!(written(&text), expected(&text), "{character:?}");
        }
        for byte in 0..=0xff_u8 {
            for place in 0..20 {
                let mut text: Vec<char> = "0123456789 ~[]!#}{z@".chars().collect();
                text[place] = char::from(byte);
                let text: String = text.into_iter().collect();
                assert_eq!(written(&text), expected(&text), "{byte:x} at {place}");
            }
        }
        assert_eq!(written(&'"'), expected(&'"'));
    }

    #[test]
    fn every_shape_is_written_as_serde_json_writes_it() {
        #[derive(serde::Serialize)]
        enum Shape {
            Unit,
            Newtype(u8),
            Tuple(i16, f32),
            Struct { r#final: bool, nothing: Option<()> },
        }
        #[derive(serde::Serialize)]
        struct Long {
            #[serde(rename = "a name of 60 bytes that fits into it with all that is around")]
            just: bool,
            #[serde(rename = "a name of 61 bytes that just does not fit with what is around")]
            over: bool,
        }
        #[derive(serde::Serialize)]
        struct Empty;
        #[derive(serde::Serialize)]
        struct Pair(u64, f64);
        let shapes = [
            Shape::Unit,
            Shape::Newtype(255),
            Shape::Tuple(-1, 0.1),
            Shape::Struct { r#final: true, nothing: None },
        ];
        let value = json!({
            "": [], "{}": {}, "a\"b": [null, true, [1, [2]]], "n": [0, -1, i64::MIN, u64::MAX, 1.5e300, 0.1],
            "\u{9b}": "\u{202e}\u{e0041}\u{1b}",
        });
        let all = (&shapes, Empty, Pair(u64::MAX, f64::NAN), i128::MIN, u128::MAX, Some('\n'), value);
        assert_eq!(written(&all), expected(&all));
        assert_eq!(written(&Long { just: true, over: false }), expected(&Long { just: true, over: false }));
        let whole = (i8::MIN, i16::MIN, i32::MIN, u8::MAX, u16::MAX, u32::MAX, f32::MAX, "text", ());
        assert_eq!(written(&whole), expected(&whole));
    }

    #[test]
    fn a_map_with_keys_that_are_no_text_is_refused() {
        let map = BTreeMap::from([(1, 2)]);
        assert!(json_line(&map, &mut Vec::new()).is_err());
        assert_eq!(written(&BTreeMap::from([("1", 2)])), "{\"1\":2}\n");
    }
}
