//! Ownership: a workload or an identity → whose it is, what it is for, and in which environment.
//!
//! Enters: what the operator wrote, once; then workloads of this host, and identities that certificates name. Leaves: labels,
//! the first that mean it, or none. Refuses: reading files (`config` does), and guessing: where a name that is not known decides,
//! nobody owns it.

use std::sync::Arc;

use crate::record::{LabelsRecord, WorkloadRecord};
use crate::verdict::{Meant, Selector, matches};

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    /// Workloads of this host.
    Workload(Selector),
    /// Identities, by a pattern: see [`matches`], with `/` parting it.
    Identity(String),
}

/// Whose something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRule {
    /// What.
    pub owned: Owned,
    /// Whose.
    pub labels: Arc<LabelsRecord>,
}

/// Longest identity that is looked up, in bytes: as long as the longest SPIFFE ID. Subjects can be much longer.
pub const MAX_IDENTITY_BYTES: usize = crate::certificate::MAX_SPIFFE_ID;

/// All rules, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners {
    workloads: Vec<(Selector, Arc<LabelsRecord>)>,
    identities: Vec<IdentityRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct IdentityRule {
    pattern: String,
    lower_case: String,
    labels: Arc<LabelsRecord>,
}

impl Owners {
    /// The rules as they are.
    pub fn new(rules: Vec<OwnerRule>) -> Self {
        let mut owners = Owners::default();
        for OwnerRule { owned, labels } in rules {
            match owned {
                Owned::Workload(selector) => owners.workloads.push((selector, labels)),
                Owned::Identity(pattern) => {
                    let lower_case = pattern.to_lowercase();
                    owners.identities.push(IdentityRule { pattern, lower_case, labels });
                }
            }
        }
        owners
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.workloads.len() + self.identities.len()
    }

    /// Whether nothing is said of anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whose a workload of this host is: the first rule for workloads that means it. None if that rule may mean it.
    pub fn of_workload(&self, workload: &WorkloadRecord) -> Option<&Arc<LabelsRecord>> {
        let mut answers = self.workloads.iter().map(|(selector, labels)| (selector.means(workload), labels));
        let (meant, labels) = answers.find(|(meant, _)| *meant != Meant::No)?;
        (meant == Meant::Yes).then_some(labels)
    }

    /// Whose an identity is: the first rule for identities that means it. SPIFFE IDs are compared letter by letter, host names and
    /// subjects without regard to case. None beyond [`MAX_IDENTITY_BYTES`]: certificates come from anybody, and each is looked up.
    pub fn of_identity(&self, identity: &str) -> Option<&Arc<LabelsRecord>> {
        if self.identities.is_empty() || identity.len() > MAX_IDENTITY_BYTES {
            return None;
        }
        let rule = if identity.starts_with("spiffe://") {
            self.identities.iter().find(|rule| matches(&rule.pattern, identity, '/'))
        } else {
            let identity = identity.to_lowercase();
            self.identities.iter().find(|rule| matches(&rule.lower_case, &identity, '/'))
        };
        rule.map(|rule| &rule.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(owned: Owned, owner: &str) -> OwnerRule {
        let labels = LabelsRecord { owner: Some(owner.to_owned()), ..LabelsRecord::default() };
        OwnerRule { owned, labels: Arc::new(labels) }
    }

    fn workload(selector: &str, owner: &str) -> OwnerRule {
        rule(Owned::Workload(Selector::of_workloads(selector).unwrap()), owner)
    }

    fn identity(pattern: &str, owner: &str) -> OwnerRule {
        rule(Owned::Identity(pattern.to_owned()), owner)
    }

    fn owner(labels: Option<&Arc<LabelsRecord>>) -> Option<&str> {
        labels?.owner.as_deref()
    }

    #[test]
    fn the_first_rule_that_means_a_workload_names_its_owner() {
        let owners = Owners::new(vec![
            identity("*", "nobody"),
            workload("unit:web.service", "web"),
            workload("service_account:shop/web", "shop"),
            workload("unit:*.service", "platform"),
            workload("namespace:*", "cluster"),
        ]);
        let unit = |name: &str| WorkloadRecord { unit: Some(name.to_owned()), ..WorkloadRecord::default() };
        assert_eq!(owner(owners.of_workload(&unit("web.service"))), Some("web"));
        assert_eq!(owner(owners.of_workload(&unit("db.service"))), Some("platform"));
        assert_eq!(owner(owners.of_workload(&unit("db.scope"))), None);
        let mut pod = WorkloadRecord {
            kind: "kubernetes".into(),
            namespace: Some("shop".to_owned()),
            service_account: Some("admin".to_owned()),
            ..WorkloadRecord::default()
        };
        assert_eq!(owner(owners.of_workload(&pod)), Some("cluster"));
        // It may be the one of `shop`, so that `cluster` would be a guess.
        pod.service_account = None;
        assert_eq!(owner(owners.of_workload(&pod)), None);
    }

    #[test]
    fn the_first_rule_that_means_an_identity_names_its_owner() {
        let owners = Owners::new(vec![
            workload("any", "host"),
            identity("spiffe://prod/ns/shop/*/*", "shop"),
            identity("*.Shop.example", "shop-web"),
            identity("CN=*", "legacy"),
        ]);
        for (name, expected) in [
            ("spiffe://prod/ns/shop/sa/web", Some("shop")),
            ("spiffe://prod/ns/shop/sa/web/x", None),
            ("spiffe://prod/ns/SHOP/sa/web", None),
            ("WWW.shop.example", Some("shop-web")),
            ("shop.example", None),
            ("CN=db,O=x\\0a\\1b", Some("legacy")),
            ("", None),
        ] {
            assert_eq!(owner(owners.of_identity(name)), expected, "{name}");
        }
    }

    #[test]
    fn an_identity_that_is_too_long_has_no_owner() {
        let owners = Owners::new(vec![identity("*", "all")]);
        assert_eq!(owner(owners.of_identity(&"x".repeat(MAX_IDENTITY_BYTES))), Some("all"));
        assert_eq!(owner(owners.of_identity(&"x".repeat(MAX_IDENTITY_BYTES + 1))), None);
    }

    #[test]
    #[ignore = "a measurement"]
    fn cost_of_an_identity() {
        let rules = (0..4096).map(|number| identity(&format!("*.Team-{number}.example"), "team")).collect();
        let owners = Owners::new(rules);
        for name in [format!("{}.example", "x".repeat(2000)), "spiffe://prod/ns/shop/sa/web".to_owned()] {
            let started = std::time::Instant::now();
            (0..100).for_each(|_| assert_eq!(owners.of_identity(&name), None));
            println!("{:?} for {} bytes", started.elapsed() / 100, name.len());
        }
    }
}
