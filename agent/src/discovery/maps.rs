//! `/proc/PID/maps` (proc(5)): which files a process maps to execute them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustc_hash::FxHashSet;

/// Files of one process: large programs map some hundred.
const MAX_FILES: usize = 4096;

/// A file that is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    /// The name of the mapping in `/proc/PID/map_files`.
    pub range: String,
    /// Inode number.
    pub inode: u64,
    /// As the process sees it; ends in ` (deleted)` if it has no name any more.
    pub path: PathBuf,
}

/// Files mapped with the right to execute, each once, and whether there are more. Lines that are not as they should be are
/// passed over.
pub(super) fn executable_files(maps: &[u8]) -> (Vec<Mapped>, bool) {
    let mut known = FxHashSet::default();
    let lines = maps.split(|byte| *byte == b'\n').filter_map(mapping);
    let new = lines.filter(|(device, mapped)| known.insert((*device, mapped.inode)));
    let mut new = new.map(|(_, mapped)| mapped);
    let files = new.by_ref().take(MAX_FILES).collect();
    (files, new.next().is_some())
}

/// `start-end perms offset device inode   path`.
fn mapping(line: &[u8]) -> Option<(&[u8], Mapped)> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let range = fields.next()?;
    let permissions = fields.next()?;
    let (_offset, device) = (fields.next()?, fields.next()?);
    let inode = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let path = fields.next()?.trim_ascii_start();
    if permissions.get(2) != Some(&b'x') || inode == 0 || !path.starts_with(b"/") {
        return None;
    }
    let (start, end) = std::str::from_utf8(range).ok()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    // Here addresses have eight digits at least, in the names of `map_files` they have no leading zero.
    let range = format!("{:x}-{:x}", address(start)?, address(end)?);
    Some((device, Mapped { range, inode, path: PathBuf::from(OsStr::from_bytes(path)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
00b6f000-00b71000 r-xp 0076f000 fe:00 247584                             /usr/bin/node
55f472003000-55f472005000 r--p 00000000 fe:00 247030                     /usr/bin/cat
55f472005000-55f47200a000 r-xp 00002000 fe:00 247030                     /usr/bin/cat
55f4741da000-55f4741fb000 rw-p 00000000 00:00 0                          [heap]
7f0f4e442000-7f0f4e499000 r-xp 00022000 fe:01 247030                     /srv/a name/libssl.so.3 (deleted)
7f0f4e499000-7f0f4e49a000 r-xp 00030000 fe:01 247030                     /srv/a name/libssl.so.3 (deleted)
7f0f4e500000-7f0f4e501000 rwxp 00000000 00:00 0 
7ffc7a5d2000-7ffc7a5d4000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn only_files_that_are_executed_count_and_each_once() {
        let (found, more) = executable_files(MAPS);
        assert!(!more);
        let paths: Vec<_> = found.iter().map(|mapped| mapped.path.display().to_string()).collect();
        assert_eq!(paths, ["/usr/bin/node", "/usr/bin/cat", "/srv/a name/libssl.so.3 (deleted)"]);
        let ranges: Vec<_> = found.iter().take(2).map(|mapped| mapped.range.as_str()).collect();
        assert_eq!(ranges, ["b6f000-b71000", "55f472005000-55f47200a000"]);
    }

    #[test]
    fn that_there_are_more_files_than_are_looked_at_is_told() {
        let line =
            |number| format!("{number:x}000-{number:x}fff r-xp 00000000 fe:00 {number} /usr/lib/{number}\n");
        for (count, more) in [(MAX_FILES, false), (MAX_FILES + 1, true)] {
            let maps: String = (1..=count).map(line).collect();
            let found = executable_files(maps.as_bytes());
            assert_eq!((found.0.len(), found.1), (MAX_FILES, more));
        }
    }

    #[test]
    fn any_bytes_are_read() {
        for length in 0..MAPS.len() {
            executable_files(&MAPS[..length]);
            let mut changed = MAPS.to_vec();
            changed[length] = 0xff;
            executable_files(&changed);
        }
    }
}
