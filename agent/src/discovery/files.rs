//! The files that processes map, and which of them are probed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};

use super::known::{FileKey, Known, ProbeOutcome, Slot, State, rows_of};
use super::maps::{Mapped, executable_files};
use super::reach::{open, reach};
use crate::library::{self, Examination, Point};
use crate::record::LibraryFileRecord;

/// The largest `maps` file that is read: a process may have 65,530 mappings (vm.max_map_count) of some hundred bytes.
const MAX_MAPS_BYTES: u64 = 16 << 20;
/// Files that are remembered as holding no TLS library; beyond, those are forgotten and examined anew.
const MAX_FILES: usize = 16_384;
/// A file whose probes were refused for want of something is tried again after this long, and after twice as long each time.
pub(super) const RETRY: Duration = Duration::from_secs(15);
/// It is given up after so many refusals: an hour after the first one.
pub(super) const MAX_REFUSALS: u32 = 9;
/// A file keeps its probes this long after its last user ended: programs that live for milliseconds come again.
pub(super) const GRACE: Duration = Duration::from_secs(600);

/// What is to be done about a file.
#[derive(Debug)]
pub enum Order {
    /// Attach probes.
    Probe {
        /// Which.
        key: FileKey,
        /// The file, open.
        file: File,
        /// Where.
        points: Vec<Point>,
        /// It is not asked for again: what is refused for now stays refused, and the rest is to be kept.
        last: bool,
    },
    /// Detach them.
    Release {
        /// Which.
        key: FileKey,
    },
}

/// What a look at a process showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Its dynamic linker is probed: what it loads later will be told.
    pub announces: bool,
    /// It runs a dynamic linker at all.
    pub links: bool,
}

/// All files that processes of this host map.
#[derive(Debug)]
pub struct Discovery {
    proc: PathBuf,
    max_probed: usize,
    files: FxHashMap<FileKey, Known>,
    /// Probed files by device and inode, which a probe keeps from being given away: a change of their attributes makes no new file.
    pinned: FxHashMap<(u64, u64), FileKey>,
    /// Files of interest by process.
    processes: FxHashMap<u32, Vec<FileKey>>,
    /// This program, which holds the labels by which libraries are recognised, and no TLS library.
    own: Option<FileKey>,
    examined: u64,
    refused: u64,
    passed: PassedOver,
}

/// How often files were not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassedOver {
    /// A process maps more than are read.
    pub mappings: u64,
    /// A mapped file could not be opened, though it is there.
    pub unreadable: u64,
}

impl Discovery {
    /// Knows nothing yet; `proc` is where procfs is mounted. At most `max_probed` files are probed at once.
    pub fn new(proc: &Path, max_probed: usize) -> Self {
        Discovery {
            proc: proc.to_owned(),
            max_probed,
            files: FxHashMap::default(),
            pinned: FxHashMap::default(),
            processes: FxHashMap::default(),
            own: std::fs::metadata("/proc/self/exe").ok().map(|metadata| FileKey::of(&metadata)),
            examined: 0,
            refused: 0,
            passed: PassedOver::default(),
        }
    }

    /// Looks at what a process maps now.
    ///
    /// # Errors
    /// If it is gone, or not to be looked at.
    pub fn look(&mut self, pid: u32, now: Instant, order: &mut dyn FnMut(Order)) -> io::Result<Look> {
        let folder = self.proc.join(pid.to_string());
        let mut maps = Vec::new();
        let read = File::open(folder.join("maps"))?.take(MAX_MAPS_BYTES).read_to_end(&mut maps)?;
        let (mapped, more) = executable_files(&maps);
        self.passed.mappings += u64::from(more || read as u64 == MAX_MAPS_BYTES);
        let mut used = Vec::new();
        let mut look = Look { announces: false, links: false };
        for mapped in mapped {
            let key = match self.know(&folder, &mapped, now, order) {
                Ok(key) => key,
                Err(error) => {
                    // It may have been unmapped since, or the process has ended; that there is no room is counted elsewhere.
                    let expected =
                        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StorageFull);
                    self.passed.unreadable += u64::from(!expected);
                    continue;
                }
            };
            let Some(known) = self.files.get_mut(&key) else { continue };
            if known.has_linker() {
                look.links = true;
                look.announces |= matches!(known.state, State::Told(ProbeOutcome::Whole));
            }
            if !known.is_plain() {
                known.users.insert(pid);
                known.unused_since = None;
                used.push(key);
            }
        }
        let before = self.processes.insert(pid, used.clone()).unwrap_or_default();
        let kept: FxHashSet<FileKey> = used.iter().copied().collect();
        for key in before.into_iter().filter(|key| !kept.contains(key)) {
            self.leave(pid, key, now);
        }
        if used.is_empty() {
            self.processes.remove(&pid);
        }
        Ok(look)
    }

    /// A process has ended.
    pub fn gone(&mut self, pid: u32, now: Instant) {
        for key in self.processes.remove(&pid).unwrap_or_default() {
            self.leave(pid, key, now);
        }
    }

    /// Every process there is. One may end before it is looked at; a thread of the kernel maps nothing.
    ///
    /// # Errors
    /// If procfs cannot be listed.
    pub fn processes(&self) -> io::Result<BTreeSet<u32>> {
        let mut pids = BTreeSet::new();
        for entry in std::fs::read_dir(&self.proc)? {
            pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(pids)
    }

    /// After every process was looked at: forgets those that are not among the living, and files that nobody has used for a while.
    pub fn keep(&mut self, living: &BTreeSet<u32>, now: Instant, order: &mut dyn FnMut(Order)) {
        let gone: Vec<u32> = self.processes.keys().filter(|pid| !living.contains(pid)).copied().collect();
        for pid in gone {
            self.gone(pid, now);
        }
        self.expire(now, order);
    }

    /// Takes the probes off files that nobody has used for a while.
    pub fn expire(&mut self, now: Instant, order: &mut dyn FnMut(Order)) {
        let over = |known: &Known| {
            known.unused_since.is_some_and(|since| now.saturating_duration_since(since) >= GRACE)
        };
        let expired: Vec<FileKey> =
            self.files.iter().filter(|(_, known)| over(known)).map(|(key, _)| *key).collect();
        for key in expired {
            self.forget(key, order);
        }
    }

    fn forget(&mut self, key: FileKey, order: &mut dyn FnMut(Order)) {
        if self.files.remove(&key).is_some_and(|known| known.is_probed()) {
            self.pinned.remove(&(key.device, key.inode));
            order(Order::Release { key });
        }
    }

    /// Notes what became of an order to probe.
    pub fn probed(&mut self, key: FileKey, outcome: ProbeOutcome, now: Instant) {
        if matches!(outcome, ProbeOutcome::None(_) | ProbeOutcome::Later(_)) {
            self.pinned.remove(&(key.device, key.inode));
        }
        let Some(known) = self.files.get_mut(&key) else { return };
        let attempts = match known.state {
            State::Asked { refusals } => refusals + 1,
            _ => 1,
        };
        known.state = match outcome {
            ProbeOutcome::Later(reason) if attempts < MAX_REFUSALS => {
                State::Again { attempts, not_before: now + RETRY * (1 << (attempts - 1)), reason }
            }
            outcome => State::Told(outcome),
        };
    }

    /// Files probed now.
    pub fn probed_files(&self) -> usize {
        self.files.values().filter(|known| known.is_probed()).count()
    }

    /// Files examined so far.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// How many files are known, and how many there is room for.
    pub fn sizes(&self) -> (usize, usize) {
        (self.files.len(), MAX_FILES)
    }

    /// Files that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How often files were passed over.
    pub fn passed_over(&self) -> PassedOver {
        self.passed
    }

    /// What there is to say, by path.
    pub fn rows(&self) -> Vec<LibraryFileRecord> {
        let mut rows: Vec<LibraryFileRecord> =
            self.files.iter().filter(|(_, known)| !known.users.is_empty()).flat_map(rows_of).collect();
        rows.sort_by(|one, other| {
            (&one.path, one.device, one.inode, &one.library).cmp(&(
                &other.path,
                other.device,
                other.inode,
                &other.library,
            ))
        });
        rows
    }

    fn leave(&mut self, pid: u32, key: FileKey, now: Instant) {
        if let Some(known) = self.files.get_mut(&key) {
            known.users.remove(&pid);
            if known.users.is_empty() {
                known.unused_since = Some(now);
            }
        }
    }

    /// The key of a mapped file, which is examined if it was not met before.
    fn know(
        &mut self,
        folder: &Path,
        mapped: &Mapped,
        now: Instant,
        order: &mut dyn FnMut(Order),
    ) -> io::Result<FileKey> {
        let (path, metadata) = reach(folder, mapped)?;
        let key = FileKey::of(&metadata);
        if let Some(key) = self.pinned.get(&(key.device, key.inode)) {
            return Ok(*key);
        }
        let known = self.files.get(&key);
        match known.map(|known| (&known.state, known.slot)) {
            None => {}
            Some((State::Beyond(slot), _)) if self.has_room(*slot) => {}
            Some((State::Again { not_before, .. }, slot)) if now >= *not_before && self.has_room(slot) => {}
            Some(_) => return Ok(key),
        }
        let is_new = known.is_none();
        let file = open(&path)?;
        // The link may have been another mapping's by now.
        if FileKey::of(&file.metadata()?) != key {
            return Err(io::ErrorKind::NotFound.into());
        }
        if is_new {
            self.examine(key, &file, &metadata, mapped)?;
        }
        self.probe(key, file, order);
        Ok(key)
    }

    fn examine(
        &mut self,
        key: FileKey,
        file: &File,
        metadata: &std::fs::Metadata,
        mapped: &Mapped,
    ) -> io::Result<()> {
        if self.files.len() >= MAX_FILES {
            self.files.retain(|_, known| !known.is_plain() && (known.is_probed() || !known.users.is_empty()));
        }
        if self.files.len() >= MAX_FILES {
            self.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.examined += 1;
        let examination = match self.own == Some(key) {
            true => Examination::default(),
            false => library::examine(file),
        };
        let slot = if metadata.uid() == 0 { Slot::Root } else { Slot::Others };
        let known = Known {
            path: mapped.path.clone(),
            slot,
            examination,
            state: State::Nothing,
            users: BTreeSet::new(),
            unused_since: None,
        };
        self.files.insert(key, known);
        Ok(())
    }

    /// Has a file probed, if there is anything to probe and room for it.
    fn probe(&mut self, key: FileKey, file: File, order: &mut dyn FnMut(Order)) {
        let Some(known) = self.files.get(&key) else { return };
        let (points, slot) = (known.points(), known.slot);
        if points.is_empty() {
            return;
        }
        if !self.has_room(slot)
            && let Some(unused) = self.longest_unused(slot)
        {
            self.forget(unused, order);
        }
        let room = self.has_room(slot);
        let Some(known) = self.files.get_mut(&key) else { return };
        if !room {
            known.state = State::Beyond(slot);
            return;
        }
        let refusals = match known.state {
            State::Again { attempts, .. } => attempts,
            _ => 0,
        };
        known.state = State::Asked { refusals };
        self.pinned.insert((key.device, key.inode), key);
        order(Order::Probe { key, file, points, last: refusals + 1 >= MAX_REFUSALS });
    }

    fn has_room(&self, slot: Slot) -> bool {
        let probed = self.files.values().filter(|known| known.is_probed());
        match slot {
            Slot::Root => probed.count() < self.max_probed,
            Slot::Others => {
                let quarter = self.max_probed.div_ceil(4);
                self.probed_files() < self.max_probed
                    && probed.filter(|known| known.slot == Slot::Others).count() < quarter
            }
        }
    }

    /// The probed file that nobody has used for the longest time.
    fn longest_unused(&self, slot: Slot) -> Option<FileKey> {
        let of_slot = |known: &Known| slot == Slot::Root || known.slot == slot;
        let unused = self.files.iter().filter(|(_, known)| known.is_probed() && of_slot(known));
        let since = unused.filter_map(|(key, known)| Some((known.unused_since?, *key)));
        since.min().map(|(_, key)| key)
    }
}
