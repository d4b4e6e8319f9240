//! TLS: in-order bytes of both directions → facts.
//!
//! Enters: the payload of one TCP connection, each direction in order, with what the sender had
//! acknowledged when it sent it. Leaves: [`TlsFacts`], or "not TLS" with a bounded prefix of each
//! direction. Three-valued: found, certainly not, not yet.
//!
//! Refuses: clocks, IO, logging, policy, keys. Nothing encrypted is kept: of such records only the
//! five header bytes are read. The facts depend on the bytes and their causality alone, never on the
//! order in which the two directions were observed:
//!
//! ```text
//! bytes ─► stream (records, messages) ─► entries ─┬─► classic  (≤ 1.2) ─┐
//!                    └─► hello, message ─► facts ─┼─► modern (1.3) ─────┼─► facts
//!                                                 └─► ssl2 ─────────────┘
//!                           modern asks inference (geometry); hello makes ja4 (fingerprint)
//! ```
//!
//! After the verdict on a connection of TLS ≤ 1.2, renegotiation watches for what would take it back.

mod classic;
mod conversation;
mod facts;
mod flights;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handshake;
mod hello;
mod history;
mod inference;
mod ja4;
mod message;
mod modern;
mod names;
mod outline;
mod renegotiation;
mod ssl2;
mod stream;
mod suite;
#[cfg(test)]
mod tests;
mod version;

pub use conversation::{Conversation, Direction, Outlook, PEEK, Reading};
pub use facts::*;
pub use flights::{Flights, MessageSize};
pub use ja4::Ja4;
pub use names::{alert_name, compression_name, group_name};
pub use renegotiation::RenegotiationWatch;
pub use suite::{alert_record_bytes, cipher_suite_name, suite_is_integrity_only};
pub use version::Version;
