//! Until when the certificates are valid that workloads present now.

use std::borrow::Cow;

use super::presented::Presented;
use super::{Book, Workloads};
use crate::record::{PresentedRecord, SideName, WallTime};

/// Workloads count that were seen within so long (a day), in nanoseconds: pods come and go, and leave certificates behind that end.
const RECENT: i64 = 24 * 3600 * 1_000_000_000;
/// Certificates of one name in one role are in use beside each other (RSA beside ECDSA, processes with different ones) if they were presented within so long
/// (an hour), in nanoseconds, or within a tenth of their life; else the later has replaced the earlier.
const BESIDE: i64 = 3600 * 1_000_000_000;
/// Digits of its fingerprint that stand for a certificate without a name.
const FINGERPRINT_DIGITS: usize = 16;

/// Certificates of which the least of their life is left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expiring {
    /// The least first.
    pub certificates: Vec<ExpiringCertificate>,
    /// Further ones.
    pub left_out: usize,
}

/// The certificate that a workload presents under a name; of several, the one that ends first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringCertificate {
    /// See [`crate::record::WorkloadRecord::key`].
    pub workload: String,
    /// In which role it is presented.
    pub role: SideName,
    /// As connections name it, else the begin of its fingerprint behind `sha256:`.
    pub identity: String,
    /// Begin of its validity.
    pub not_before: WallTime,
    /// End of it.
    pub not_after: WallTime,
}

/// One of them, while nothing is copied.
struct Candidate<'a> {
    /// Part of its life that is left; negative once it is over.
    left: f64,
    workload: &'a str,
    role: SideName,
    identity: Cow<'a, str>,
    not_before: WallTime,
    not_after: WallTime,
}

impl Workloads {
    /// The certificates that workloads present now of which the smallest part of their life is left, at most `most`: so certificates that
    /// are renewed each hour do not hide one that is renewed each year.
    pub fn expiring(&self, most: usize, now: WallTime) -> Expiring {
        let book = self.lock();
        let mut all: Vec<Candidate<'_>> = book.candidates(now).collect();
        all.sort_by(|one, other| {
            let names = |one: &Candidate<'_>| (one.workload.to_owned(), one.role, one.identity.to_string());
            one.left.total_cmp(&other.left).then_with(|| names(one).cmp(&names(other)))
        });
        let left_out = all.len().saturating_sub(most);
        all.truncate(most);
        Expiring { certificates: all.into_iter().map(Candidate::own).collect(), left_out }
    }
}

impl Book {
    fn candidates(&self, now: WallTime) -> impl Iterator<Item = Candidate<'_>> {
        let recent = self.ids.iter().filter_map(move |(key, id)| {
            let held = self.entries.get(id)?;
            (held.unseen_since >= now.0.saturating_sub(RECENT)).then_some((key.as_str(), held))
        });
        recent.flat_map(move |(workload, held)| {
            SideName::ALL.iter().flat_map(move |role| held.entry.presented().ending(workload, *role, now))
        })
    }
}

impl Presented {
    /// For each name in a role the certificate in use that ends first.
    fn ending<'a>(
        &'a self,
        workload: &'a str,
        role: SideName,
        now: WallTime,
    ) -> impl Iterator<Item = Candidate<'a>> {
        let in_role = move || self.leaves().filter(move |leaf| in_role(leaf, role));
        let same_name = move |name: Option<&'a String>, sha256: &'a str| {
            in_role().filter(move |other| match name {
                Some(_) => other.identity.as_ref() == name,
                None => other.sha256 == sha256,
            })
        };
        in_role().filter_map(move |leaf| {
            let (not_before, not_after) = leaf.not_before.zip(leaf.not_after)?;
            let same_name = || same_name(leaf.identity.as_ref(), &leaf.sha256);
            let newest = same_name().map(|other| other.last_seen).max()?;
            let is_first = |other: &PresentedRecord| {
                !in_use(other, newest) || (leaf.not_after, &leaf.sha256) <= (other.not_after, &other.sha256)
            };
            if !in_use(leaf, newest) || !same_name().all(is_first) {
                return None;
            }
            let life = not_after.0.saturating_sub(not_before.0).max(1);
            let left = not_after.0.saturating_sub(now.0) as f64 / life as f64;
            let identity = match &leaf.identity {
                Some(identity) => Cow::Borrowed(identity.as_str()),
                None => {
                    let digits = leaf.sha256.get(..FINGERPRINT_DIGITS).unwrap_or(&leaf.sha256);
                    format!("sha256:{digits}").into()
                }
            };
            Some(Candidate { left, workload, role, identity, not_before, not_after })
        })
    }
}

fn in_role(leaf: &PresentedRecord, role: SideName) -> bool {
    match role {
        SideName::Client => leaf.client > 0,
        SideName::Server => leaf.server > 0,
    }
}

/// Whether it was presented not long before the newest of its name, and says until when it is valid.
fn in_use(leaf: &PresentedRecord, newest: WallTime) -> bool {
    let Some((not_before, not_after)) = leaf.not_before.zip(leaf.not_after) else { return false };
    let life = not_after.0.saturating_sub(not_before.0);
    newest.0.saturating_sub(leaf.last_seen.0) <= BESIDE.min(life / 10)
}

impl Candidate<'_> {
    fn own(self) -> ExpiringCertificate {
        ExpiringCertificate {
            workload: self.workload.to_owned(),
            role: self.role,
            identity: self.identity.into_owned(),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Leaves;
    use super::*;
    use crate::record::{Authentication, CertificateRecord, WorkloadRecord, sample};

    const HOUR: i64 = 3600 * 1_000_000_000;
    const NOW: WallTime = WallTime(1000 * HOUR);

    /// A workload presents a certificate of a name that ends so many hours after now, at so many hours before now.
    fn present(book: &Workloads, workload: &str, name: Option<&str>, (life, left): (i64, i64), ago: i64) {
        let leaf = CertificateRecord {
            sha256: format!("{:064x}", (life + 7) * 10_000 + left),
            not_before: Some(WallTime(NOW.0 + (left - life) * HOUR)),
            not_after: Some(WallTime(NOW.0 + left * HOUR)),
            ..CertificateRecord::default()
        };
        let mut connection = sample::connection(1);
        connection.r#final = true;
        connection.observed_from = vec![SideName::Client];
        connection.authentication = Authentication::Mutual;
        connection.client.workload = Some(sample::unit(workload).into());
        connection.client.certificates = vec![leaf.sha256.clone()];
        connection.client.identity = name.map(str::to_owned);
        let leaves = Leaves { client: Some(&leaf), server: None };
        book.note(&connection, leaves, WallTime(NOW.0 - ago * HOUR), &mut Default::default());
    }

    fn told(book: &Workloads, most: usize) -> Vec<(String, i64)> {
        let expiring = book.expiring(most, NOW);
        let hours = |certificate: &ExpiringCertificate| (certificate.not_after.0 - NOW.0) / HOUR;
        expiring
            .certificates
            .iter()
            .map(|certificate| {
                (format!("{} {}", certificate.workload, certificate.identity), hours(certificate))
            })
            .collect()
    }

    fn line(workload: &str, name: &str, hours: i64) -> (String, i64) {
        let key = WorkloadRecord { ..sample::unit(workload) }.key();
        (format!("{key} {name}"), hours)
    }

    #[test]
    fn the_least_of_a_life_comes_first_and_what_has_no_room_is_counted() {
        let book = Workloads::new(None);
        present(&book, "hourly", Some("a"), (2, 1), 0);
        present(&book, "yearly", Some("b"), (8760, 240), 0);
        present(&book, "over", Some("c"), (100, -1), 0);
        present(&book, "new", Some("d"), (100, 99), 0);
        let all =
            [line("over", "c", -1), line("yearly", "b", 240), line("hourly", "a", 1), line("new", "d", 99)];
        assert_eq!(told(&book, 9), all);
        assert_eq!(told(&book, 2), all[..2]);
        assert_eq!((book.expiring(2, NOW).left_out, book.expiring(9, NOW).left_out), (2, 0));
    }

    #[test]
    fn a_certificate_that_was_replaced_does_not_count_and_one_beside_it_does() {
        let book = Workloads::new(None);
        present(&book, "a", Some("replaced"), (2000, 10), 3);
        present(&book, "a", Some("replaced"), (2000, 1500), 0);
        present(&book, "a", Some("beside"), (2000, 20), 1);
        present(&book, "a", Some("beside"), (2000, 1500), 0);
        // Renewed each half of two hours: what was shown an hour ago is over by now.
        present(&book, "a", Some("short"), (2, 0), 1);
        present(&book, "a", Some("short"), (2, 1), 0);
        let all = [line("a", "beside", 20), line("a", "short", 1), line("a", "replaced", 1500)];
        assert_eq!(told(&book, 9), all);
    }

    #[test]
    fn a_workload_that_has_gone_does_not_count() {
        let book = Workloads::new(None);
        present(&book, "gone", Some("a"), (100, 1), 25);
        present(&book, "here", Some("b"), (100, 50), 23);
        assert_eq!(told(&book, 9), [line("here", "b", 50)]);
    }

    #[test]
    fn a_certificate_without_a_name_has_its_fingerprint() {
        let book = Workloads::new(None);
        present(&book, "a", None, (100, 1), 0);
        present(&book, "a", None, (100, 2), 0);
        let told = told(&book, 9);
        assert_eq!(told.len(), 2);
        assert!(told[0].0.contains(" sha256:0000"), "{told:?}");
    }
}
