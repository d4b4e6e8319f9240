//! Countersign audits the identity of every TCP connection of a Linux host.
//!
//! The rooms stand in the order in which data flows; a room never uses a later one
//! (`tests/rooms.rs` checks it).

pub mod event;

pub mod display;

pub mod record;

pub mod tls;

pub mod config;

pub mod logging;

pub mod api;

pub mod cli;
