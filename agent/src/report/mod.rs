//! Report: the history as one page for people, and pictures of it.
//!
//! Enters: a file of the store, or the records of an answer. Leaves: HTML and SVG that need nothing but themselves: no
//! script, no network, and a policy that forbids both. Refuses: writing files, and text that others chose in any form
//! but as text (`text` is the one way in).

use crate::record::WallTime;
use crate::store::{Reader, StoreError};

mod calendar;
mod facts;
mod layers;
mod map;
mod page;
mod radius;
#[cfg(test)]
mod tests;
mod text;

pub use radius::RadiusPicture;

/// A report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The history does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for ReportError {
    fn from(error: rusqlite::Error) -> Self {
        ReportError::Store(error.into())
    }
}

/// The page of a history, as it was at `now`: HTML; its lists are cut, so that it fits on some sheets of paper.
///
/// # Errors
/// If the history cannot be read.
pub fn report(reader: &Reader, now: WallTime) -> Result<String, ReportError> {
    Ok(page::page(&facts::Facts::of(reader.database(), now)?))
}
