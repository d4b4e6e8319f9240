//! TLS: in-order bytes of both directions → facts.

mod facts;

pub use facts::*;
