//! Store: what was seen, in one SQLite file that needs no server.
//!
//! Enters: public records. Leaves: the same records, and who reached whom how often, for as long as they are kept.
//! Refuses: judging, printing, and deciding when: the daemon's history thread writes, and whoever asks reads.
//! What repeats is kept once and named by a number ([`repeated`]), so that a connection is one row of numbers ([`parts`]); `schema.sql` is the schema, `docs/schema.md` explains it.

mod database;
mod dimensions;
mod folding;
mod keys;
mod node;
mod parts;
mod reader;
mod recent;
mod repeated;
mod retention;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
pub(crate) mod sample;
mod size;
#[cfg(test)]
mod tests;
mod unused;
#[cfg(test)]
mod view_tests;
mod writer;

pub use database::{APPLICATION_ID, SCHEMA_VERSION, StoreError, check};
pub(crate) use node::EXTERNAL;
pub use node::node_key;
pub(crate) use parts::{from_hex, to_hex};
pub use reader::Reader;
pub use retention::{Retention, Tidied};
pub use size::Size;
pub use writer::{Writer, Written};

/// The name of the file in the daemon's data folder.
pub const FILE_NAME: &str = "countersign.db";
