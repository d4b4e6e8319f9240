//! What a cgroup belongs to: a systemd unit, a container, a pod.
//!
//! ```text
//! /proc/PID/cgroup ──► placement: what the names claim ──► who made the folder? ──► states: what the runtime calls it
//! ```
//! Names of cgroups prove nothing by themselves: a user names folders below his own manager as he likes. A claim is believed
//! where only an administrator can have made the folder, which is where the folder *above* it is the administrator's and
//! nobody else may write into it.
//! Elsewhere it is the container of that user at most, if a runtime of his knows it, and never has the name of another's.
//!
//! Everything is read once per cgroup and remembered until its folder is gone or another one.

mod formats;
mod placement;
mod states;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cgroup::{CgroupPath, CgroupPaths};
use super::generations::TableSize;
use super::users::UserNames;
use super::{Hierarchies, Roots};
use crate::event::Timestamp;
use crate::record::{Text, WorkloadRecord};
use formats::{Names, Pod};
use placement::{Claim, Form, Runtime, Unit};
use states::{Found, States};

/// Bound on remembered cgroups: large Kubernetes nodes have about 2,000. Each takes about 1 KiB.
const MAX_CGROUPS: usize = 8192;
/// Bound on remembered cgroups that one sweep looks at: all of a large node's within ten seconds.
const MAX_CHECKS_PER_SWEEP: usize = 256;
/// After so many nanoseconds (10 s) a runtime is asked again for what it did not know: some write their files late.
const ASK_AGAIN: u64 = 10 * 1_000_000_000;
/// Permission bits by which others than its owner may make folders in a folder.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Digits of a container's id that stand for its name, as runtimes print it.
const SHORT_ID: usize = 12;

/// Why names that a workload should have are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadUnknown {
    /// The cgroup could not be read any more, so that the executable stands for the workload.
    CgroupNotRead,
    /// No file of the container's runtime knows it.
    StateNotFound,
    /// The runtime's file is too large or malformed, or its names are not valid.
    StateUnreadable,
    /// The runtime says that the container belongs to another pod than its cgroup does.
    StateContradicts,
    /// A folder that a user made is called like a container, and no runtime of his has it there.
    ContainerNotConfirmed,
    /// The names of a user's own containers are in his home, which is not read, and would be his word.
    Rootless,
    /// The runtime does not say which service account the pod has.
    ServiceAccountNotTold,
}

impl WorkloadUnknown {
    /// All of them.
    pub const ALL: &'static [WorkloadUnknown] = &[
        WorkloadUnknown::CgroupNotRead,
        WorkloadUnknown::StateNotFound,
        WorkloadUnknown::StateUnreadable,
        WorkloadUnknown::StateContradicts,
        WorkloadUnknown::ContainerNotConfirmed,
        WorkloadUnknown::Rootless,
        WorkloadUnknown::ServiceAccountNotTold,
    ];

    /// The runtime may write the names down, or the whole of its file, in a while.
    fn is_cured_by_time(self) -> bool {
        matches!(
            self,
            WorkloadUnknown::StateNotFound
                | WorkloadUnknown::StateUnreadable
                | WorkloadUnknown::ContainerNotConfirmed
        )
    }

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkloadUnknown::CgroupNotRead => "cgroup_not_read",
            WorkloadUnknown::StateNotFound => "runtime_state_not_found",
            WorkloadUnknown::StateUnreadable => "runtime_state_unreadable",
            WorkloadUnknown::StateContradicts => "runtime_state_contradicts",
            WorkloadUnknown::ContainerNotConfirmed => "container_not_confirmed",
            WorkloadUnknown::Rootless => "rootless",
            WorkloadUnknown::ServiceAccountNotTold => "service_account_not_told",
        }
    }
}

/// Whether a look at the cgroup in a while may tell more of a workload: its runtime, or the name of a user in place of an id.
pub(super) fn may_be_told_later(workload: &WorkloadRecord) -> bool {
    let is_said = |reason: &&WorkloadUnknown| workload.unknown.as_deref() == Some(reason.as_str());
    let has_id = workload.unit_user.as_ref().is_some_and(|user| user.parse::<u32>().is_ok());
    has_id || WorkloadUnknown::ALL.iter().find(is_said).is_some_and(|reason| reason.is_cured_by_time())
}

/// The workloads of cgroups, remembered.
#[derive(Debug)]
pub(super) struct Workloads {
    hierarchies: Hierarchies,
    administrator: u32,
    states: States,
    /// By what `/proc/PID/cgroup` says.
    known: HashMap<Arc<[u8]>, Known>,
    /// The same keys, those looked at longest ago first.
    order: VecDeque<Arc<[u8]>>,
    evicted: u64,
}

#[derive(Debug)]
struct Known {
    /// `None` outside of units and containers.
    workload: Option<Arc<WorkloadRecord>>,
    /// The folder and its inode, if this host shows it.
    folder: Option<(PathBuf, u64)>,
    learnt: Timestamp,
    /// After so many nanoseconds the runtime may know more; `None` if it will not.
    ask_after: Option<u64>,
    /// Asked for since it was looked at last.
    used: bool,
}

impl Workloads {
    pub(super) fn new(roots: &Roots) -> Workloads {
        Workloads {
            hierarchies: roots.hierarchies.clone(),
            administrator: roots.administrator,
            states: States::new(roots.host.clone()),
            known: HashMap::new(),
            order: VecDeque::new(),
            evicted: 0,
        }
    }

    /// The workload of processes of which `/proc/PID/cgroup` says `text`.
    pub(super) fn of(
        &mut self,
        text: &[u8],
        at: Timestamp,
        users: &mut UserNames,
    ) -> Option<Arc<WorkloadRecord>> {
        if let Some(known) = self.known.get_mut(text)
            && known.ask_after.is_none_or(|wait| at.since(known.learnt) < wait)
            && known.folder.as_ref().is_none_or(|(path, inode)| self::inode(path) == Some(*inode))
        {
            known.used = true;
            return known.workload.clone();
        }
        let paths = CgroupPaths::parse(text);
        let (line, workload, ask_after) = self.look(&paths, at, users);
        // An id may stand for the name of a user that is still to come.
        let ask_after = ask_after.or_else(|| users.is_awaiting().then_some(ASK_AGAIN));
        let folder = line
            .and_then(|line| self.hierarchies.folder(&line.controllers, &line.path))
            .and_then(|path| inode(&path).map(|inode| (path, inode)));
        let workload = workload.map(Arc::new);
        let known = Known { workload: workload.clone(), folder, learnt: at, ask_after, used: false };
        self.remember(text.into(), known);
        workload
    }

    /// Forgets cgroups of which the folder is gone, or another one. Bounded work.
    pub(super) fn sweep(&mut self) {
        for _ in 0..MAX_CHECKS_PER_SWEEP.min(self.order.len()) {
            let Some(key) = self.order.pop_front() else { return };
            let is_there = |known: &Known| {
                known.folder.as_ref().is_none_or(|(path, inode)| self::inode(path) == Some(*inode))
            };
            if self.known.get(&key).is_some_and(is_there) {
                self.order.push_back(key);
            } else {
                self.known.remove(&key);
            }
        }
    }

    pub(super) fn size(&self) -> TableSize {
        TableSize { entries: self.known.len(), bound: MAX_CGROUPS, evicted: self.evicted, refused: 0 }
    }

    /// Files and folders of runtimes that were opened so far.
    pub(super) fn reads(&self) -> u64 {
        self.states.reads()
    }

    fn remember(&mut self, key: Arc<[u8]>, known: Known) {
        if self.known.insert(Arc::clone(&key), known).is_some() {
            return;
        }
        // What was asked for since it came to the front gets another turn; after as many turns as entries nothing is left of that.
        while self.known.len() > MAX_CGROUPS {
            let Some(oldest) = self.order.pop_front() else { break };
            let used = self.known.get_mut(&oldest).is_some_and(|known| std::mem::take(&mut known.used));
            if used {
                self.order.push_back(oldest);
            } else {
                self.known.remove(&oldest);
                self.evicted += 1;
            }
        }
        self.order.push_back(key);
    }

    /// The line that decides, the workload, and after how many nanoseconds its runtime may know more.
    fn look<'a>(
        &mut self,
        paths: &'a CgroupPaths,
        at: Timestamp,
        users: &mut UserNames,
    ) -> (Option<&'a CgroupPath>, Option<WorkloadRecord>, Option<u64>) {
        let unit_line = paths.of_systemd().find(|line| placement::unit(&line.path).name.is_some());
        let unit = unit_line.map(|line| placement::unit(&line.path)).unwrap_or_default();
        let (mut doubtful, mut is_new) = (None, false);
        for line in paths.all() {
            for claim in placement::claims(&line.path) {
                match self.weigh(line, &claim) {
                    Belief::Container(container) => {
                        let is_cured = container.unknown.is_some_and(WorkloadUnknown::is_cured_by_time);
                        let record = container.record(&claim, unit, |uid| user_name(users, uid, at));
                        return (Some(line), Some(record), is_cured.then_some(ASK_AGAIN));
                    }
                    // What lies deeper was made by the same user, or by whom he let in.
                    Belief::Doubt => {
                        doubtful = doubtful.or(Some(WorkloadUnknown::ContainerNotConfirmed));
                        break;
                    }
                    Belief::NotYet => is_new = true,
                    Belief::None => {}
                }
            }
        }
        let workload = unit.name.map(|name| {
            let manager = unit.manager.map(|uid| user_name(users, uid, at));
            WorkloadRecord {
                kind: "systemd".into(),
                // A user can call his unit like one of the system's.
                name: manager.as_ref().map_or_else(|| name.to_owned(), |user| format!("{user}/{name}")),
                unit: Some(name.to_owned()),
                slice: unit.slice.map(str::to_owned),
                unit_user: manager,
                unknown: doubtful.map(|unknown| unknown.as_str().into()),
                ..WorkloadRecord::default()
            }
        });
        let ask_after = if is_new { Some(0) } else { doubtful.map(|_| ASK_AGAIN) };
        (unit_line.or_else(|| paths.unified()), workload, ask_after)
    }

    fn weigh(&mut self, line: &CgroupPath, claim: &Claim<'_>) -> Belief {
        match self.maker(line, claim) {
            Maker::Administrator => self.weigh_trusted(claim),
            Maker::User(uid) => match (self.states.is_rootless(claim, uid), claim.form) {
                (Some(beneath), form) => {
                    let runtime = if let Form::Certain(runtime) = form { runtime } else { beneath };
                    Belief::Container(Container {
                        names: Names { runtime: Some(runtime), ..Names::default() },
                        user: Some(uid),
                        unknown: Some(WorkloadUnknown::Rootless),
                    })
                }
                (None, Form::Certain(_)) => Belief::Doubt,
                (None, _) => Belief::None,
            },
            Maker::Unknown => {
                if let Form::Certain(_) = claim.form {
                    Belief::Doubt
                } else {
                    Belief::None
                }
            }
        }
    }

    fn weigh_trusted(&mut self, claim: &Claim<'_>) -> Belief {
        let (mut names, mut unknown) = match self.states.names(claim) {
            Found::Yes(names) => (names, None),
            Found::No => (Names::default(), Some(WorkloadUnknown::StateNotFound)),
            Found::Unreadable => (Names::default(), Some(WorkloadUnknown::StateUnreadable)),
        };
        let certain = match claim.form {
            Form::Certain(runtime) => Some(runtime),
            Form::Digest | Form::Name => None,
        };
        // A bare name that no runtime knows is a folder.
        if unknown.is_some() && certain.is_none() && claim.pod_uid.is_none() {
            return Belief::NotYet;
        }
        names.runtime = certain.or(names.runtime);
        if let Some(uid) = &claim.pod_uid {
            unknown = unknown.or_else(|| self.check_pod(&mut names, uid));
            if names.pod.is_none() && names.name.is_none() {
                unknown = unknown.or(Some(WorkloadUnknown::StateUnreadable));
                names.pod = self.states.logged(uid, claim.id);
                let whole = names.pod.as_ref().is_some_and(|pod| pod.container.is_some());
                if whole && unknown != Some(WorkloadUnknown::StateContradicts) {
                    unknown = None;
                }
            }
        } else if names.pod.as_ref().is_some_and(|_| names.runtime == Some(Runtime::Docker)) {
            // Labels of Docker are given by whoever starts the container; only the kubelet puts one into a pod's cgroup.
            names.pod = None;
        }
        if unknown.is_none() && names.pod.as_ref().is_some_and(|pod| pod.service_account.is_none()) {
            unknown = Some(WorkloadUnknown::ServiceAccountNotTold);
        }
        Belief::Container(Container { names, user: None, unknown })
    }

    /// The runtime must name the pod in whose cgroup the container is.
    fn check_pod(&self, names: &mut Names, uid: &str) -> Option<WorkloadUnknown> {
        let told = names.pod.as_ref()?.uid.as_deref()?;
        if told == uid {
            return None;
        }
        names.pod = None;
        Some(WorkloadUnknown::StateContradicts)
    }

    /// Who can have made the folder of a claim: whoever owns the folder above it.
    fn maker(&self, line: &CgroupPath, claim: &Claim<'_>) -> Maker {
        let mut above = claim.path;
        let mut is_direct = true;
        while let Some(end) = above.rfind('/') {
            above = &above[..end];
            let folder = self.hierarchies.folder(&line.controllers, above);
            match folder.and_then(|path| std::fs::symlink_metadata(path).ok()) {
                Some(folder) if folder.uid() != self.administrator => return Maker::User(folder.uid()),
                Some(folder) if folder.mode() & WRITABLE_BY_OTHERS != 0 => return Maker::Unknown,
                Some(_) if is_direct => return Maker::Administrator,
                Some(_) => break,
                // Gone by now: whoever made it could do so in what is left.
                None => is_direct = false,
            }
        }
        // Slices and the first level are the administrator's; what was in a unit may be anybody's.
        if claim.below_unit { Maker::Unknown } else { Maker::Administrator }
    }
}

/// What becomes of a claim.
enum Belief {
    Container(Container),
    /// It is not believed, and that is worth saying.
    Doubt,
    /// It is no container so far. Runtimes make the folder first, then write down whose it is, and only then start the container's
    /// program: the next program that is met there asks again.
    NotYet,
    /// It is no container.
    None,
}

enum Maker {
    Administrator,
    User(u32),
    Unknown,
}

struct Container {
    names: Names,
    /// Whose it is, where it is not the administrator's.
    user: Option<u32>,
    unknown: Option<WorkloadUnknown>,
}

impl Container {
    fn record(
        self,
        claim: &Claim<'_>,
        unit: Unit<'_>,
        mut user_name: impl FnMut(u32) -> String,
    ) -> WorkloadRecord {
        let Names { runtime, name, image, pod } = self.names;
        let short = claim.id.get(..SHORT_ID).filter(|_| placement::is_digest(claim.id)).unwrap_or(claim.id);
        let owner = self.user.map(&mut user_name);
        let record = WorkloadRecord {
            image,
            unit: unit.name.map(str::to_owned),
            unit_user: owner.clone().or_else(|| unit.manager.map(user_name)),
            slice: unit.slice.map(str::to_owned),
            runtime: runtime.map(|runtime| Text::from(runtime.as_str())),
            container_id: Some(claim.id.to_owned()),
            unknown: self.unknown.map(|unknown| unknown.as_str().into()),
            ..WorkloadRecord::default()
        };
        // A container that its runtime knows by a name of its own is no pod's, whatever cgroup it was put into.
        let pod_uid = if self.user.is_none() && name.is_none() { claim.pod_uid.clone() } else { None };
        match (pod, pod_uid) {
            (Some(Pod { namespace, name, uid, container, service_account }), pod_uid) => WorkloadRecord {
                kind: "kubernetes".into(),
                name: format!("{namespace}/{name}"),
                namespace: Some(namespace),
                pod: Some(name),
                pod_uid: pod_uid.or(uid),
                container,
                service_account,
                ..record
            },
            (None, Some(uid)) => {
                WorkloadRecord { kind: "kubernetes".into(), name: uid.clone(), pod_uid: Some(uid), ..record }
            }
            (None, None) => {
                let name = name.unwrap_or_else(|| short.to_owned());
                WorkloadRecord {
                    kind: "container".into(),
                    name: owner.map_or_else(|| name.clone(), |user| format!("{user}/{name}")),
                    container: Some(name),
                    ..record
                }
            }
        }
    }
}

fn user_name(users: &mut UserNames, uid: u32, at: Timestamp) -> String {
    users.name(uid, at).unwrap_or_else(|| uid.to_string())
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|folder| folder.ino())
}
