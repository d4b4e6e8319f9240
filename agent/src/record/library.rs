//! `countersign.library/1`.

use serde::{Deserialize, Serialize};

/// Value of [`LibraryFileRecord::schema`].
pub const LIBRARY_SCHEMA: &str = "countersign.library/1";

/// A file that a process maps and that holds a TLS library, or something that may be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryFileRecord {
    /// [`LIBRARY_SCHEMA`].
    pub schema: String,
    /// As the process that showed it first names it.
    pub path: String,
    /// Inode number; with the device it tells files of equal names in containers apart.
    pub inode: u64,
    /// Number of the device.
    pub device: u64,
    /// `openssl`, `boringssl`, `gnutls`, `nss`, `go`, `rustls`; null where it is not known which.
    pub library: Option<String>,
    /// Its version, where the file says it.
    pub version: Option<String>,
    /// Whether it is probed.
    pub state: ProbeState,
    /// Why it is not, or not in full.
    pub reason: Option<String>,
    /// Pids of the processes that map it, lowest first, at most [`LibraryFileRecord::MAX_PROCESSES`].
    pub processes: Vec<u32>,
    /// How many there are.
    pub process_count: u64,
}

impl LibraryFileRecord {
    /// Processes that are named.
    pub const MAX_PROCESSES: usize = 64;
}

/// What a daemon says of the files with TLS libraries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryFiles {
    /// `libraries.enabled` of its configuration.
    pub enabled: bool,
    /// All of them, by path.
    pub files: Vec<LibraryFileRecord>,
}

/// Whether a file is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// It is.
    Probed,
    /// It can be, and no daemon says that it is.
    CanBeProbed,
    /// It cannot be, or is not.
    NotProbed,
}

impl ProbeState {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeState::Probed => "probed",
            ProbeState::CanBeProbed => "can_be_probed",
            ProbeState::NotProbed => "not_probed",
        }
    }
}
