//! NSS' softoken hashes for all of NSS, by a function that no symbol names. The table of functions that a PKCS #11 module hands out
//! (PKCS #11 2.40, section 3.6) has its address.
//!
//! `PK11_DigestOp`, which has a symbol, leads there, but makes the MACs of CBC suites, too: it runs per record.

use std::ops::ControlFlow;

use object::LittleEndian;
use object::elf::{R_X86_64_RELATIVE, Rela64};

use super::elf::{Elf, LITTLE};
use super::source::Reader;
use super::{Hook, Point, Reason};

/// Bytes of `NSC_GetFunctionList` that are looked at: it does no more than to hand out the table's address, which it has from its
/// first or second instruction.
const CODE: usize = 16;
/// `lea disp32(%rip)` to any of the eight older registers: REX.W, opcode, and ModRM but for the register.
const LEA: [u8; 2] = [0x48, 0x8d];
const RELATIVE: u8 = 0x05;
const ANY_REGISTER: u8 = 0x38;
/// Bytes of this instruction; the last four are the distance from its end.
const LEA_BYTES: usize = 7;

/// Where `C_DigestUpdate` stands in a table, the fortieth function behind the version.
const DIGEST_UPDATE: u64 = 8 + 39 * 8;

/// The function that hashes, from the address of `NSC_GetFunctionList`; nothing where it cannot be found.
pub fn digest_update(reader: &mut Reader<'_>, elf: &Elf, getter: u64) -> Result<Option<Point>, Reason> {
    let Some(at) = elf.code_offset(getter) else { return Ok(None) };
    let code = reader.part(at, CODE)?;
    let Some(table) = table(&code, getter).filter(|table| table.checked_add(DIGEST_UPDATE).is_some()) else {
        return Ok(None);
    };
    if !has_version(reader, elf, table)? {
        return Ok(None);
    }
    let function = pointer(reader, elf, table + DIGEST_UPDATE)?.and_then(|address| elf.code_offset(address));
    Ok(function.map(|offset| Point { hook: Hook::NssDigest, offset }))
}

/// Whether a table begins as one of functions does: with version 2 or 3, padded.
fn has_version(reader: &mut Reader<'_>, elf: &Elf, table: u64) -> Result<bool, Reason> {
    let Some(at) = elf.offset(table) else { return Ok(false) };
    Ok(matches!(reader.part(at, size_of::<u64>())?[..], [2 | 3, _, 0, 0, 0, 0, 0, 0]))
}

/// The address that code at an address computes.
fn table(code: &[u8], address: u64) -> Option<u64> {
    let is_lea = |bytes: &[u8]| bytes[..2] == LEA && bytes[2] & !ANY_REGISTER == RELATIVE;
    let at = code.windows(LEA_BYTES).position(is_lea)?;
    let end = at + LEA_BYTES;
    let distance = i32::from_le_bytes(*code[..end].last_chunk()?);
    address.checked_add(end as u64)?.checked_add_signed(i64::from(distance))
}

/// The pointer that will be at an address once the file is loaded: a relocation says so, or it stands there already.
fn pointer(reader: &mut Reader<'_>, elf: &Elf, address: u64) -> Result<Option<u64>, Reason> {
    for section in elf.relocations() {
        let mut found = None;
        reader.entries(section.range.clone(), |entries: &[Rela64<LittleEndian>]| {
            let here = |entry: &&Rela64<LittleEndian>| {
                entry.r_offset.get(LITTLE) == address
                    && entry.r_info.get(LITTLE) == u64::from(R_X86_64_RELATIVE)
            };
            found = entries.iter().find(here).map(|entry| entry.r_addend.get(LITTLE).cast_unsigned());
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let Some(at) = elf.offset(address) else { return Ok(None) };
    let bytes = reader.part(at, size_of::<u64>())?;
    Ok(bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).filter(|pointer| *pointer != 0))
}
