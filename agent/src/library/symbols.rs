//! Functions by the names in a file's symbol tables.
//!
//! The strings are searched for the few names that are wanted, and the symbols then for the offsets of these: tables of any
//! size are read once, window by window.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use memchr::memmem;
use object::LittleEndian;
use object::elf::{self, Sym64};
use rustc_hash::FxHashMap;

use super::elf::{Elf, LITTLE, Section};
use super::names::{self, EXACT, MANGLED, Name};
use super::source::Reader;
use super::{Hook, Point, Reason};
use crate::event::Library;

/// Names of interest in one table. A program with every library has thirty; rustls' generic code adds a copy per use.
const MAX_NAMES: usize = 512;
/// Points in one file.
pub const MAX_POINTS: usize = 64;
/// Points of one hook of C: a program may hold two copies of a library. Generic code of rustls has a copy per use.
const MAX_POINTS_OF_HOOK: usize = 2;
/// Names of Rust that are demangled in one file: a hostile name may unfold to a megabyte.
const MAX_DEMANGLED: usize = 4096;
/// Bytes of a name with its null. The names that are wanted have up to 160.
const MAX_NAME: usize = 512;

/// What the symbol tables say.
#[derive(Debug, Default)]
pub struct Symbols {
    /// In order, each once.
    pub points: Vec<Point>,
    /// A TLS library's function is called that another file has.
    pub imports: bool,
    /// It is a Java virtual machine.
    pub java: bool,
    /// The address of `NSC_GetFunctionList`.
    pub function_list: Option<u64>,
    /// What there was too much of.
    pub unread: BTreeSet<&'static str>,
}

impl Symbols {
    /// Reads all tables.
    pub fn read(reader: &mut Reader<'_>, elf: &Elf) -> Result<Self, Reason> {
        let mut symbols = Symbols::default();
        for (table, strings) in elf.symbol_tables() {
            let wanted = wanted(reader, strings, &mut symbols.unread)?;
            if !wanted.is_empty() {
                symbols.add(reader, elf, table, &wanted)?;
            }
        }
        symbols.points.sort_unstable();
        Ok(symbols)
    }

    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        elf: &Elf,
        table: &Section,
        wanted: &FxHashMap<u32, Name>,
    ) -> Result<(), Reason> {
        reader.entries(table.range.clone(), |entries: &[Sym64<LittleEndian>]| {
            for entry in entries {
                if let Some(name) = wanted.get(&entry.st_name.get(LITTLE)) {
                    self.take(elf, entry, *name);
                }
            }
            ControlFlow::Continue(())
        })
    }

    fn take(&mut self, elf: &Elf, entry: &Sym64<LittleEndian>, name: Name) {
        let defined = entry.st_shndx.get(LITTLE) != elf::SHN_UNDEF;
        match name {
            Name::Java => self.java |= defined,
            Name::FunctionList if defined => self.function_list = Some(entry.st_value.get(LITTLE)),
            Name::FunctionList => {}
            Name::Hook(hook) if !defined => self.imports |= hook.library().is_some(),
            Name::Hook(hook) if entry.st_info & 0xf == elf::STT_FUNC => {
                let offset = elf.code_offset(entry.st_value.get(LITTLE));
                // The same function stands in both tables.
                let point = offset.map(|offset| Point { hook, offset });
                match point.filter(|point| !self.points.contains(point)) {
                    Some(point) if self.has_room(hook) => self.points.push(point),
                    Some(_) => _ = self.unread.insert("functions of TLS libraries"),
                    None => {}
                }
            }
            Name::Hook(_) => {}
        }
    }
}

impl Symbols {
    fn has_room(&self, hook: Hook) -> bool {
        let of_hook = self.points.iter().filter(|point| point.hook == hook).count();
        let generic = hook.library() == Some(Library::Rustls);
        self.points.len() < MAX_POINTS && (generic || of_hook < MAX_POINTS_OF_HOOK)
    }
}

/// The wanted names among the strings, by their offsets.
fn wanted(
    reader: &mut Reader<'_>,
    strings: &Section,
    unread: &mut BTreeSet<&'static str>,
) -> Result<FxHashMap<u32, Name>, Reason> {
    let mut wanted = FxHashMap::default();
    let mut demangled = 0;
    let first = strings.range.start;
    reader.windows(strings.range.clone(), MAX_NAME, |at, bytes| {
        let exact = EXACT
            .iter()
            .flat_map(|(text, name)| memmem::find_iter(bytes, text).map(move |start| (start, *name)));
        let mangled = MANGLED
            .iter()
            .flat_map(|text| memmem::find_iter(bytes, text))
            .take_while(|_| {
                demangled += 1;
                demangled <= MAX_DEMANGLED
            })
            .filter_map(|hit| around(bytes, hit));
        for (start, name) in exact.chain(mangled) {
            if wanted.len() == MAX_NAMES {
                unread.insert("names of functions of TLS libraries");
                return ControlFlow::Break(());
            }
            wanted.extend(u32::try_from(at - first + start as u64).map(|offset| (offset, name)));
        }
        ControlFlow::Continue(())
    })?;
    if demangled > MAX_DEMANGLED {
        unread.insert("mangled names");
    }
    Ok(wanted)
}

/// Where the mangled name around a hit begins, and what it is.
fn around(bytes: &[u8], hit: usize) -> Option<(usize, Name)> {
    let before = &bytes[hit.saturating_sub(MAX_NAME)..hit];
    let start = hit - before.iter().rev().take_while(|byte| **byte != 0).count();
    let length = bytes[start..].iter().take(MAX_NAME).position(|byte| *byte == 0)?;
    let name = names::mangled(str::from_utf8(&bytes[start..start + length]).ok()?)?;
    Some((start, name))
}
