//! Whether a certificate is one that a workload may present.

use std::sync::Arc;

use super::identity::PresentedName;
use super::template::{Filled, Template, Unfilled};
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

    /// What a certificate names beyond what the workload may present: the first `most` of it.
    pub(super) fn beyond<'a>(
        &self,
        workload: &WorkloadRecord,
        leaf: &'a CertificateRecord,
        most: usize,
    ) -> Vec<&'a str> {
        let filled = self.fill(workload);
        let names = PresentedName::of(leaf).into_iter();
        names.filter(|name| may(&filled, name) == Ok(false)).map(|name| name.as_str()).take(most).collect()
    }

    fn fill(&self, workload: &WorkloadRecord) -> Vec<Filled<'_>> {
        self.may_present.iter().map(|template| template.fill(workload)).collect()
    }

    fn judge(&self, workload: &WorkloadRecord, leaf: &CertificateRecord) -> IdentityFitRecord {
        let filled = self.fill(workload);
        let names = PresentedName::of(leaf);
        let (mut is_beyond, mut unfilled) = (false, None);
        for name in &names {
            match may(&filled, name) {
                Ok(allowed) => is_beyond |= !allowed,
                Err(why) => unfilled = Some(why),
            }
        }
        let is_cut = PresentedName::are_cut(leaf);
        let (status, reason) = if is_beyond || (names.is_empty() && !is_cut) {
            (IdentityFitName::DoesNotFit, None)
        } else if let Some(why) = unfilled {
            (IdentityFitName::Unknown, Some(why.as_str()))
        } else if is_cut {
            // What was not read may name others.
            (IdentityFitName::Unknown, Some("certificate_not_read_in_full"))
        } else {
            (IdentityFitName::Fits, None)
        };
        let expected = filled.into_iter().map(|filled| filled.shown).collect();
        self.answer(status, expected, reason.map(Text::from))
    }
}

/// Whether a name is among what may be presented, or why that cannot be told: a place that could not be filled decides.
fn may(filled: &[Filled<'_>], name: &PresentedName<'_>) -> Result<bool, Unfilled> {
    let mut unfilled = None;
    for filled in filled.iter().filter(|filled| filled.is(name)) {
        match filled.unfilled {
            None => return Ok(true),
            Some(why) => unfilled = unfilled.or(Some(why)),
        }
    }
    unfilled.map_or(Ok(false), Err)
}

/// Whether the certificate `leaf` is one that the workload may present. The first rule that means the workload decides. All that
/// the certificate names must be among what the rule lets the workload present: its SPIFFE ID, else all its alternative names,
/// else its subject. Where a name of the workload decides and is not known, the answer is `unknown` and says why;
/// what no value of that name would allow does not fit.
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
