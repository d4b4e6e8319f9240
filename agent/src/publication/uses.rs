//! Who presented which key: a certificate that several workloads show is one that somebody copied.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::record::{CertificateRecord, ConnectionRecord, EndpointRecord, WallTime, WorkloadRecord};
use crate::verdict::Sharing;

/// Keys remembered, each once for each workload and certificate: as many as certificates by default. The one that was not
/// presented for longest is forgotten first.
pub const MAX_KEYS: usize = 16_384;
/// Of them, those of one workload: a proxy serves some hundred names, and nobody pushes out what others presented.
const MAX_KEYS_OF_ONE: usize = 1024;
/// Workloads remembered for each key: that there are two is what counts.
const MAX_WORKLOADS: usize = 8;
/// How long a presentation counts, in nanoseconds (a day): services are renamed, and keys move with them.
const KEEP: i64 = 24 * 3600 * 1_000_000_000;
/// Bytes that are kept of each name of a workload; those of units have at most 255.
const MAX_NAME: usize = 256;

/// Bounded memory of presentations.
#[derive(Debug, Default)]
pub struct Uses {
    presentations: FxHashMap<u64, Presentation>,
    /// By SPKI fingerprint.
    of_keys: FxHashMap<Arc<str>, Vec<u64>>,
    /// By the time at which each was presented last. Hashed by chance: names are an adversary's to choose.
    of_presenters: HashMap<Arc<Presenter>, BTreeMap<u64, u64>>,
    order: BTreeMap<u64, u64>,
    /// Counts presentations.
    clock: u64,
    next_id: u64,
    evicted: u64,
}

/// What a connection said at one of its ends: the next revision takes it back, or repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use(u64);

/// What tells workloads apart that may have keys of their own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Presenter {
    group: String,
    /// Of a pod, where that is known.
    account: Option<String>,
}

impl Presenter {
    /// Whether it is certainly not the same: what is not known of one may be as with the other.
    fn is_other_than(&self, other: &Presenter) -> bool {
        let accounts_differ =
            self.account.is_some() && other.account.is_some() && self.account != other.account;
        self.group != other.group || accounts_differ
    }
}

/// A workload presented a key.
#[derive(Debug)]
struct Presentation {
    key: Arc<str>,
    presenter: Arc<Presenter>,
    name: String,
    certificate: String,
    last: WallTime,
    /// What the clock said then.
    used: u64,
    /// Connections that say so.
    connections: u64,
}

impl Uses {
    /// Notes that a workload presented a certificate, in place of what the connection said `before`. That it has the key is
    /// what its peer has checked, not this agent: signatures are not verified. What is not known well enough to be told from
    /// others is not noted.
    pub fn note(
        &mut self,
        leaf: &CertificateRecord,
        workload: &WorkloadRecord,
        now: WallTime,
        before: Option<Use>,
    ) -> Option<Use> {
        let noted = match (&leaf.spki_sha256, presenter(workload)) {
            (Some(key), Some(presenter)) => Some(self.present(key, presenter, leaf, workload, now)),
            _ => None,
        };
        if let (Some(Use(id)), true) = (noted, noted != before)
            && let Some(presentation) = self.presentations.get_mut(&id)
        {
            presentation.connections += 1;
        }
        if let Some(before) = before.filter(|_| noted != before) {
            self.take_back(before);
        }
        noted
    }

    /// The connection does not say so any more.
    pub fn take_back(&mut self, Use(id): Use) {
        // If it was forgotten there is nothing to take back.
        let Some(presentation) = self.presentations.get_mut(&id) else { return };
        presentation.connections = presentation.connections.saturating_sub(1);
        if presentation.connections == 0 {
            self.remove(id);
        }
    }

    fn present(
        &mut self,
        key: &str,
        presenter: Presenter,
        leaf: &CertificateRecord,
        workload: &WorkloadRecord,
        now: WallTime,
    ) -> Use {
        let known = self
            .of_key(key)
            .find(|(_, known)| *known.presenter == presenter && known.certificate == leaf.sha256);
        if let Some(id) = known.map(|(id, _)| id) {
            self.touch(id, now);
            return Use(id);
        }
        self.make_room(key, &presenter, now);
        let known = self.of_presenters.get_key_value(&presenter).map(|(known, _)| Arc::clone(known));
        let presenter = known.unwrap_or_else(|| Arc::new(presenter));
        let known = self.of_keys.get_key_value(key).map(|(known, _)| Arc::clone(known));
        let key: Arc<str> = known.unwrap_or_else(|| key.into());
        let (id, used) = (self.next_id, self.tick());
        self.next_id += 1;
        self.of_keys.entry(Arc::clone(&key)).or_default().push(id);
        self.of_presenters.entry(Arc::clone(&presenter)).or_default().insert(used, id);
        self.order.insert(used, id);
        let (name, certificate) = (bounded(workload.name.clone()), leaf.sha256.clone());
        let presentation =
            Presentation { key, presenter, name, certificate, last: now, used, connections: 0 };
        self.presentations.insert(id, presentation);
        Use(id)
    }

    fn of_key(&self, key: &str) -> impl Iterator<Item = (u64, &Presentation)> {
        let ids = self.of_keys.get(key).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.presentations.get(id)?)))
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn touch(&mut self, id: u64, now: WallTime) {
        let used = self.tick();
        let Some(known) = self.presentations.get_mut(&id) else { return };
        known.last = known.last.max(now);
        let before = std::mem::replace(&mut known.used, used);
        self.order.remove(&before);
        self.order.insert(used, id);
        if let Some(own) = self.of_presenters.get_mut(&known.presenter) {
            own.remove(&before);
            own.insert(used, id);
        }
    }

    /// For one more presentation of a key by a presenter.
    fn make_room(&mut self, key: &str, presenter: &Presenter, now: WallTime) {
        let over: Vec<u64> =
            self.of_key(key).filter(|(_, known)| !is_recent(known, now)).map(|(id, _)| id).collect();
        over.into_iter().for_each(|id| self.remove(id));
        if self.of_keys.get(key).is_some_and(|known| known.len() >= MAX_WORKLOADS) {
            let oldest = self.of_key(key).min_by_key(|(_, known)| known.used);
            self.evict(oldest.map(|(id, _)| id));
        }
        if let Some(own) = self.of_presenters.get(presenter).filter(|own| own.len() >= MAX_KEYS_OF_ONE) {
            self.evict(own.first_key_value().map(|(_, id)| *id));
        }
        if self.presentations.len() >= MAX_KEYS {
            self.evict(self.order.first_key_value().map(|(_, id)| *id));
        }
    }

    fn evict(&mut self, id: Option<u64>) {
        if let Some(id) = id {
            self.evicted += 1;
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(gone) = self.presentations.remove(&id) else { return };
        self.order.remove(&gone.used);
        if let Some(ids) = self.of_keys.get_mut(&gone.key) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.of_keys.remove(&gone.key);
            }
        }
        if let Some(own) = self.of_presenters.get_mut(&gone.presenter) {
            own.remove(&gone.used);
            if own.is_empty() {
                self.of_presenters.remove(&gone.presenter);
            }
        }
    }

    /// Which other workloads presented the same certificate or key lately.
    pub fn sharing(
        &self,
        leaf: &CertificateRecord,
        workload: &WorkloadRecord,
        now: WallTime,
    ) -> Option<Sharing> {
        let key = leaf.spki_sha256.as_deref()?;
        // Most keys have one presenter: nothing is compared for them.
        self.of_keys.get(key).filter(|known| known.len() > 1)?;
        let own = presenter(workload)?;
        let others = || {
            let all = self.of_key(key).map(|(_, known)| known);
            all.filter(|other| other.presenter.is_other_than(&own) && is_recent(other, now))
        };
        let same_certificate = others().any(|other| other.certificate == leaf.sha256);
        let mut names: Vec<String> = others().map(|other| other.name.clone()).collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(Sharing { others: names, same_certificate })
    }

    /// How many keys are remembered, each once for each workload and certificate.
    pub fn entries(&self) -> usize {
        self.presentations.len()
    }

    /// How many of them were forgotten for room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

fn bounded(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(MAX_NAME));
    name
}

fn is_recent(known: &Presentation, now: WallTime) -> bool {
    now.0.saturating_sub(known.last.0) <= KEEP
}

/// Whether both ends may be in one hand: who holds both can show what others showed, without having its key. Root needs no such
/// trick.
pub fn in_one_hand(connection: &ConnectionRecord) -> bool {
    let (client, server) = (&connection.client, &connection.server);
    let users = client.process.as_ref().zip(server.process.as_ref());
    let presenters = client.workload.as_deref().and_then(presenter);
    let presenters = presenters.zip(server.workload.as_deref().and_then(presenter));
    let apart = is_isolated(client) && is_isolated(server);
    (!apart && users.is_some_and(|(one, other)| one.uid == other.uid && one.uid != 0))
        || presenters.is_some_and(|(one, other)| !one.is_other_than(&other))
}

/// Whether it is in a container of the host's: whoever has the same user id in another one does not reach it.
fn is_isolated(end: &EndpointRecord) -> bool {
    let of_host = |workload: &WorkloadRecord| {
        matches!(&*workload.kind, "kubernetes" | "container") && workload.unit_user.is_none()
    };
    end.workload.as_deref().is_some_and(of_host)
}

/// What tells a workload from others; `None` if that is not known. Programs outside of units and containers are parts of something that
/// is not known. Pods are told by their namespace and, where it is known, their service account: the others may be replicas of each other.
/// All sessions of a user are one, and so are all units of his manager. Names that are thrown away after one use tell nothing.
fn presenter(workload: &WorkloadRecord) -> Option<Presenter> {
    let alone = |group: String| Some(Presenter { group: bounded(group), account: None });
    match &*workload.kind {
        "kubernetes" => Some(Presenter {
            group: bounded(["namespace:", workload.namespace.as_ref()?].concat()),
            account: workload.service_account.clone().map(bounded),
        }),
        "container" if workload.unknown.is_none() => alone(container(workload)?),
        "systemd" => match (&workload.unit_user, &workload.unit, &workload.slice) {
            (Some(user), ..) => alone(["user:", user].concat()),
            (None, Some(unit), slice) if unit.starts_with("session-") && unit.ends_with(".scope") => {
                alone(["slice:", slice.as_ref()?].concat())
            }
            (None, Some(unit), _) if is_transient(unit) => None,
            (None, Some(unit), _) => alone(["unit:", &template(unit)].concat()),
            _ => alone(workload.key()),
        },
        _ => None,
    }
}

/// Containers of one image, of any version, may be replicas: `docker run` makes a name up for each. Where the image is not known the name
/// tells, unless that is an id.
fn container(workload: &WorkloadRecord) -> Option<String> {
    if let Some(image) = &workload.image {
        let user = workload.unit_user.as_deref().unwrap_or_default();
        return Some(["image:", user, ":", repository(image)].concat());
    }
    let name = workload.container.as_deref()?;
    let is_id = workload.container_id.as_ref().is_some_and(|id| id.starts_with(name));
    (!is_id).then(|| workload.key())
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    match image.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}

/// Whether systemd-run made the name of a unit up: `run-u12.service`, `run-r0af1.scope`, `run-p71-i99.service`, `run-71.scope`.
fn is_transient(unit: &str) -> bool {
    let name = unit.strip_suffix(".service").or_else(|| unit.strip_suffix(".scope"));
    let Some(name) = name.and_then(|name| name.strip_prefix("run-")) else { return false };
    let number = name.strip_prefix(['u', 'r', 'p']).unwrap_or(name);
    number.starts_with(|first: char| first.is_ascii_hexdigit())
        && number.contains(|one: char| one.is_ascii_digit())
        && number.chars().all(|one| one.is_ascii_hexdigit() || matches!(one, '-' | 'i'))
}

/// Instances of a template are one: `worker@1.service` is `worker@.service`.
fn template(unit: &str) -> String {
    match (unit.split_once('@'), unit.rsplit_once('.')) {
        (Some((template, _)), Some((_, kind))) => [template, "@.", kind].concat(),
        _ => unit.to_owned(),
    }
}

#[cfg(test)]
mod tests;
