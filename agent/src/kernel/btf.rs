//! Where the running kernel keeps a field: a reader for the part of BTF that says so.
//!
//! Format: Documentation/bpf/btf.rst. Anything unexpected ends the reading with `None`; a field
//! that is not found is left out by the programs.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// Anonymous structures inside each other at most, more than any kernel has.
const NESTING_MAX: usize = 8;

/// The structures of one BTF blob.
pub(super) struct Structures<'blob> {
    /// Each type's record, in the order of their ids; the id of the first is 1.
    types: Vec<&'blob [u8]>,
    strings: &'blob [u8],
    /// Type id by name, of named structures; the first wins.
    by_name: HashMap<&'blob [u8], u32>,
}

impl<'blob> Structures<'blob> {
    /// Indexes a blob; `None` if it is not well-formed BTF of this byte order.
    pub(super) fn read(blob: &'blob [u8]) -> Option<Self> {
        if u16::from_ne_bytes(*blob.first_chunk()?) != MAGIC {
            return None;
        }
        let header = word(blob, 4)?;
        let part = |offset: usize| -> Option<&'blob [u8]> {
            let start = header.checked_add(word(blob, offset)?)?;
            blob.get(start as usize..start.checked_add(word(blob, offset + 4)?)? as usize)
        };
        let (mut rest, strings) = (part(8)?, part(16)?);
        let mut structures = Structures { types: Vec::new(), strings, by_name: HashMap::new() };
        while !rest.is_empty() {
            let length = 12 + trailer_bytes(word(rest, 4)?)?;
            let record = rest.get(..length)?;
            structures.types.push(record);
            if kind(word(record, 4)?) == KIND_STRUCT {
                let id = structures.types.len() as u32;
                let name = structures.name(word(record, 0)?)?;
                structures.by_name.entry(name).or_insert(id);
            }
            rest = &rest[length..];
        }
        Some(structures)
    }

    /// Bytes from the start of `structure` to `field`, also through anonymous members.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let id = *self.by_name.get(structure.as_bytes())?;
        let bits = self.find(id, field.as_bytes(), NESTING_MAX)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    fn find(&self, id: u32, field: &[u8], nesting: usize) -> Option<u32> {
        let record = self.types.get((id as usize).checked_sub(1)?)?;
        let info = word(record, 4)?;
        if !matches!(kind(info), KIND_STRUCT | KIND_UNION) || nesting == 0 {
            return None;
        }
        record[12..].chunks_exact(12).find_map(|member| {
            // With the kind flag the upper byte is the size of a bit field.
            let offset = word(member, 8)?;
            let bits = if info >> 31 != 0 { offset & 0x00ff_ffff } else { offset };
            match self.name(word(member, 0)?)? {
                b"" => Some(bits.checked_add(self.find(word(member, 4)?, field, nesting - 1)?)?),
                name => (name == field).then_some(bits),
            }
        })
    }

    fn name(&self, offset: u32) -> Option<&'blob [u8]> {
        self.strings.get(offset as usize..)?.split(|&byte| byte == 0).next()
    }
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// Bytes behind the common part of a type record; `None` for kinds that are newer than this reader.
fn trailer_bytes(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match kind(info) {
        2 | 7..=12 | 16 | 18 => 0,
        1 | 14 | 17 => 4,
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => count * 12,
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int first; struct { int inner; }; }` in hand-made BTF.
    fn blob() -> Vec<u8> {
        let strings = b"\0int\0outer\0first\0inner\0";
        let types: Vec<u32> = [
            vec![1, 1 << 24, 4, 32],
            vec![0, (KIND_STRUCT << 24) | 1, 4, 17, 1, 0],
            vec![5, (KIND_STRUCT << 24) | 2, 8, 11, 1, 0, 0, 2, 32],
        ]
        .concat();
        let bytes = types.len() as u32 * 4;
        let mut blob = Vec::new();
        blob.extend(MAGIC.to_ne_bytes());
        blob.extend([1, 0]);
        for word in [24, 0, bytes, bytes, strings.len() as u32].into_iter().chain(types) {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(strings);
        blob
    }

    #[test]
    fn a_field_is_found_through_an_anonymous_member() {
        let blob = blob();
        let structures = Structures::read(&blob).unwrap();
        assert_eq!(structures.offset("outer", "first"), Some(0));
        assert_eq!(structures.offset("outer", "inner"), Some(4));
        assert_eq!(structures.offset("outer", "other"), None);
        assert_eq!(structures.offset("other", "first"), None);
    }

    #[test]
    fn hostile_btf_never_panics() {
        let blob = blob();
        for end in 0..blob.len() {
            if let Some(structures) = Structures::read(&blob[..end]) {
                structures.offset("outer", "inner");
            }
        }
        for index in 0..blob.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = blob.clone();
                changed[index] = value;
                if let Some(structures) = Structures::read(&changed) {
                    structures.offset("outer", "inner");
                }
            }
        }
    }
}
