//! Who presented which key: a certificate that several workloads show is one that somebody copied.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::record::{CertificateRecord, WallTime, WorkloadRecord};
use crate::verdict::Sharing;

/// Keys remembered: as many as certificates by default. The one met first is forgotten first.
pub const MAX_KEYS: usize = 16_384;
/// Workloads remembered for each key: that there are two is what counts.
const MAX_WORKLOADS: usize = 8;
/// How long a presentation counts, in nanoseconds (a day): services are renamed, and keys move with them.
const KEEP: i64 = 24 * 3600 * 1_000_000_000;
/// Bytes of a workload's name that are kept.
const MAX_NAME: usize = 256;

/// Bounded memory of presentations.
#[derive(Debug, Default)]
pub struct Uses {
    /// By SPKI fingerprint.
    known: FxHashMap<Arc<str>, Vec<Presentation>>,
    order: VecDeque<Arc<str>>,
    evicted: u64,
}

/// What tells workloads apart that may have keys of their own.
#[derive(Debug, PartialEq, Eq)]
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
    presenter: Presenter,
    name: String,
    certificate: String,
    last: WallTime,
}

impl Uses {
    /// Notes that a workload presented a certificate and proved that it has the key. What is not known well enough to be told from
    /// others is not noted.
    pub fn note(&mut self, leaf: &CertificateRecord, workload: &WorkloadRecord, now: WallTime) {
        let (Some(key), Some(presenter)) = (&leaf.spki_sha256, presenter(workload)) else { return };
        let presentations = match self.known.get_mut(key.as_str()) {
            Some(known) => known,
            None => {
                if self.order.len() >= MAX_KEYS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.known.remove(&oldest);
                    self.evicted += 1;
                }
                let key: Arc<str> = key.as_str().into();
                self.order.push_back(Arc::clone(&key));
                self.known.entry(key).or_default()
            }
        };
        let is_same =
            |known: &&mut Presentation| known.presenter == presenter && known.certificate == leaf.sha256;
        if let Some(known) = presentations.iter_mut().find(is_same) {
            known.last = known.last.max(now);
            return;
        }
        presentations.retain(|known| is_recent(known, now));
        if presentations.len() >= MAX_WORKLOADS {
            self.evicted += 1;
            presentations.remove(0);
        }
        let mut name = workload.name.clone();
        name.truncate(name.floor_char_boundary(MAX_NAME));
        presentations.push(Presentation { presenter, name, certificate: leaf.sha256.clone(), last: now });
    }

    /// Which other workloads presented the same certificate or key lately.
    pub fn sharing(
        &self,
        leaf: &CertificateRecord,
        workload: &WorkloadRecord,
        now: WallTime,
    ) -> Option<Sharing> {
        // Most keys have one presenter: nothing is compared for them.
        let known = self.known.get(leaf.spki_sha256.as_deref()?).filter(|known| known.len() > 1)?;
        let own = presenter(workload)?;
        let others =
            || known.iter().filter(|other| other.presenter.is_other_than(&own) && is_recent(other, now));
        let same_certificate = others().any(|other| other.certificate == leaf.sha256);
        let mut names: Vec<String> = others().map(|other| other.name.clone()).collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(Sharing { others: names, same_certificate })
    }

    /// How many keys are remembered.
    pub fn entries(&self) -> usize {
        self.known.len()
    }

    /// How many keys and workloads were forgotten for room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

fn is_recent(known: &Presentation, now: WallTime) -> bool {
    now.0.saturating_sub(known.last.0) <= KEEP
}

/// What tells a workload from others; `None` if that is not known. Programs outside of units and containers are parts of something that
/// is not known. Pods are told by their namespace and, where it is known, their service account: the others may be replicas of each other.
/// All sessions of a user are one, and so are all units of his manager.
fn presenter(workload: &WorkloadRecord) -> Option<Presenter> {
    let alone = |group: String| Some(Presenter { group, account: None });
    match &*workload.kind {
        "kubernetes" => Some(Presenter {
            group: ["namespace:", workload.namespace.as_ref()?].concat(),
            account: workload.service_account.clone(),
        }),
        "container" if workload.unknown.is_none() => alone(workload.key()),
        "systemd" => match (&workload.unit_user, &workload.unit, &workload.slice) {
            (Some(user), ..) => alone(["user:", user].concat()),
            (None, Some(unit), slice) if unit.starts_with("session-") && unit.ends_with(".scope") => {
                alone(["slice:", slice.as_ref()?].concat())
            }
            _ => alone(workload.key()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000_000_000);

    fn unit(name: &str) -> WorkloadRecord {
        WorkloadRecord {
            kind: "systemd".into(),
            name: name.to_owned(),
            unit: Some(name.to_owned()),
            ..WorkloadRecord::default()
        }
    }

    fn pod(name: &str, account: Option<&str>) -> WorkloadRecord {
        WorkloadRecord {
            kind: "kubernetes".into(),
            name: format!("shop/{name}"),
            namespace: Some("shop".to_owned()),
            service_account: account.map(str::to_owned),
            ..WorkloadRecord::default()
        }
    }

    fn leaf(certificate: &str, key: &str) -> CertificateRecord {
        CertificateRecord {
            sha256: certificate.to_owned(),
            spki_sha256: Some(key.to_owned()),
            ..CertificateRecord::default()
        }
    }

    fn sharing(one: &WorkloadRecord, other: &WorkloadRecord) -> Option<Sharing> {
        let mut uses = Uses::default();
        uses.note(&leaf("c", "k"), one, NOW);
        uses.note(&leaf("c", "k"), other, NOW);
        uses.sharing(&leaf("c", "k"), other, NOW)
    }

    #[test]
    fn a_certificate_or_key_of_two_workloads_is_shared() {
        let mut uses = Uses::default();
        uses.note(&leaf("c", "k"), &unit("web.service"), NOW);
        assert_eq!(uses.sharing(&leaf("c", "k"), &unit("web.service"), NOW), None);
        uses.note(&leaf("c", "k"), &unit("db.service"), NOW);
        let expected = |other: &str, same_certificate| {
            Some(Sharing { others: vec![other.to_owned()], same_certificate })
        };
        assert_eq!(uses.sharing(&leaf("c", "k"), &unit("web.service"), NOW), expected("db.service", true));
        assert_eq!(uses.sharing(&leaf("c", "k"), &unit("db.service"), NOW), expected("web.service", true));
        uses.note(&leaf("d", "l"), &unit("web.service"), NOW);
        uses.note(&leaf("e", "l"), &unit("db.service"), NOW);
        assert_eq!(uses.sharing(&leaf("e", "l"), &unit("db.service"), NOW), expected("web.service", false));
        // A renewed certificate with the old key is its owner's.
        uses.note(&leaf("f", "m"), &unit("web.service"), NOW);
        uses.note(&leaf("g", "m"), &unit("web.service"), NOW);
        assert_eq!(uses.sharing(&leaf("g", "m"), &unit("web.service"), NOW), None);
    }

    #[test]
    fn replicas_sessions_and_what_is_not_known_share_nothing() {
        let session = |number| WorkloadRecord {
            slice: Some("user-1000.slice".to_owned()),
            ..unit(&format!("session-{number}.scope"))
        };
        let of_user = |name: &str| WorkloadRecord { unit_user: Some("eve".to_owned()), ..unit(name) };
        let program = |path: &str| WorkloadRecord {
            kind: "executable".into(),
            name: path.to_owned(),
            ..WorkloadRecord::default()
        };
        assert_eq!(sharing(&pod("web-1", Some("web")), &pod("web-2", Some("web"))), None);
        assert_eq!(sharing(&pod("web-1", None), &pod("web-2", None)), None);
        assert_eq!(sharing(&pod("web-1", Some("web")), &pod("web-2", None)), None);
        assert_eq!(sharing(&session(3), &session(4)), None);
        assert_eq!(sharing(&of_user("a.service"), &of_user("b.service")), None);
        assert_eq!(sharing(&program("/usr/bin/python3"), &program("/usr/bin/openssl")), None);
        assert!(sharing(&pod("web-1", Some("web")), &pod("db-1", Some("db"))).is_some());
        let elsewhere = WorkloadRecord { namespace: Some("bank".to_owned()), ..pod("web-1", None) };
        assert!(sharing(&pod("web-1", None), &elsewhere).is_some());
        assert!(sharing(&pod("web-1", None), &unit("web.service")).is_some());
        let unnamed = WorkloadRecord { namespace: None, ..pod("web-1", None) };
        assert_eq!(sharing(&unnamed, &unit("web.service")), None);
        assert!(sharing(&unit("web.service"), &session(3)).is_some());
        assert!(sharing(&unit("web.service"), &of_user("web.service")).is_some());
    }

    #[test]
    fn a_presentation_counts_for_a_day() {
        let mut uses = Uses::default();
        uses.note(&leaf("c", "k"), &unit("old.service"), NOW);
        let later = WallTime(NOW.0 + KEEP + 1);
        uses.note(&leaf("c", "k"), &unit("new.service"), later);
        assert_eq!(uses.sharing(&leaf("c", "k"), &unit("new.service"), later), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_counted() {
        let mut uses = Uses::default();
        for number in 0..=MAX_KEYS {
            uses.note(&leaf("c", &number.to_string()), &unit("web.service"), NOW);
        }
        assert_eq!((uses.entries(), uses.evicted()), (MAX_KEYS, 1));
        for number in 0..=MAX_WORKLOADS {
            uses.note(&leaf("c", "5"), &unit(&format!("{number}{}.service", "x".repeat(4096))), NOW);
        }
        let sharing = uses.sharing(&leaf("c", "5"), &unit("web.service"), NOW).unwrap();
        assert!(
            sharing.others.len() <= MAX_WORKLOADS && sharing.others.iter().all(|name| name.len() <= MAX_NAME)
        );
        assert!(uses.evicted() > 1);
    }
}
