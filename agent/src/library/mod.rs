//! Library: an executable file → the points at which its TLS library shows certificates.
//!
//! Enters: the bytes of an ELF file. Leaves: which TLS library it holds and at which offsets of the file it can be probed, or
//! why not. Pure and fuzzed: whoever can run a program on the host chooses these bytes.
//! Refuses: processes, mounts, attaching.

mod point;

pub use point::{Hook, Point};
