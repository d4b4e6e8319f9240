//! Where a shared library has its exported functions: enough of ELF for x86-64 and aarch64 test hosts.

use std::path::Path;

/// Section type of dynamic symbols, segment type of what is loaded (elf.h).
const SHT_DYNSYM: u64 = 11;
const PT_LOAD: u64 = 1;

fn number<const N: usize>(file: &[u8], at: u64) -> u64 {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(&file[at as usize..at as usize + N]);
    u64::from_le_bytes(bytes)
}

/// Offset in the file of an exported function's first instruction.
pub(super) fn function(path: &Path, name: &str) -> u64 {
    let file = std::fs::read(path).unwrap();
    let sections = number::<8>(&file, 40);
    let section = |index: u64| sections + index * 64;
    let dynamic =
        (0..number::<2>(&file, 60)).find(|index| number::<4>(&file, section(*index) + 4) == SHT_DYNSYM);
    let dynamic = section(dynamic.unwrap());
    let names = number::<8>(&file, section(number::<4>(&file, dynamic + 40)) + 24);
    let (start, size) = (number::<8>(&file, dynamic + 24), number::<8>(&file, dynamic + 32));
    let symbol = (start..start + size).step_by(24).find(|symbol| {
        let at = (names + number::<4>(&file, *symbol)) as usize;
        file[at..].starts_with(name.as_bytes())
            && file[at + name.len()] == 0
            && number::<2>(&file, *symbol + 6) != 0
    });
    let address = number::<8>(&file, symbol.unwrap_or_else(|| panic!("no {name} in {}", path.display())) + 8);
    let segments = number::<8>(&file, 32);
    let loaded = (0..number::<2>(&file, 56)).map(|index| segments + index * 56).find_map(|segment| {
        let (at, start, size) = (
            number::<8>(&file, segment + 8),
            number::<8>(&file, segment + 16),
            number::<8>(&file, segment + 32),
        );
        let holds = number::<4>(&file, segment) == PT_LOAD && (start..start + size).contains(&address);
        holds.then(|| address - start + at)
    });
    loaded.unwrap()
}
