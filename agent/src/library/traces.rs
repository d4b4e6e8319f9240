//! What the constants of a file tell of the TLS library in it: its version, and that there is one although no symbol names
//! its functions.

use std::ops::ControlFlow;

use memchr::memmem;

use super::Reason;
use super::elf::Elf;
use super::source::Reader;
use crate::event::Library;

/// Constants that are searched. A browser has 40 MiB.
const MAX_CONSTANTS: u64 = 64 << 20;
/// Bytes of a version.
const MAX_VERSION: usize = 16;

/// Labels that the protocol itself needs: RFC 7627 section 4, and the names of secrets in key logs (RFC 9850).
const LABELS: [&[u8]; 2] = [b"extended master secret", b"CLIENT_HANDSHAKE_TRAFFIC_SECRET"];

/// What stands before a library's version.
const VERSIONS: [(&[u8], Library); 4] = [
    (b"OpenSSL ", Library::OpenSsl),
    (b"LibreSSL ", Library::OpenSsl),
    (b"Version: NSS ", Library::Nss),
    (b"/rustls-", Library::Rustls),
];
/// How BoringSSL names itself.
const BORINGSSL: &[u8] = b"(compatible; BoringSSL)";
/// The longest of all, with a version.
const OVERLAP: usize = 64;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Traces {
    /// There are labels of the TLS protocol.
    pub tls: bool,
    /// There are constants that were not searched.
    cut: bool,
    /// The libraries that name themselves, with their versions.
    named: Vec<(Library, Option<String>)>,
}

impl Traces {
    /// Searches the constants.
    pub fn read(reader: &mut Reader<'_>, elf: &Elf) -> Result<Self, Reason> {
        let mut traces = Traces::default();
        let mut left = MAX_CONSTANTS;
        for range in elf.constants() {
            let length = (range.end - range.start).min(left);
            traces.cut |= length < range.end - range.start;
            left -= length;
            reader.windows(range.start..range.start + length, OVERLAP, |_, bytes| {
                traces.add(bytes);
                ControlFlow::Continue(())
            })?;
        }
        Ok(traces)
    }

    /// What there was too much of: it matters where no labels were found in the rest.
    pub fn unread(&self) -> Option<&'static str> {
        (self.cut && !self.tls).then_some("constants")
    }

    /// The library that names itself, where only one does.
    pub fn library(&self) -> Option<Library> {
        let [(library, _)] = self.named.as_slice() else { return None };
        Some(*library)
    }

    /// Whether this one names itself.
    pub fn names(&self, library: Library) -> bool {
        self.named.iter().any(|(named, _)| *named == library)
    }

    /// The version that a library gives itself.
    pub fn version(&self, library: Library) -> Option<String> {
        self.named.iter().find(|(named, _)| *named == library)?.1.clone()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.tls = self.tls || LABELS.iter().any(|label| memmem::find(bytes, label).is_some());
        for (prefix, library) in VERSIONS {
            if !self.names(library) {
                let found =
                    memmem::find_iter(bytes, prefix).find_map(|hit| version(&bytes[hit + prefix.len()..]));
                self.named.extend(found.map(|version| (library, Some(version))));
            }
        }
        if !self.names(Library::BoringSsl) && memmem::find(bytes, BORINGSSL).is_some() {
            // It gives itself the version of the OpenSSL that it is compatible with.
            self.named.retain(|(library, _)| *library != Library::OpenSsl);
            self.named.push((Library::BoringSsl, None));
        }
    }
}

/// Digits, dots and a letter, as in 1.1.1w.
fn version(bytes: &[u8]) -> Option<String> {
    let part =
        bytes.iter().take(MAX_VERSION).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.');
    let text: String = part.map(|byte| char::from(*byte)).collect();
    let text = text.trim_end_matches('.');
    // Mentions of a series, as "since OpenSSL 3.0", are not the version.
    let whole = text.starts_with(|first: char| first.is_ascii_digit()) && text.matches('.').count() == 2;
    whole.then(|| text.to_owned())
}
