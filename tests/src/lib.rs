//! Harness of the black-box tests: real peers, real kernel, the real agent binary.
//!
//! Nothing here links the agent: it is run as a user runs it and read as a user reads it, by
//! `countersign watch --json`, so a test fails for the same reasons a user would complain.
//! `Testbed` holds the keys, two network namespaces joined by a veth pair, and unique ports;
//! `servers` and `clients` start the peers; `Agent` runs the daemon and collects its records;
//! `expectation` says what a record must say and compares. Everything started is ended by its pid,
//! and a namespace lives exactly as long as its descriptor, so an aborted run leaves nothing behind.

mod agent;
mod capture;
mod cgroup;
mod clients;
mod crowd;
mod exchange;
mod expectation;
mod matrix;
mod mount;
mod namespace;
mod nss;
mod owned;
mod pki;
mod play;
mod postgresql;
mod privilege;
mod probed;
mod process;
mod program;
mod proxy;
mod records;
mod servers;
mod testbed;
mod wait;

pub use agent::{Agent, AgentOptions, agent_binary, peers_only};
pub use capture::Damage;
pub use cgroup::Cgroup;
pub use clients::{ClientKind, ClientOptions, ClientRun};
pub use crowd::{
    CrowdClient, CrowdRun, openssl_load, openssl_server, openssl_server_command, with_identities,
};
pub use exchange::{odd_client, odd_server, pair_across, request_over, request_to_self};
pub use expectation::{Expectation, Matcher, Outcome, Sight, expected, findings_are};
pub use matrix::{Case, cases};
pub use mount::Mount;
pub use namespace::Namespace;
pub use nss::{nss_database, nss_versions};
pub use owned::{Attribution, Owner, answer_all, owned, owners, owners_program};
pub use pki::{Identity, Pki};
pub use play::play_all;
pub use postgresql::PostgresqlCluster;
pub use privilege::ready;
pub use process::{Finished, Process, Signal, output_of};
pub use program::{GoBuild, Program, python_with_packages};
pub use proxy::ByteWiseProxy;
pub use records::{Records, Taken, at, text};
pub use servers::{Mode, RequestCertificate, ServerKind, ServerOptions, Version};
pub use testbed::{SERVER_NAME, Testbed, peer_script, python};
pub use wait::{PATIENCE, until};
