//! Ctrl-C and SIGTERM as a wish to come to an end.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::capture_file::Stop;

/// From here on SIGINT and SIGTERM request the stop instead of ending the process; a second one ends it with 128 + its number.
/// No thread waits for them: with a second one the allocator would lock for every piece of memory.
///
/// # Errors
/// If the process may not handle signals.
pub(super) fn requests(stop: &Stop) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the stop not requested yet.
        flag::register_conditional_shutdown(signal, 128 + signal, stop.requested())?;
        flag::register(signal, stop.requested())?;
    }
    Ok(())
}
