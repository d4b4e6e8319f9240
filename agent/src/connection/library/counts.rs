//! What became of what libraries showed.

use crate::event::Library;

/// What became of one chain, or of one word on its verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LibraryOutcome {
    /// It is on its connection.
    Attributed,
    /// On its connection, but longer than what is copied of it; or runs of it were lost, and all of it with them.
    Truncated,
    /// Several connections could be meant: on none.
    Ambiguous,
    /// The connection that it was said to belong to shows something else: on none.
    Disagrees,
    /// No connection could be meant of which the TLS handshake was seen.
    NoConnection,
    /// It is not what it was said to be.
    Malformed,
}

impl LibraryOutcome {
    /// All of them.
    pub const ALL: [LibraryOutcome; 6] = [
        LibraryOutcome::Attributed,
        LibraryOutcome::Truncated,
        LibraryOutcome::Ambiguous,
        LibraryOutcome::Disagrees,
        LibraryOutcome::NoConnection,
        LibraryOutcome::Malformed,
    ];

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            LibraryOutcome::Attributed => "attributed",
            LibraryOutcome::Truncated => "truncated",
            LibraryOutcome::Ambiguous => "ambiguous",
            LibraryOutcome::Disagrees => "disagrees",
            LibraryOutcome::NoConnection => "no_connection",
            LibraryOutcome::Malformed => "malformed",
        }
    }
}

/// How often each outcome was met, by library, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LibraryCounts([[u64; LibraryOutcome::ALL.len()]; Library::ALL.len()]);

impl LibraryCounts {
    /// Counts one.
    pub fn add(&mut self, library: Library, outcome: LibraryOutcome) {
        self.0[library as usize][outcome as usize] += 1;
    }

    /// One number.
    pub fn of(&self, library: Library, outcome: LibraryOutcome) -> u64 {
        self.0[library as usize][outcome as usize]
    }
}
