//! A wish, from another thread or a signal, that reading ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends reading before the captures do. Clones are the same wish.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What is read as a file ends before its next packet, which is told ([`super::ProblemKind::Interrupted`]). A pipe is read
    /// on until its writer has closed it, which Ctrl-C often reaches as well; after a second without that it is told, too.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// What is true once it is requested, and may be set instead.
    pub fn requested(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
