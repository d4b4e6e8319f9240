//! Store: what was seen, in one SQLite file that needs no server.
//!
//! Enters: public records. Leaves: the same records, and who reached whom how often, for as long as they are kept.
//! Refuses: judging, printing, and deciding when: the daemon's history thread writes, and whoever asks reads.
//! What repeats is kept once and named by a number ([`parts`] takes records apart and puts them together again), so
//! that a connection is one row of numbers; `schema.sql` is the schema, `docs/schema.md` explains it.

mod database;
mod dimensions;
mod node;
mod parts;
mod reader;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
mod writer;

pub use database::{APPLICATION_ID, SCHEMA_VERSION, StoreError};
pub use node::node_key;
pub(crate) use parts::{from_hex, to_hex};
pub use reader::Reader;
pub use writer::{Writer, Written};

/// The name of the file in the daemon's data folder.
pub const FILE_NAME: &str = "countersign.db";
