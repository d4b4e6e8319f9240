//! Fuzz body: any bytes as a file.

use super::{Reason, examine, symbols::MAX_POINTS};

/// Whatever the bytes are: bounded results, in order, each library once, and a file without any of them only if it is an ELF
/// file.
pub fn fuzz(data: &[u8]) {
    let examination = examine(&data);
    assert!(examination.libraries.iter().map(|found| found.points.len()).sum::<usize>() <= MAX_POINTS + 6);
    for found in &examination.libraries {
        assert!(!found.points.is_empty() && found.points.is_sorted());
        assert!(found.points.iter().any(|point| point.hook.library() == Some(found.library)));
        assert!(examination.libraries.iter().filter(|other| other.library == found.library).count() == 1);
        assert!(found.version.as_ref().is_none_or(|version| version.len() <= 128));
    }
    if !data.starts_with(b"\x7fELF") {
        assert!(examination.refused.iter().any(|refusal| refusal.reason == Reason::NotElf));
    }
}
