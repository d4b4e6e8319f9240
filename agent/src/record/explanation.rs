//! `countersign.explanation/1`.

use serde::{Deserialize, Serialize};

use super::{Text, WallTime};

/// Value of [`ExplanationRecord::schema`].
pub const EXPLANATION_SCHEMA: &str = "countersign.explanation/1";

/// The evidence of one connection, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationRecord {
    /// [`EXPLANATION_SCHEMA`].
    pub schema: Text,
    /// Of the connection.
    pub id: String,
    /// `whole`, or `counted` if it can only be one of those that are only counted any more.
    pub kept: Text,
    /// In the order in which they are to be read.
    pub steps: Vec<ExplanationStepRecord>,
}

/// One thing that is known of it, or is not, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationStepRecord {
    /// `observation` `client` `server` `protocol` `authentication` `certificate` `finding` `gap` `not_evaluated`.
    pub topic: Text,
    /// When; null where it has no time of its own.
    pub at: Option<WallTime>,
    /// In a sentence or a few.
    pub text: String,
}
