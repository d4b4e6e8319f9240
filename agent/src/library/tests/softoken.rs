use object::elf::{R_X86_64_GLOB_DAT, R_X86_64_RELATIVE, SHT_DYNSYM, SHT_RELA, SHT_STRTAB, STB_GLOBAL};

use super::image::{BASE, Part, file, offset};
use super::*;

/// How the pointer to the function that hashes comes into the table.
enum Pointer {
    Relocated(u32),
    InPlace,
    Nowhere,
}

/// A softoken whose `NSC_GetFunctionList` begins with `before`, with a table of that version, and where in it the function stands that
/// hashes.
fn softoken(before: &[u8], version: u8, pointer: &Pointer) -> (Vec<u8>, u64) {
    let symbol = |value: u64| {
        let mut table = vec![0_u8; 24];
        table.extend([1, 0, 0, 0, STB_GLOBAL << 4 | STT_FUNC, 0, 1, 0]);
        table.extend(value.to_le_bytes());
        table.extend(8_u64.to_le_bytes());
        table
    };
    let mut parts = [
        Part { kind: SHT_DYNSYM, link: 2, ..Part::new(".dynsym", symbol(0)) },
        Part { kind: SHT_STRTAB, ..Part::new(".dynstr", *b"\0NSC_GetFunctionList\0") },
        Part::new(".text", vec![0x90; 64]),
        Part::new(".data", vec![0; 8 + 68 * 8]),
        Part { kind: SHT_RELA, ..Part::new(".rela.dyn", vec![0; 3 * 24]) },
    ];
    let (text, data) = (offset(&parts, ".text"), offset(&parts, ".data"));
    parts[0].bytes = symbol(BASE + text);
    let distance = data - (text + before.len() as u64 + 7);
    let code = [before, &[0x48, 0x8d, 0x0d], &(distance as u32).to_le_bytes()].concat();
    parts[2].bytes[..code.len()].copy_from_slice(&code);
    parts[3].bytes[..2].copy_from_slice(&[version, 40]);
    // The fortieth function behind the version.
    let (at, hashes) = (8 + 39 * 8, text + 48);
    match pointer {
        Pointer::Relocated(kind) => {
            let words = [BASE + data + at, u64::from(*kind), BASE + hashes];
            parts[4].bytes[48..].copy_from_slice(&words.map(u64::to_le_bytes).concat());
        }
        Pointer::InPlace => {
            let address = (BASE + hashes).to_le_bytes();
            parts[3].bytes[at as usize..at as usize + 8].copy_from_slice(&address);
        }
        Pointer::Nowhere => {}
    }
    (file(&parts), hashes)
}

/// `endbr64`.
const BRANCH_TARGET: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

#[test]
fn softoken_hashes_where_its_table_says() {
    for before in [&[][..], &BRANCH_TARGET] {
        for pointer in [Pointer::Relocated(R_X86_64_RELATIVE), Pointer::InPlace] {
            let (file, hashes) = softoken(before, 2, &pointer);
            assert_eq!(found(&file), [(Library::Nss, vec![(Hook::NssDigest, hashes)])]);
            assert_eq!(reasons(&file), []);
        }
    }
}

#[test]
fn a_softoken_that_cannot_be_read_is_told() {
    let hidden = [(Some(Library::Nss), Reason::HiddenTable)];
    // No instruction that is known, no table, another relocation, none.
    for (before, version, pointer) in [
        (&[0x90; 16][..], 2, Pointer::InPlace),
        (&[], 4, Pointer::InPlace),
        (&[], 3, Pointer::Relocated(R_X86_64_GLOB_DAT)),
        (&[], 3, Pointer::Nowhere),
    ] {
        let (file, _) = softoken(before, version, &pointer);
        assert_eq!(found(&file), []);
        assert_eq!(reasons(&file), hidden);
    }
}
