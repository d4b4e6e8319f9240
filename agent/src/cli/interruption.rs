//! Ctrl-C and SIGTERM as a wish to come to an end.

use std::io;
use std::process;

use nix::sys::signal::{SigSet, Signal};

use crate::capture_file::Stop;

/// From here on SIGINT and SIGTERM request the stop instead of ending the process; a second one ends it with 128 + its number.
///
/// # Errors
/// If there is no room for a thread.
pub(super) fn requests(stop: Stop) -> io::Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    // Threads made from here on inherit it, so that only the one that waits gets them.
    signals.thread_block()?;
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            if stop.is_requested() {
                process::exit(128 + signal as i32);
            }
            stop.request();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}
