//! Go programs: the version in `.go.buildinfo`, and functions by the table that Go keeps for its own tracebacks, which
//! stripping leaves (`.gopclntab`; layout in internal/abi and runtime/symtab.go of Go 1.18 to 1.27).

use std::ops::{ControlFlow, Range};

use memchr::memmem;
use rustc_hash::FxHashMap;

use super::elf::Elf;
use super::source::{Follower, Reader};
use super::{Hook, Point, Reason};

/// The minor versions whose layouts were measured or read. Older ones lay out the table and the arguments differently.
const KNOWN: std::ops::RangeInclusive<u32> = 18..=27;
/// Since this one the chain stands first in certificateMsg and certificateMsgTLS13.
const CERTIFICATE_FIRST: u32 = 23;

const BUILD_MAGIC: &[u8] = b"\xff Go buildinf:";
/// The flag of a version that stands in the section itself, since Go 1.18.
const VERSION_INLINE: u8 = 2;
/// Bytes of a version: the experiments it was built with are named behind it.
const MAX_VERSION: usize = 128;

/// How the table begins: since Go 1.20, and in 1.18 and 1.19; then two nulls, the code alignment and the size of a pointer.
const TABLE_MAGICS: [[u8; 8]; 2] =
    [[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], [0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8]];
/// Functions of one program. Kubernetes' server has 150,000.
const MAX_FUNCTIONS: u64 = 2_000_000;
/// Where `text` stands in `runtime.moduledata`, behind a pointer, six slices and three addresses.
const MODULE_TEXT: u64 = 176;

/// The functions, between the nulls that names are separated by.
const FUNCTIONS: [(&[u8], Function); 6] = [
    (b"\0crypto/tls.(*Conn).serverHandshake\0", Function::ServerHandshake),
    (b"\0crypto/tls.(*Conn).verifyServerCertificate\0", Function::VerifyServerCertificate),
    (b"\0crypto/tls.(*Conn).processCertsFromClient\0", Function::ProcessCertsFromClient),
    (b"\0crypto/tls.(*certificateMsgTLS13).marshal\0", Function::Marshal),
    (b"\0crypto/tls.(*certificateMsg).marshal\0", Function::Marshal),
    (b"\0crypto/x509.(*Certificate).Verify\0", Function::Verify),
];
/// The longest of them, and some.
const MAX_NAME: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    ServerHandshake,
    VerifyServerCertificate,
    ProcessCertsFromClient,
    Marshal,
    Verify,
}

impl Function {
    fn hook(self, minor: u32) -> Hook {
        match self {
            Function::ServerHandshake => Hook::GoServer,
            Function::VerifyServerCertificate => Hook::GoPeerOfClient,
            Function::ProcessCertsFromClient => Hook::GoPeerOfServer,
            Function::Marshal if minor < CERTIFICATE_FIRST => Hook::GoOwnAt24,
            Function::Marshal => Hook::GoOwnAt0,
            Function::Verify => Hook::GoVerify,
        }
    }
}

/// The version of Go that built the file; nothing if none did.
pub fn version(reader: &mut Reader<'_>, elf: &Elf) -> Result<Option<String>, Reason> {
    let Some(section) = elf.section(".go.buildinfo") else { return Ok(None) };
    let length = (section.range.end - section.range.start).min(32 + 2 + MAX_VERSION as u64);
    let bytes = reader.part(section.range.start, length as usize)?;
    let [magic @ .., _, flags] = bytes.first_chunk::<16>().copied().unwrap_or_default();
    if magic != BUILD_MAGIC {
        return Ok(None);
    }
    if flags & VERSION_INLINE == 0 {
        return Ok(Some("before 1.18".to_owned()));
    }
    Ok(Some(inline(bytes.get(32..).unwrap_or_default()).ok_or(Reason::Damaged("Go's build information"))?))
}

/// A string behind its length as a varint.
fn inline(bytes: &[u8]) -> Option<String> {
    let (length, text) = match *bytes {
        [low @ ..0x80, ref text @ ..] => (usize::from(low), text),
        [low, high @ ..0x80, ref text @ ..] => (usize::from(low & 0x7f) | usize::from(high) << 7, text),
        _ => return None,
    };
    let text = str::from_utf8(text.get(..length.min(MAX_VERSION))?).ok()?;
    let word = text.split_whitespace().find(|word| word.starts_with("go"))?;
    Some(word.trim_start_matches("go").to_owned())
}

/// Where crypto/tls can be probed; nowhere if the program does not have it.
///
/// # Errors
/// Where the version is none of those that are known, or the table cannot be read.
pub fn points(reader: &mut Reader<'_>, elf: &Elf, version: &str) -> Result<Vec<Point>, Reason> {
    let unknown = || Reason::UnknownVersion(version.to_owned());
    let minor = minor(version).filter(|minor| KNOWN.contains(minor)).ok_or_else(unknown)?;
    let Some(range) = table(reader, elf)? else {
        return Err(Reason::Damaged("Go's table of functions was not found"));
    };
    let table = Table::read(reader, elf, range)?;
    let wanted = table.wanted(reader)?;
    if !wanted.values().any(|function| *function != Function::Verify) {
        return Ok(Vec::new());
    }
    let mut points = Vec::new();
    for (address, function) in table.addresses(reader, &wanted)? {
        points.push(Point { hook: function.hook(minor), offset: checked_offset(reader, elf, address)? });
    }
    points.sort_unstable();
    points.dedup();
    Ok(points)
}

fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("1.")?;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Where the table is. Position-independent programs that another linker made have it within .data.rel.ro.
fn table(reader: &mut Reader<'_>, elf: &Elf) -> Result<Option<Range<u64>>, Reason> {
    let own = [".gopclntab", ".data.rel.ro.gopclntab"].iter().find_map(|name| elf.section(name));
    if let Some(section) = own {
        return Ok(Some(section.range.clone()));
    }
    let Some(section) = elf.section(".data.rel.ro") else { return Ok(None) };
    let mut found = None;
    reader.windows(section.range.clone(), TABLE_MAGICS[0].len(), |at, bytes| {
        let hit = TABLE_MAGICS.iter().filter_map(|magic| memmem::find(bytes, magic)).min();
        found = hit.map(|hit| at + hit as u64);
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found.map(|start| start..section.range.end))
}

/// The table of functions.
struct Table {
    /// Where it is in the file.
    range: Range<u64>,
    functions: u64,
    /// The address that entries are relative to.
    text: u64,
    names: Range<u64>,
    /// Where the list of functions begins: an entry and an offset from here to what is said of the function.
    list: u64,
}

impl Table {
    fn read(reader: &mut Reader<'_>, elf: &Elf, range: Range<u64>) -> Result<Self, Reason> {
        let bytes = reader.part(range.start, 72)?;
        if !TABLE_MAGICS.iter().any(|magic| bytes.starts_with(magic)) {
            return Err(Reason::Damaged("Go's table of functions has another layout"));
        }
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let &[_, functions, _, text, names, units, _, _, list] = words.as_slice() else {
            return Err(Reason::Damaged("Go's table of functions is cut"));
        };
        let at = |offset: u64| range.start.saturating_add(offset).min(range.end);
        if functions > MAX_FUNCTIONS {
            return Err(Reason::TooLarge);
        }
        let text = if text == 0 { module_text(reader, elf)? } else { text };
        Ok(Self { functions, text, names: at(names)..at(units), list: at(list), range: range.clone() })
    }

    /// The functions of interest by the offsets of their names.
    fn wanted(&self, reader: &mut Reader<'_>) -> Result<FxHashMap<u32, Function>, Reason> {
        let mut wanted = FxHashMap::default();
        reader.windows(self.names.clone(), MAX_NAME, |at, bytes| {
            for (name, function) in FUNCTIONS {
                // The offset is that of the name, behind the null.
                let offset = memmem::find(bytes, name).map(|hit| at - self.names.start + hit as u64 + 1);
                wanted.extend(
                    offset.and_then(|offset| u32::try_from(offset).ok()).map(|offset| (offset, function)),
                );
            }
            ControlFlow::Continue(())
        })?;
        Ok(wanted)
    }

    /// The addresses of the wanted functions.
    fn addresses(
        &self,
        reader: &mut Reader<'_>,
        wanted: &FxHashMap<u32, Function>,
    ) -> Result<Vec<(u64, Function)>, Reason> {
        let mut list = Follower::new(self.range.end);
        let mut details = Follower::new(self.range.end);
        let mut found = Vec::new();
        for number in 0..self.functions {
            let [a, b, c, d, offset @ ..]: [u8; 8] = list.at(reader, self.list + 8 * number)?;
            let entry = u32::from_le_bytes([a, b, c, d]);
            let [_, _, _, _, name @ ..]: [u8; 8] =
                details.at(reader, self.list + u64::from(u32::from_le_bytes(offset)))?;
            if let Some(function) = wanted.get(&u32::from_le_bytes(name)) {
                found.push((self.text.saturating_add(u64::from(entry)), *function));
                if found.len() == wanted.len() {
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// The address of the first function, which Go no longer writes into the table since 1.26.
fn module_text(reader: &mut Reader<'_>, elf: &Elf) -> Result<u64, Reason> {
    let module = elf.section(".go.module").ok_or(Reason::Damaged("Go's module data was not found"))?;
    let mut text = [0; 8];
    reader.fill(module.range.start.saturating_add(MODULE_TEXT), &mut text)?;
    Ok(u64::from_le_bytes(text))
}

/// The offset of a function's code, if Go's check of the stack begins it. A breakpoint inside of an instruction would break
/// the program, so that a wrong address must not be probed.
fn checked_offset(reader: &mut Reader<'_>, elf: &Elf, address: u64) -> Result<u64, Reason> {
    let offset = elf.code_offset(address).ok_or(Reason::Damaged("a function of Go is not in the code"))?;
    let code = reader.part(offset, 12)?;
    let begins = match *code.as_slice() {
        // cmp rsp, [r14+16]
        [0x49, 0x3b, 0x66, 0x10, ..] => true,
        // lea r12, [rsp-distance]; cmp r12, [r14+16]
        [0x4c, 0x8d, 0x64, 0x24, _, 0x4d, 0x3b, 0x66, 0x10, ..]
        | [0x4c, 0x8d, 0xa4, 0x24, _, _, _, _, 0x4d, 0x3b, 0x66, 0x10] => true,
        _ => false,
    };
    if begins { Ok(offset) } else { Err(Reason::Damaged("a function of Go does not begin as one")) }
}
