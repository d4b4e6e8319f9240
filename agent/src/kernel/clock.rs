//! The clock of the kernel's events.

use nix::time::{ClockId, clock_gettime};

use crate::event::Timestamp;

/// A reading of both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`).
    pub boot: Timestamp,
    /// What to add to a [`Timestamp`] to get nanoseconds since the Unix epoch; changes when the wall clock is set.
    pub wall_minus_boot: i64,
}

/// Reads the clocks.
pub fn clock() -> Clock {
    let boot = nanoseconds(ClockId::CLOCK_BOOTTIME);
    let wall = nanoseconds(ClockId::CLOCK_REALTIME);
    Clock { boot: Timestamp(boot.unsigned_abs()), wall_minus_boot: wall - boot }
}

/// Both clocks exist on every kernel that runs this; 0 would be 1970, or boot.
fn nanoseconds(clock: ClockId) -> i64 {
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}
