//! Discovery: processes → the files they map, and what of a TLS library each file holds.
//!
//! Enters: pids. Leaves: files to be probed, and files whose probes are not needed any more. Every executable file that a
//! process maps is examined once per (device, inode, time of change), in every mount namespace.
//! Refuses: attaching probes, and reading anything of a process but the names of its files.

mod files;
mod known;
mod maps;
mod reach;
#[cfg(test)]
mod tests;

pub use files::{Discovery, Look, Order, PassedOver};
pub use known::{FileKey, ProbeOutcome};
