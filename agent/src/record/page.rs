//! `countersign.page/1`.

use serde::{Deserialize, Serialize};

use super::{Text, WallTime};

/// Value of [`PageRecord::schema`].
pub const PAGE_SCHEMA: &str = "countersign.page/1";

/// The last line of each answer about the history: what was asked, and whether this was all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRecord {
    /// [`PAGE_SCHEMA`].
    pub schema: Text,
    /// Name of the question.
    pub question: Text,
    /// When it was asked; relative times count from here.
    pub asked: WallTime,
    /// Records before this line.
    pub count: u64,
    /// Where the next page begins (`--after`); null if this was all.
    pub next: Option<String>,
    /// Why the answer ends before its limit: `interrupted` `time` `bytes`, or `limit` `size` where it has a bound of its own; null if it does not.
    pub cut: Option<Text>,
}
