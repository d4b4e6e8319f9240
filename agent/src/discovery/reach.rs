//! Files of other processes, in whatever mount namespace.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::maps::Mapped;

/// Opens a file that somebody else may hold or replace: never waits.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

/// A path that leads to a mapped file in any mount namespace.
pub(super) fn reach(folder: &Path, mapped: &Mapped) -> io::Result<(PathBuf, Metadata)> {
    let link = folder.join("map_files").join(&mapped.range);
    match std::fs::metadata(&link) {
        Ok(metadata) => Ok((link, metadata)),
        // Only CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN may follow it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let path = folder.join("root").join(mapped.path.strip_prefix("/").unwrap_or(&mapped.path));
            let metadata = std::fs::metadata(&path)?;
            if metadata.ino() != mapped.inode {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok((path, metadata))
        }
        Err(error) => Err(error),
    }
}
