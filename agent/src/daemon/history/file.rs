//! The file at its place: whether it is still the one that was opened, and putting a damaged one aside.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Damaged files that are kept beside the history; further ones would fill the disk.
const MAX_SET_ASIDE: usize = 3;
/// Ends of the names of what belongs to a file of SQLite, the file itself first.
const ENDS: [&str; 3] = ["", "-wal", "-shm"];

/// Which file stands at a place: device and inode.
pub(super) fn which(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Gives a damaged file, and what belongs to it, a name with the time; nothing is deleted. Returns the name.
///
/// # Errors
/// If it cannot be renamed, or so many are there already that one has to be taken away first.
pub(super) fn set_aside(path: &Path, time: jiff::Timestamp) -> io::Result<PathBuf> {
    let mark = with_end(path, ".corrupt-");
    if set_aside_already(path, &mark)? >= MAX_SET_ASIDE {
        let message = format!("{MAX_SET_ASIDE} damaged files were set aside already: move them away");
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
    }
    let aside = with_end(&mark, &time.strftime("%Y%m%dT%H%M%S.%3fZ").to_string());
    for end in ENDS {
        match fs::rename(with_end(path, end), with_end(&aside, end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn set_aside_already(path: &Path, mark: &Path) -> io::Result<usize> {
    let (Some(folder), Some(mark)) = (path.parent(), mark.file_name()) else { return Ok(0) };
    let mut found = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.as_encoded_bytes();
        let companion = ENDS[1..].iter().any(|end| name.ends_with(end.as_bytes()));
        found += usize::from(name.starts_with(mark.as_encoded_bytes()) && !companion);
    }
    Ok(found)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
