//! What is known of a file that processes map.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Instant;

use crate::library::{Examination, Point, Reason, Refusal};
use crate::record::{LIBRARY_SCHEMA, LibraryFileRecord, ProbeState};

/// What is missing of a library whose file lacks one symbol.
const OWN_HIDDEN: &str =
    "its own certificates are not shown: the function through which they go has no symbol in this file";

/// Which file: the inode of a deleted file is given away again, the time of its change tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    pub(super) device: u64,
    pub(super) inode: u64,
    changed: (i64, i64),
    bytes: u64,
}

impl FileKey {
    /// Of the file that they are of.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        FileKey {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            bytes: metadata.size(),
        }
    }
}

/// What became of [`Order::Probe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// All points are probed.
    Whole,
    /// Some are; why others are not.
    Part(String),
    /// None is; why.
    None(String),
    /// None is, for want of something of which there may be enough later; what.
    Later(String),
}

#[derive(Debug)]
pub(super) enum State {
    /// Nothing to probe.
    Nothing,
    /// Asked for, after so many refusals.
    Asked { refusals: u32 },
    /// It is told what came of it.
    Told(ProbeOutcome),
    /// It was refused for now, so often, and is asked for again.
    Again { attempts: u32, not_before: Instant, reason: String },
    /// More files than may be probed; it is when there is room again.
    Beyond(Slot),
}

/// Who may take the room of a file that is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Anybody: the file is root's.
    Root,
    /// Only a quarter is for files of other owners, who can make as many as they like.
    Others,
}

#[derive(Debug)]
pub(super) struct Known {
    pub path: PathBuf,
    pub slot: Slot,
    pub examination: Examination,
    pub state: State,
    pub users: BTreeSet<u32>,
    pub unused_since: Option<Instant>,
}

impl Known {
    /// Nothing in it is of interest.
    pub fn is_plain(&self) -> bool {
        let Examination { libraries, linker, refused } = &self.examination;
        // What is no x86-64 program holds nothing that could be read.
        let foreign =
            |refusal: &Refusal| matches!(refusal.reason, Reason::NotElf | Reason::OtherArchitecture);
        libraries.is_empty() && linker.is_none() && refused.iter().all(foreign)
    }

    pub fn has_linker(&self) -> bool {
        self.examination.linker.is_some()
    }

    pub fn points(&self) -> Vec<Point> {
        let examination = &self.examination;
        let of_libraries = examination.libraries.iter().flat_map(|found| &found.points);
        // Two libraries of one file may share a function.
        let points: BTreeSet<Point> = of_libraries.chain(&examination.linker).copied().collect();
        points.into_iter().collect()
    }

    pub fn is_probed(&self) -> bool {
        matches!(self.state, State::Asked { .. } | State::Told(ProbeOutcome::Whole | ProbeOutcome::Part(_)))
    }
}

/// What there is to say of a file: a row for each library in it, and for each that cannot be probed.
pub(super) fn rows_of((key, known): (&FileKey, &Known)) -> Vec<LibraryFileRecord> {
    let (state, reason) = match &known.state {
        State::Nothing => (ProbeState::NotProbed, None),
        State::Asked { .. } => (ProbeState::CanBeProbed, None),
        State::Told(ProbeOutcome::Whole) => (ProbeState::Probed, None),
        State::Told(ProbeOutcome::Part(reason)) => (ProbeState::Probed, Some(reason.clone())),
        State::Told(ProbeOutcome::None(reason) | ProbeOutcome::Later(reason)) => {
            (ProbeState::NotProbed, Some(reason.clone()))
        }
        State::Again { reason, .. } => (ProbeState::NotProbed, Some(format!("{reason}; it is tried again"))),
        State::Beyond(Slot::Root) => {
            (ProbeState::NotProbed, Some("libraries.max_files files are probed already".to_owned()))
        }
        State::Beyond(Slot::Others) => {
            let reason = "a quarter of libraries.max_files are probed already that do not belong to root";
            (ProbeState::NotProbed, Some(reason.to_owned()))
        }
    };
    let row = |library: Option<&str>, version: Option<&str>, state, reason| LibraryFileRecord {
        schema: LIBRARY_SCHEMA.to_owned(),
        path: known.path.to_string_lossy().into_owned(),
        inode: key.inode,
        device: key.device,
        library: library.map(str::to_owned),
        version: version.map(str::to_owned),
        state,
        reason,
        processes: known.users.iter().take(LibraryFileRecord::MAX_PROCESSES).copied().collect(),
        process_count: known.users.len() as u64,
    };
    let found = known.examination.libraries.iter().map(|found| {
        let hidden = (state != ProbeState::NotProbed && found.hides_own()).then(|| OWN_HIDDEN.to_owned());
        row(Some(found.library.as_str()), found.version.as_deref(), state, reason.clone().or(hidden))
    });
    let refused = known.examination.refused.iter().map(|refusal| {
        row(
            refusal.library.map(|library| library.as_str()),
            None,
            ProbeState::NotProbed,
            Some(refusal.reason.to_string()),
        )
    });
    found.chain(refused).collect()
}
