//! Library: an executable file → the points at which its TLS library shows certificates.
//!
//! Enters: the bytes of an ELF file. Leaves: which TLS library it holds and at which offsets of the file it can be probed, or
//! why not. Pure and fuzzed: whoever can run a program on the host chooses these bytes.
//! Refuses: processes, mounts, attaching.

mod elf;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod go;
mod names;
mod point;
mod softoken;
mod source;
mod symbols;
#[cfg(test)]
mod tests;
mod traces;

use std::io;

pub use point::{Hook, Point};
pub use source::Source;

use crate::event::Library;
use elf::Elf;
use source::Reader;
use symbols::Symbols;
use traces::Traces;

/// What a file is good for. Empty for a file without TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examination {
    /// The TLS libraries in it that can be probed, each once.
    pub libraries: Vec<Found>,
    /// The dynamic linker's `_dl_debug_state`, if this is one.
    pub linker: Option<Point>,
    /// What cannot be probed, and why.
    pub refused: Vec<Refusal>,
}

/// A TLS library that can be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub library: Library,
    /// The version that it gives itself, if that was found.
    pub version: Option<String>,
    /// Where, in order. At most 128 in one file. BoringSSL's are some of [`Library::OpenSsl`]'s too, since it has the same
    /// functions that verify.
    pub points: Vec<Point>,
}

impl Found {
    /// Whether the peer's certificates are shown, and the function through which own ones go has no symbol. NSS has that function in
    /// another file.
    pub fn hides_own(&self) -> bool {
        let has = |wanted: fn(Hook) -> bool| self.points.iter().any(|point| wanted(point.hook));
        self.library != Library::Nss && has(Hook::shows_peer) && !has(Hook::shows_own)
    }
}

/// Something that cannot be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The library, if it is known.
    pub library: Option<Library>,
    /// Why.
    pub reason: Reason,
}

/// Why a file is not probed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The file could not be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// Not an ELF file.
    #[error("it is not an ELF file")]
    NotElf,
    /// Arguments of functions are where they are on x86-64 only.
    #[error("it is not made for x86-64, the only architecture whose calls are known")]
    OtherArchitecture,
    /// What the headers or tables say cannot be.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// A bound of this room.
    #[error("its tables are larger than what is read")]
    TooLarge,
    /// It has more of something than the bound on it: what the others are is not known.
    #[error("it has more {0} than are read")]
    MoreThanRead(&'static str),
    /// Its constants are those of a TLS library, and no symbol tells where its functions are.
    #[error(
        "it holds the labels of TLS, but no symbol of a library that is known here: stripped, or another library"
    )]
    Stripped,
    /// A version whose layout is not known.
    #[error("version {0} lays out its functions in a way that is not known here")]
    UnknownVersion(String),
    /// NSS' softoken, in which the function that hashes is not where it is in others.
    #[error("its table of functions (PKCS #11) cannot be read: own certificates stay hidden")]
    HiddenTable,
    /// A virtual machine whose TLS is compiled while it runs.
    #[error("its TLS, if it has any, is compiled while it runs")]
    CompiledWhileRunning,
}

/// Finds the TLS libraries in a file. Reads at most 128 MiB of it, and holds some windows of 96 KiB.
pub fn examine(source: &dyn Source) -> Examination {
    let mut examination = Examination::default();
    if let Err(reason) = look(source, &mut examination) {
        examination.refused.push(Refusal { library: None, reason });
    }
    examination
}

fn look(source: &dyn Source, examination: &mut Examination) -> Result<(), Reason> {
    let mut reader = Reader::new(source)?;
    let elf = Elf::read(&mut reader)?;
    let mut symbols = Symbols::read(&mut reader, &elf)?;
    if let Some(getter) = symbols.function_list {
        match softoken::digest_update(&mut reader, &elf, getter)? {
            Some(point) => symbols.points.push(point),
            None => {
                examination.refused.push(Refusal { library: Some(Library::Nss), reason: Reason::HiddenTable })
            }
        }
    }
    examination.linker = symbols.points.iter().find(|point| point.hook == Hook::LinkerState).copied();
    let go = go::version(&mut reader, &elf)?;
    let go_points = go.as_deref().map(|version| go::points(&mut reader, &elf, version));
    let traces = Traces::read(&mut reader, &elf)?;

    for library in Library::ALL {
        let points = points_of(library, &symbols.points);
        if !points.is_empty() {
            examination.libraries.push(Found { library, version: traces.version(library), points });
        }
    }
    match go_points {
        Some(Ok(points)) if !points.is_empty() => {
            examination.libraries.push(Found { library: Library::Go, version: go, points });
        }
        Some(Err(reason)) if traces.tls => {
            examination.refused.push(Refusal { library: Some(Library::Go), reason });
        }
        _ => {}
    }
    let unread = elf.unread().into_iter().chain(symbols.unread.iter().copied()).chain(traces.unread());
    let refusal = |what| Refusal { library: None, reason: Reason::MoreThanRead(what) };
    examination.refused.extend(unread.map(refusal));
    if symbols.java {
        examination.refused.push(Refusal { library: None, reason: Reason::CompiledWhileRunning });
    }
    let explained = !examination.libraries.is_empty() || !examination.refused.is_empty();
    // A part of a library has labels and calls the functions of another part; NSS' libfreebl calls none.
    let part = symbols.imports && !traces.names(Library::Rustls) || traces.names(Library::Nss);
    if traces.tls && !explained && !part {
        examination.refused.push(Refusal { library: traces.library(), reason: Reason::Stripped });
    }
    Ok(())
}

/// The points of one library; none without one that shows the peer's certificates or verifies for a TLS library only.
fn points_of(library: Library, all: &[Point]) -> Vec<Point> {
    let has = |hook: Hook| all.iter().any(|point| point.hook == hook);
    let boring = has(Hook::BoringSslFromCbs) || has(Hook::BoringSslNew);
    let wanted = |hook: Hook| match hook {
        Hook::OpenSslPeer | Hook::OpenSslOwn => {
            library == Library::OpenSsl && !boring && has(Hook::OpenSslPeer)
        }
        // BoringSSL has them too, and they work alike.
        Hook::OpenSslVerifyBegin | Hook::OpenSslVerify | Hook::OpenSslVerifyResult => match library {
            Library::BoringSsl => boring,
            Library::OpenSsl => !boring && has(Hook::OpenSslPeer),
            _ => false,
        },
        hook => hook.library() == Some(library),
    };
    all.iter().filter(|point| wanted(point.hook)).copied().collect()
}
