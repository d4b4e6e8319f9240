//! ELF files made for tests: one segment that holds the whole file, and the sections that are asked for.

use object::elf;

/// The address of the file's first byte.
pub const BASE: u64 = 0x40_0000;
const HEADER: usize = 64 + 56;

/// A section and its bytes.
#[derive(Clone)]
pub struct Part {
    pub name: &'static str,
    pub kind: u32,
    pub link: u32,
    pub bytes: Vec<u8>,
}

impl Part {
    pub fn new(name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name, kind: elf::SHT_PROGBITS, link: 0, bytes: bytes.into() }
    }
}

/// Where the bytes of a part will stand in the file.
pub fn offset(parts: &[Part], name: &str) -> u64 {
    let before = parts.iter().take_while(|part| part.name != name);
    (HEADER + before.map(|part| part.bytes.len().next_multiple_of(64)).sum::<usize>()) as u64
}

/// The file. Section 0 is the null section, the parts follow from 1 on.
pub fn file(parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut names = vec![0_u8];
    let mut headers = vec![0_u8; 64];
    let mut add = |part: &Part, body: &mut Vec<u8>| {
        names.extend_from_slice(part.name.as_bytes());
        names.push(0);
        let name = (names.len() - part.name.len() - 1) as u32;
        let start = (HEADER + body.len()) as u64;
        let own = if part.name == NAMES { names.as_slice() } else { &part.bytes };
        body.extend_from_slice(own);
        headers.extend(name.to_le_bytes());
        headers.extend(part.kind.to_le_bytes());
        for word in [0, BASE + start, start, own.len() as u64] {
            headers.extend(word.to_le_bytes());
        }
        headers.extend(part.link.to_le_bytes());
        headers.extend([0; 20]);
        body.resize(body.len().next_multiple_of(64), 0);
    };
    for part in parts {
        add(part, &mut body);
    }
    add(&Part { kind: elf::SHT_STRTAB, ..Part::new(NAMES, []) }, &mut body);
    let count = headers.len() / 64;

    let sections = (HEADER + body.len()) as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [elf::ET_DYN, elf::EM_X86_64, 1, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [0, 64, sections] {
        file.extend(word.to_le_bytes());
    }
    for half in [0, 0, 64, 56, 1, 64, count as u16, count as u16 - 1] {
        file.extend(half.to_le_bytes());
    }
    file.extend(elf::PT_LOAD.to_le_bytes());
    file.extend((elf::PF_R | elf::PF_X).to_le_bytes());
    let length = sections + headers.len() as u64;
    for word in [0, BASE, BASE, length, length, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(body);
    file.extend(headers);
    file
}

const NAMES: &str = ".shstrtab";

/// A symbol: its name, whether it is defined, its type.
pub struct Symbol(pub &'static str, pub bool, pub u8);

/// A file whose symbols are these, at the addresses BASE + 16, BASE + 32 and so on, and that has these constants.
pub fn with_symbols(symbols: &[Symbol], constants: &[u8]) -> Vec<u8> {
    let mut strings = vec![0_u8];
    let mut table = vec![0_u8; 24];
    for (number, Symbol(name, defined, kind)) in symbols.iter().enumerate() {
        table.extend((strings.len() as u32).to_le_bytes());
        table.extend([elf::STB_GLOBAL << 4 | kind, 0]);
        table.extend(u16::from(*defined).to_le_bytes());
        table.extend((BASE + 16 * (number as u64 + 1)).to_le_bytes());
        table.extend(8_u64.to_le_bytes());
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    file(&[
        Part { kind: elf::SHT_DYNSYM, link: 2, ..Part::new(".dynsym", table) },
        Part { kind: elf::SHT_STRTAB, ..Part::new(".dynstr", strings) },
        Part::new(".rodata", constants),
    ])
}
