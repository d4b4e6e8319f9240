//! Countersign audits the identity of every TCP connection of a Linux host.
//!
//! The rooms stand in the order in which data flows; a room never uses a later one
//! (`tests/rooms.rs` checks it).

pub mod event;

pub mod record;

pub mod kernel;

pub mod tls;
