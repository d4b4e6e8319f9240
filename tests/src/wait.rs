//! Bounded waiting for a condition.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long an event that must come may take. Two cores are shared with builds: generous, since it is
/// only ever spent on a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks at something that cannot notify (procfs, a socket file).
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Looks until `condition` gives a value.
///
/// # Errors
/// Says what was waited for when `patience` is over; passes on an error of the condition.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {patience:?} in vain for {what}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
