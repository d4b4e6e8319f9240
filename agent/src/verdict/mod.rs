//! Verdict: what a policy says about the facts of a connection.
//!
//! Enters: a connection record, the certificates it names, who else presented them, what its ends had established before, a [`Policy`] and the time. Leaves: [`Finding`]s,
//! each with its code, severity, reason and remedy, and the exception that sets it apart if there is one; and before that whether
//! a certificate is one that its workload may present ([`fit`]). Refuses: looking anything up. Only what was established is judged: an
//! unknown is never a finding.

mod code;
mod exception;
mod fit;
mod glob;
mod identity;
mod rules;
mod selector;
mod template;

pub use code::Code;
pub use exception::Exception;
pub use fit::{FitRule, fit};
pub use glob::matches;
pub use rules::{Presence, Regression, Sharing, Subject, judge, presence};
pub use selector::{Meant, Selector, SelectorError, network};
pub use template::{MAX_TEMPLATE_BYTES, Placeholder, Template, TemplateError};

use std::sync::Arc;

use crate::record::{Severity, SideName};

/// What is asked of connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Findings that are not wanted.
    pub disabled: Vec<Code>,
    /// Known findings, set apart.
    pub exceptions: Vec<Arc<Exception>>,
    /// Which identities workloads may present; the first that means a workload decides.
    pub identities: Vec<Arc<FitRule>>,
}

/// What the policy says about one connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which rule.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// The end it is about, if it is one alone.
    pub side: Option<SideName>,
    /// Fingerprint of the certificate it is about.
    pub certificate: Option<String>,
    /// One sentence with the actual values.
    pub summary: String,
    /// The exception that covers it.
    pub exception: Option<Arc<Exception>>,
}
