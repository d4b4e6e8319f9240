//! Certificates behind TLS 1.3, read where TLS libraries handle them: each library by itself, in each role, many
//! connections at once, and what must not be read at all.
//!
//! The number to watch is that of certificates attributed to a wrong connection; each test prints it. To see what one side
//! shows, its peer is a *blind* one: OpenSSL linked statically and stripped, in which nothing can be probed.
#![expect(clippy::print_stdout, reason = "the numbers are for whoever runs the tests")]

mod attribution;
mod compressed;
mod crowds;
mod discovery;
mod further;
mod resumed;
mod single;
mod trust_stores;

use std::process::Command;
use std::sync::OnceLock;

use anyhow::Result;
use countersign_tests::{
    Agent, AgentOptions, Mode, Process, Program, RequestCertificate, ServerKind, ServerOptions, Sight,
    Testbed, Version, peer_script, peers_only, play_all, python_with_packages, ready,
};

use crate::further::GoManner;

/// The agent that most tests share; nothing if only the peers are to be proven.
///
/// # Panics
/// When it does not start.
fn agent() -> Option<&'static Agent> {
    static SHARED: OnceLock<Agent> = OnceLock::new();
    let start = || {
        Agent::start(AgentOptions::default())
            .unwrap_or_else(|error| panic!("the agent does not start: {error:?}"))
    };
    (!peers_only()).then(|| SHARED.get_or_init(start))
}

/// Whether the long runs are wanted, too.
fn full() -> bool {
    std::env::var("COUNTERSIGN_FULL").is_ok_and(|value| value == "1")
}

/// Probes come and go with the processes that map a file, and a client may live for some milliseconds only: as on a host
/// that has been up for a while, other processes use the same libraries already. They end with the value.
fn standing() -> Result<Vec<Process>> {
    let mut command = Command::new(python_with_packages()?);
    command.arg(peer_script("hold.py"));
    command.args(["libssl.so.3", "libgnutls.so.30", "libssl3.so", "libsoftokn3.so", "curl_cffi"]);
    let holder = Process::spawn("holder", None, command)?;
    holder.wait_for_output("holding")?;
    let mut processes = vec![holder];
    let testbed = Testbed::shared();
    processes.push(ServerKind::Node.start(testbed, required(testbed.port()))?);
    for program in [Program::Rustls21, Program::Rustls23] {
        processes.push(further::rustls_server(program, required(testbed.port()))?);
    }
    for build in further::go_builds(full()) {
        processes.push(further::go_server(build, testbed.port(), GoManner::default())?);
    }
    if let Some(agent) = agent() {
        for library in ["openssl", "gnutls", "nss", "boringssl"] {
            agent.wait_probed(&processes[0], library)?;
        }
        let libraries = ["openssl", "rustls", "rustls"].into_iter().chain(std::iter::repeat("go"));
        for (process, library) in processes.iter().skip(1).zip(libraries) {
            agent.wait_probed(process, library)?;
        }
    }
    Ok(processes)
}

/// A server with the usual certificate that insists on the client's, under TLS 1.3.
fn required(port: u16) -> ServerOptions<'static> {
    ServerOptions {
        address: Testbed::SERVER,
        port,
        version: Some(Version::V1_3),
        request: RequestCertificate::Require,
        identity: &Testbed::shared().pki.server,
    }
}

#[test]
fn every_peer_in_every_mode_shows_its_certificates() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let _standing = standing()?;
    // What the wire shows in clear is compared with the libraries' word in one mode.
    play_all(agent(), Sight::Libraries, |case| {
        case.version == Some(Version::V1_3) || case.mode == Mode::Mutual
    });
    Ok(())
}
