//! The parts of an ELF file: what is loaded where, and its named sections.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod::{Pod, from_bytes, slice_from_all_bytes};

use super::Reason;
use super::source::Reader;

/// The byte order of x86-64.
pub const LITTLE: LittleEndian = LittleEndian;

/// Program headers that are read; a linker makes about a dozen.
const MAX_SEGMENTS: u16 = 256;
/// Section headers that are read; an object file of a Rust crate has thousands, a program about forty.
const MAX_SECTIONS: u16 = 1024;
/// Bytes of a section's name.
const NAME_LENGTH: usize = 32;

/// A part of the file that is loaded.
#[derive(Debug, Clone)]
struct Segment {
    addresses: Range<u64>,
    offset: u64,
    flags: u32,
}

/// A section that has bytes in the file.
#[derive(Debug, Clone)]
pub struct Section {
    pub name: Vec<u8>,
    pub kind: u32,
    /// Where its bytes are in the file.
    pub range: Range<u64>,
    /// Number of the section that it refers to.
    link: usize,
}

/// The layout of a file.
#[derive(Debug)]
pub struct Elf {
    segments: Vec<Segment>,
    /// Empty where the file has no section headers.
    sections: Vec<Section>,
    unread: Option<&'static str>,
}

impl Elf {
    /// Reads the headers.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let header = header(reader)?;
        let segments =
            table(reader, header.e_phoff.get(LITTLE), header.e_phnum.get(LITTLE).min(MAX_SEGMENTS))?;
        let count = header.e_shnum.get(LITTLE).min(MAX_SECTIONS);
        let headers = table(reader, header.e_shoff.get(LITTLE), count)?;
        Ok(Self {
            segments: segments.iter().filter_map(segment).collect(),
            sections: sections(reader, &headers, usize::from(header.e_shstrndx.get(LITTLE)))?,
            unread: match (header.e_phnum.get(LITTLE), header.e_shnum.get(LITTLE)) {
                (segments, _) if segments > MAX_SEGMENTS => Some("segments"),
                (_, sections) if sections > MAX_SECTIONS => Some("sections"),
                _ => None,
            },
        })
    }

    /// What there was too much of.
    pub fn unread(&self) -> Option<&'static str> {
        self.unread
    }

    /// The first section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// The symbol tables, each with its strings.
    pub fn symbol_tables(&self) -> impl Iterator<Item = (&Section, &Section)> {
        self.sections
            .iter()
            .filter(|section| matches!(section.kind, elf::SHT_DYNSYM | elf::SHT_SYMTAB))
            .filter_map(|section| Some((section, self.sections.get(section.link)?)))
            .filter(|(_, strings)| strings.kind == elf::SHT_STRTAB)
    }

    /// Where the constants are: .rodata, or every segment that can only be read where there are no sections.
    pub fn constants(&self) -> Vec<Range<u64>> {
        if let Some(section) = self.section(".rodata") {
            return vec![section.range.clone()];
        }
        let constant = |segment: &&Segment| segment.flags & (elf::PF_W | elf::PF_X) == 0;
        let range = |segment: &Segment| {
            let length = segment.addresses.end - segment.addresses.start;
            segment.offset..segment.offset.saturating_add(length)
        };
        self.segments.iter().filter(constant).map(range).collect()
    }

    /// The relocations that have their addends with them, as x86-64 has.
    pub fn relocations(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.kind == elf::SHT_RELA)
    }

    /// The offset in the file of code at an address; nothing for what is not executable.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        self.offset_in(address, |segment| segment.flags & elf::PF_X != 0)
    }

    /// The offset in the file of whatever is at an address.
    pub fn offset(&self, address: u64) -> Option<u64> {
        self.offset_in(address, |_| true)
    }

    fn offset_in(&self, address: u64, wanted: impl Fn(&Segment) -> bool) -> Option<u64> {
        let holds = |segment: &&Segment| wanted(segment) && segment.addresses.contains(&address);
        let segment = self.segments.iter().find(holds)?;
        segment.offset.checked_add(address - segment.addresses.start)
    }
}

fn header(reader: &mut Reader<'_>) -> Result<FileHeader64<LittleEndian>, Reason> {
    let start = reader.part(0, size_of::<FileHeader64<LittleEndian>>()).map_err(|reason| match reason {
        // Too short for any.
        Reason::Damaged(_) => Reason::NotElf,
        other => other,
    })?;
    let (header, _) = from_bytes::<FileHeader64<LittleEndian>>(&start).map_err(|()| Reason::NotElf)?;
    let ident = header.e_ident;
    if ident.magic != elf::ELFMAG {
        return Err(Reason::NotElf);
    }
    let ours = ident.class == elf::ELFCLASS64
        && ident.data == elf::ELFDATA2LSB
        && header.e_machine.get(LITTLE) == elf::EM_X86_64;
    if ours { Ok(*header) } else { Err(Reason::OtherArchitecture) }
}

/// `count` headers of one kind.
fn table<T: Pod>(reader: &mut Reader<'_>, offset: u64, count: u16) -> Result<Vec<T>, Reason> {
    let bytes = reader.part(offset, usize::from(count) * size_of::<T>())?;
    let entries = slice_from_all_bytes(&bytes).map_err(|()| Reason::Damaged("a header is cut"))?;
    Ok(entries.to_vec())
}

fn segment(header: &ProgramHeader64<LittleEndian>) -> Option<Segment> {
    let start = header.p_vaddr.get(LITTLE);
    let segment = Segment {
        addresses: start..start.checked_add(header.p_filesz.get(LITTLE))?,
        offset: header.p_offset.get(LITTLE),
        flags: header.p_flags.get(LITTLE),
    };
    (header.p_type.get(LITTLE) == elf::PT_LOAD).then_some(segment)
}

fn sections(
    reader: &mut Reader<'_>,
    headers: &[SectionHeader64<LittleEndian>],
    names: usize,
) -> Result<Vec<Section>, Reason> {
    let Some(table) = headers.get(names) else { return Ok(Vec::new()) };
    let length = usize::try_from(table.sh_size.get(LITTLE)).map_err(|_| Reason::TooLarge)?;
    let names = reader.part(table.sh_offset.get(LITTLE), length)?;
    Ok(headers.iter().map(|header| section(header, &names)).collect())
}

fn section(header: &SectionHeader64<LittleEndian>, names: &[u8]) -> Section {
    let name = names.get(header.sh_name.get(LITTLE) as usize..).unwrap_or_default();
    let kind = header.sh_type.get(LITTLE);
    let start = header.sh_offset.get(LITTLE);
    // What has no bytes in the file still has its number.
    let length = if kind == elf::SHT_NOBITS { 0 } else { header.sh_size.get(LITTLE) };
    Section {
        name: name.iter().copied().take(NAME_LENGTH).take_while(|byte| *byte != 0).collect(),
        kind,
        range: start..start.saturating_add(length),
        link: header.sh_link.get(LITTLE) as usize,
    }
}
