//! Clients that hold many connections at once, each with a certificate of its own.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::{
    ClientKind, Identity, Process, Program, ServerOptions, Testbed, Version, peer_script,
    python_with_packages,
};

/// How long thousands of handshakes may take on two shared cores.
const LONG_PATIENCE: Duration = Duration::from_secs(120);

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CrowdClient {
    /// One thread, TLS through memory buffers.
    Asyncio,
    /// A thread for each connection.
    PythonThreads,
    Node,
    Go,
    /// A thread for each connection, on the system's OpenSSL.
    OpenSsl,
    /// The same, linked statically and stripped: only the server can show its certificates.
    Blind,
    /// A thread for each connection.
    Rustls21,
    Rustls23,
    /// BoringSSL, a thread for each connection.
    CurlCffi,
}

impl fmt::Display for CrowdClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Asyncio => "asyncio",
            Self::PythonThreads => "python threads",
            Self::Node => "node",
            Self::Go => "go",
            Self::OpenSsl => "openssl threads",
            Self::Blind => "blind",
            Self::Rustls21 => "rustls 0.21 threads",
            Self::Rustls23 => "rustls 0.23 threads",
            Self::CurlCffi => "curl_cffi threads",
        })
    }
}

/// What it did.
#[derive(Debug, Deserialize)]
pub struct CrowdRun {
    /// Whether each connection got an answer.
    pub answered: bool,
    /// Local port and number of the identity of each connection. Where a port comes again: in order of time.
    pub connections: Vec<(u16, usize)>,
}

impl CrowdClient {
    /// Shows each of `identities` to the server at `port` on one connection of TLS 1.3, all at the same time.
    ///
    /// # Errors
    /// When it does not end, or says nothing about its connections.
    pub fn run(self, testbed: &Testbed, port: u16, identities: &[Identity]) -> Result<CrowdRun> {
        let by_arguments = |command| with_identities(testbed, (port, Version::V1_3), identities, command);
        let kind = match self {
            Self::OpenSsl | Self::Blind => {
                let program = if self == Self::Blind { Program::OpenSslStatic } else { Program::OpenSsl };
                let (count, version) = (identities.len(), Version::V1_3);
                return openssl_load(program, testbed, (port, version), identities, (count, count));
            }
            Self::Rustls21 | Self::Rustls23 => {
                let program = if self == Self::Rustls21 { Program::Rustls21 } else { Program::Rustls23 };
                let mut command = Command::new(program.path()?);
                command.arg("client");
                return finish(testbed, by_arguments(command));
            }
            Self::CurlCffi => {
                let mut command = Command::new(python_with_packages()?);
                command.arg(peer_script("peer_curl_cffi.py"));
                return finish(testbed, by_arguments(command));
            }
            Self::Asyncio => ClientKind::Asyncio,
            Self::PythonThreads => ClientKind::Python,
            Self::Node => ClientKind::Node,
            Self::Go => ClientKind::Go,
        };
        let pairs: Vec<_> = identities.iter().map(|identity| (&identity.chain, &identity.key)).collect();
        let options = json!({
            "role": "client",
            "address": Testbed::SERVER,
            "port": port,
            "version": Version::V1_3.as_str(),
            "ca": testbed.pki.ca,
            "identities": pairs,
        });
        let mut command = kind.own_program()?;
        command.arg(options.to_string());
        finish(testbed, command)
    }
}

/// Adds the arguments of a client that takes where to connect to, the root that it trusts, and its identities.
pub fn with_identities(
    testbed: &Testbed,
    (port, version): (u16, Version),
    identities: &[Identity],
    mut command: Command,
) -> Command {
    command.args([&Testbed::SERVER.to_string(), &port.to_string(), version.as_str()]).arg(&testbed.pki.ca);
    for identity in identities {
        command.arg(&identity.chain).arg(&identity.key);
    }
    command
}

/// Makes (connections, threads) with one of the two OpenSSL programs, showing each identity in turn.
///
/// # Errors
/// As [`CrowdClient::run`].
pub fn openssl_load(
    program: Program,
    testbed: &Testbed,
    (port, version): (u16, Version),
    identities: &[Identity],
    (connections, threads): (usize, usize),
) -> Result<CrowdRun> {
    let mut command = openssl_program(program, "client", testbed, (port, version))?;
    command.args([connections.to_string(), threads.to_string()]);
    for identity in identities {
        command.arg(&identity.chain).arg(&identity.key);
    }
    finish(testbed, command)
}

/// A server of `threads` on one of the two OpenSSL programs; it insists on a client certificate.
///
/// # Errors
/// When it does not listen.
pub fn openssl_server(
    program: Program,
    testbed: &Testbed,
    options: ServerOptions<'_>,
    threads: usize,
) -> Result<Process> {
    let command = openssl_server_command(program, testbed, options, threads)?;
    let mut server = Process::spawn("openssl server of many threads", Some(&testbed.server_side), command)?;
    server.wait_listening(options.port)?;
    Ok(server)
}

/// Its command line.
///
/// # Errors
/// When it does not compile.
pub fn openssl_server_command(
    program: Program,
    testbed: &Testbed,
    options: ServerOptions<'_>,
    threads: usize,
) -> Result<Command> {
    let version = options.version.unwrap_or(Version::V1_3);
    let mut command = openssl_program(program, "server", testbed, (options.port, version))?;
    command.arg(&options.identity.chain).arg(&options.identity.key).arg(threads.to_string());
    Ok(command)
}

fn openssl_program(
    program: Program,
    role: &str,
    testbed: &Testbed,
    place: (u16, Version),
) -> Result<Command> {
    let mut command = Command::new(program.path()?);
    command.arg(role);
    Ok(with_identities(testbed, place, &[], command))
}

fn finish(testbed: &Testbed, command: Command) -> Result<CrowdRun> {
    let client = Process::spawn("crowd", Some(&testbed.client_side), command)?;
    let finished = client.finish(LONG_PATIENCE)?;
    let report = finished.output.lines().find_map(|line| serde_json::from_str::<CrowdRun>(line).ok());
    let report = report.with_context(|| format!("no report:\n{}", finished.output))?;
    ensure!(report.answered, "not all were answered:\n{}", finished.output);
    Ok(report)
}
