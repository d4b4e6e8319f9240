//! Whether a certificate is one that a workload may present.

use std::sync::Arc;

use super::identity::PresentedName;
use super::template::{Template, Unfilled};
use super::{Meant, Selector};
use crate::record::{CertificateRecord, IdentityFitName, IdentityFitRecord, Text, WorkloadRecord};

/// Which identities workloads may present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitRule {
    /// Which workloads.
    pub workload: Selector,
    /// As it is named in records: the selector.
    pub name: Arc<str>,
    /// Which identities.
    pub may_present: Vec<Template>,
}

impl FitRule {
    /// A rule, named by its selector.
    pub fn new(workload: Selector, may_present: Vec<Template>) -> Self {
        FitRule { name: workload.to_string().into(), workload, may_present }
    }

    fn answer(
        &self,
        status: IdentityFitName,
        expected: Vec<String>,
        reason: Option<Text>,
    ) -> IdentityFitRecord {
        IdentityFitRecord { status, rule: Some(Arc::clone(&self.name)), expected, reason }
    }

    /// What a certificate names beyond what the workload may present.
    pub(super) fn beyond<'a>(&self, workload: &WorkloadRecord, leaf: &'a CertificateRecord) -> Vec<&'a str> {
        let (filled, _) = self.fill(workload);
        let names = PresentedName::of(leaf).into_iter();
        names.filter(|name| !may(&filled, name)).map(|name| name.as_str()).collect()
    }

    fn fill(&self, workload: &WorkloadRecord) -> (Vec<(&Template, String)>, Option<Unfilled>) {
        let mut filled = Vec::new();
        let mut unfilled = None;
        for template in &self.may_present {
            match template.fill(workload) {
                Ok(identity) => filled.push((template, identity)),
                Err(why) => unfilled = unfilled.or(Some(why)),
            }
        }
        (filled, unfilled)
    }

    fn judge(&self, workload: &WorkloadRecord, leaf: &CertificateRecord) -> IdentityFitRecord {
        let (filled, unfilled) = self.fill(workload);
        let names = PresentedName::of(leaf);
        let all_may = !names.is_empty() && names.iter().all(|name| may(&filled, name));
        let expected = filled.into_iter().map(|(_, identity)| identity).collect();
        // What was not read may name others.
        let is_cut = leaf.parse_error.is_some() && (all_may || names.is_empty());
        let unknown = match unfilled {
            _ if is_cut => Some("certificate_not_read_in_full"),
            Some(why) if !all_may => Some(why.as_str()),
            _ => None,
        };
        let status = match (unknown, all_may) {
            (Some(_), _) => IdentityFitName::Unknown,
            (None, true) => IdentityFitName::Fits,
            (None, false) => IdentityFitName::DoesNotFit,
        };
        self.answer(status, expected, unknown.map(Text::from))
    }
}

fn may(filled: &[(&Template, String)], name: &PresentedName<'_>) -> bool {
    filled.iter().any(|(template, identity)| template.is(identity, name))
}

/// Whether the certificate `leaf` is one that the workload may present. The first rule that means the workload decides. All that
/// the certificate names must be among what the rule lets the workload present: its SPIFFE ID, else all its alternative names,
/// else its subject. Where a name of the workload decides and is not known, the answer is `unknown` and says why.
pub fn fit(
    workload: Option<&WorkloadRecord>,
    leaf: &CertificateRecord,
    rules: &[Arc<FitRule>],
) -> IdentityFitRecord {
    let no_rule =
        IdentityFitRecord { status: IdentityFitName::NoRule, rule: None, expected: Vec::new(), reason: None };
    if rules.is_empty() {
        return no_rule;
    }
    let Some(workload) = workload else {
        let reason = Some("workload_unknown".into());
        return IdentityFitRecord { status: IdentityFitName::Unknown, reason, ..no_rule };
    };
    for rule in rules {
        match rule.workload.means(workload) {
            Meant::No => {}
            Meant::Yes => return rule.judge(workload, leaf),
            Meant::Unknown => {
                let reason = Some("workload_names_missing".into());
                return rule.answer(IdentityFitName::Unknown, Vec::new(), reason);
            }
        }
    }
    no_rule
}

#[cfg(test)]
mod tests;
