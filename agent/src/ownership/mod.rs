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

/// All rules, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners {
    rules: Vec<OwnerRule>,
}

impl Owners {
    /// The rules as they are.
    pub fn new(rules: Vec<OwnerRule>) -> Self {
        Owners { rules }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether nothing is said of anything.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whose a workload of this host is: the first rule for workloads that means it. None if that rule may mean it.
    pub fn of_workload(&self, workload: &WorkloadRecord) -> Option<&Arc<LabelsRecord>> {
        let meant = |rule: &&OwnerRule| match &rule.owned {
            Owned::Workload(selector) => selector.means(workload) != Meant::No,
            Owned::Identity(_) => false,
        };
        let rule = self.rules.iter().find(meant)?;
        let is_sure =
            matches!(&rule.owned, Owned::Workload(selector) if selector.means(workload) == Meant::Yes);
        is_sure.then_some(&rule.labels)
    }

    /// Whose an identity is: the first rule for identities that means it. Host names are compared without regard to case.
    pub fn of_identity(&self, identity: &str) -> Option<&Arc<LabelsRecord>> {
        let means = |pattern: &str| match identity.contains("://") {
            true => matches(pattern, identity, '/'),
            false => matches(&pattern.to_lowercase(), &identity.to_lowercase(), '/'),
        };
        let meant = |rule: &&OwnerRule| matches!(&rule.owned, Owned::Identity(pattern) if means(pattern));
        self.rules.iter().find(meant).map(|rule| &rule.labels)
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
        assert_eq!(owner(owners.of_identity(&"*".repeat(4096))), None);
    }
}
