//! Answers: the local API on a Unix socket, its client, and the metrics page over HTTP.
//!
//! Enters: records from the pipeline's thread, requests from readers. Leaves: JSON lines to each reader that watches,
//! the status, libraries and workloads, answers about the history, `/metrics` and `/healthz`. Refuses: readers that are not root or of the one group, more of them than
//! [`MAX_WATCHERS`], requests that are large or slow; a reader that cannot keep up loses records, is told how many,
//! and never holds the pipeline up.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::display::display_safe;

mod access;
mod client;
mod filter;
mod http;
mod hub;
mod local;
mod metrics_page;
mod questions;
#[cfg(test)]
mod tests;

pub use client::{ClientError, WatchClient, WorkloadList, ask, libraries, report, status, workloads};
pub use filter::{FilterError, WatchFilter};
pub use hub::{Hub, WATCH_QUEUE_RECORDS, Watcher};
pub use local::{AnswerSource, Answers, LineSource, LocalServer, MAX_WATCHERS};
pub use metrics_page::{Health, MAX_SCRAPERS, MetricsPage, MetricsServer};

/// A server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Another daemon has the socket.
    #[error(
        "another daemon is running on {}: use --socket for a second one",
        display_safe(&path.to_string_lossy())
    )]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is at the place of the socket.
    #[error(
        "{} is there and is not a socket: remove it, or use --socket",
        display_safe(&path.to_string_lossy())
    )]
    NotASocket {
        /// The place.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {action} {}", display_safe(&path.to_string_lossy()))]
    Socket {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error(
        "metrics address {address} is taken: use --metrics-listen or set metrics.listen to another port, or \
         metrics.enabled = false"
    )]
    AddressInUse {
        /// Where.
        address: SocketAddr,
    },
    /// The system refuses.
    #[error("cannot listen for metrics on {address}: use --metrics-listen or set metrics.listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}
