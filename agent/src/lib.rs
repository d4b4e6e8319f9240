//! Countersign audits the identity of every TCP connection of a Linux host.
//!
//! The rooms stand in the order in which data flows; a room never uses a later one
//! (`tests/rooms.rs` checks it).

pub mod event;

pub mod display;

pub mod record;

pub mod library;

pub mod kernel;

pub mod capture_file;

pub mod reassembly;

pub mod tls;

pub mod cleartext;

pub mod certificate;

pub mod connection;

pub mod identity;

pub mod discovery;

pub mod scope;

pub mod verdict;

pub mod ownership;

pub mod config;

pub mod publication;

pub mod store;

pub mod question;

pub mod report;

pub mod logging;

pub mod metrics;

pub mod api;

pub mod daemon;

pub mod replay;

pub mod cli;
