//! File systems of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::output_of;

/// A mount that goes with the test.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts it, with these arguments of mount(8).
    ///
    /// # Errors
    /// If mount(8) refuses.
    pub fn new(place: &Path, arguments: &[&str]) -> Result<Mount> {
        output_of(Command::new("mount").args(arguments).arg(place))?;
        Ok(Mount(place.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.0.display());
        }
    }
}
