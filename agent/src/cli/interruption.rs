//! Ctrl-C and SIGTERM as a wish to come to an end.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::capture_file::Stop;

/// From here on SIGINT and SIGTERM request the stop instead of ending the process; a second one ends it with 128 + its number.
/// One that whoever started the process had it ignore (`trap '' INT`, a shell's background) stays ignored. No thread waits for them:
/// with a second one the allocator would lock for every piece of memory.
///
/// # Errors
/// If the process may not handle signals.
pub(super) fn requests(stop: &Stop) -> io::Result<()> {
    // The kernel's word (proc_pid_status(5)): to ask with sigaction(2) would take `unsafe`. Where there is no /proc none counts as
    // ignored: whoever then sends a signal is heard.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for signal in [SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal, &status)) {
        // In this order: the first signal finds the stop not requested yet.
        flag::register_conditional_shutdown(signal, 128 + signal, stop.requested())?;
        flag::register(signal, stop.requested())?;
    }
    Ok(())
}

/// Whether the status of a process has a signal among those that it ignores: a mask in hexadecimal, signal 1 lowest.
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_if_its_bit_is_set() {
        let status = "Name:\tcountersign\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001002\nSigCgt:\t0000000000004002\n";
        assert!(is_ignored(SIGINT, status) && !is_ignored(SIGTERM, status));
        assert!(!is_ignored(SIGINT, "") && !is_ignored(SIGINT, "SigIgn:\twhat\n"));
    }
}
