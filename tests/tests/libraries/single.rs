//! Each library by itself, in each role: the other end is blind, so what the record says came from this one.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    ClientKind, ClientOptions, Expectation, GoBuild, Identity, PATIENCE, Process, Program, ServerKind,
    ServerOptions, Testbed, Version, findings_are, openssl_load, openssl_server, ready,
};
use serde_json::Value;

use crate::attribution::{Seen, mutual, mutual_of, none_wrong, not_known, wrong};
use crate::further::{self, GoManner, rustls_client, rustls_server};
use crate::{agent, full, required, standing};

/// What a library shows.
#[derive(Clone, Copy)]
struct Shows {
    library: &'static str,
    /// The chain of the other end.
    peer: Seen,
    /// The chain of its own end.
    own: Seen,
    /// The outcome at its own end.
    verification: &'static str,
}

impl Shows {
    const ALL: Self =
        Self { library: "openssl", peer: Seen::Whole, own: Seen::Whole, verification: "verified" };
    const GO: Self = Self { library: "go", ..Self::ALL };
    const GO_UNVERIFIED: Self = Self { verification: "not_attempted", ..Self::GO };
    const GNUTLS: Self = Self { library: "gnutls", ..Self::ALL };
    const NSS: Self = Self { library: "nss", ..Self::ALL };
    const BORINGSSL: Self = Self { library: "boringssl", ..Self::ALL };
    const RUSTLS: Self = Self { library: "rustls", ..Self::ALL };

    /// Versions to be tried: what the matrix does not have is tried in both.
    fn versions(self) -> &'static [Version] {
        match self.library {
            "openssl" | "go" => &[Version::V1_3],
            _ => &[Version::V1_3, Version::V1_2],
        }
    }

    /// Codes of findings that it is the cause of.
    fn findings(self) -> &'static [&'static str] {
        if self.verification == "not_attempted" { &["peer_not_verified"] } else { &[] }
    }
}

const UNVERIFIED: GoManner = GoManner { unverified: true, wrapped: false };
const WRAPPED: GoManner = GoManner { unverified: false, wrapped: true };

type Start = Box<dyn Fn(ServerOptions<'_>) -> Result<Process>>;

fn servers() -> Vec<(String, Shows, Start)> {
    let matrix = |kind: ServerKind, shows: Shows| -> (String, Shows, Start) {
        (kind.to_string(), shows, Box::new(move |options| kind.start(Testbed::shared(), options)))
    };
    let other = |name: &str, shows: Shows, start: Start| (name.to_owned(), shows, start);
    let mut servers = vec![
        matrix(ServerKind::OpenSsl, Shows::ALL),
        matrix(ServerKind::Nginx, Shows::ALL),
        matrix(ServerKind::Apache, Shows::ALL),
        matrix(ServerKind::Python, Shows::ALL),
        matrix(ServerKind::Asyncio, Shows::ALL),
        matrix(ServerKind::Node, Shows::ALL),
        matrix(ServerKind::GnuTls, Shows::GNUTLS),
        other("haproxy", Shows::ALL, Box::new(|options| further::haproxy(options.port))),
        matrix(ServerKind::Nss, Shows::NSS),
        other("rustls 0.23", Shows::RUSTLS, Box::new(|options| rustls_server(Program::Rustls23, options))),
        other("rustls 0.21", Shows::RUSTLS, Box::new(|options| rustls_server(Program::Rustls21, options))),
        other(
            "go, RequireAnyClientCert",
            Shows::GO_UNVERIFIED,
            Box::new(|options| further::go_server(GoBuild::PLAIN, options.port, UNVERIFIED)),
        ),
        other(
            "go, wrapped socket",
            Shows::GO,
            Box::new(|options| further::go_server(GoBuild::PLAIN, options.port, WRAPPED)),
        ),
    ];
    for build in further::go_builds(full()) {
        let start: Start =
            Box::new(move |options| further::go_server(build, options.port, GoManner::default()));
        servers.push((name_of(build), Shows::GO, start));
    }
    servers
}

fn name_of(build: GoBuild) -> String {
    let stripped = if build.stripped { ", stripped" } else { "" };
    let pie = if build.pie { ", PIE" } else { "" };
    format!("go {}{stripped}{pie}", build.toolchain.unwrap_or("of Debian"))
}

#[test]
fn each_server_shows_both_chains_by_itself() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let mut all_wrong = 0;
    let mut problems = Vec::new();
    for (name, shows, start) in servers() {
        let own = further::shown(shows.library, &testbed.pki.server);
        for &version in shows.versions() {
            let name = format!("{name}, TLS {}", version.as_str());
            // Before the server: what it loads first is seen as it is on a host.
            let agent = agent();
            let port = testbed.port();
            let options = ServerOptions { version: Some(version), ..required(port) };
            let server = start(options).with_context(|| name.clone())?;
            if let Some(agent) = agent {
                agent.wait_probed(&server, shows.library).with_context(|| name.clone())?;
            }
            let identities = std::slice::from_ref(&testbed.pki.client);
            openssl_load(Program::OpenSslStatic, testbed, (port, version), identities, (1, 1))
                .with_context(|| format!("{name}:\n{}", server.output()))?;
            let Some(agent) = agent else { continue };
            let record = agent.records.one_closed_to(port)?;
            let expectation = mutual_of(version, (&testbed.pki.client, shows.peer), (&own, shows.own))
                .is("/server/verification", shows.verification)
                .with("/client/verification", not_known())
                .with("/findings", findings_are(shows.findings()));
            all_wrong += wrong(&record, &testbed.pki.client, &own);
            tell(&name, &expectation, &record, &mut problems);
        }
    }
    none_wrong("each server by itself", all_wrong);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// How a client is run.
enum Client {
    Matrix(ClientKind),
    Other(Ask),
}

type Ask = Box<dyn Fn(ClientOptions<'_>) -> Result<Command>>;

fn clients() -> Vec<(String, Shows, Client)> {
    let other = |name: &str, shows, ask: Ask| (name.to_owned(), shows, Client::Other(ask));
    let matrix = |kind: ClientKind, shows| (kind.to_string(), shows, Client::Matrix(kind));
    let mut clients = vec![
        matrix(ClientKind::OpenSsl, Shows::ALL),
        matrix(ClientKind::Curl, Shows::ALL),
        matrix(ClientKind::Python, Shows::ALL),
        matrix(ClientKind::Asyncio, Shows::ALL),
        matrix(ClientKind::Node, Shows::ALL),
        matrix(ClientKind::GnuTls, Shows::GNUTLS),
        other("wget", Shows::GNUTLS, Box::new(further::wget)),
        other("curl_cffi", Shows::BORINGSSL, Box::new(further::curl_cffi)),
        other("rustls 0.23", Shows::RUSTLS, Box::new(|options| rustls_client(Program::Rustls23, options))),
        other("rustls 0.21", Shows::RUSTLS, Box::new(|options| rustls_client(Program::Rustls21, options))),
        other(
            "go, InsecureSkipVerify",
            Shows::GO_UNVERIFIED,
            Box::new(|options| further::go_client(GoBuild::PLAIN, options.port, UNVERIFIED)),
        ),
        other("tstclnt", Shows::NSS, Box::new(further::tstclnt)),
    ];
    for build in further::go_builds(full()) {
        let ask: Ask = Box::new(move |options| further::go_client(build, options.port, GoManner::default()));
        clients.push((name_of(build), Shows::GO, Client::Other(ask)));
    }
    clients
}

#[test]
fn each_client_shows_both_chains_by_itself() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let _standing = standing()?;
    let mut all_wrong = 0;
    let mut problems = Vec::new();
    for (name, shows, client) in clients() {
        for &version in shows.versions() {
            let name = format!("{name}, TLS {}", version.as_str());
            let port = testbed.port();
            let options = ServerOptions { version: Some(version), ..required(port) };
            let _server = openssl_server(Program::OpenSslStatic, testbed, options, 2)?;
            run(&client, showing(&testbed.pki.client, port, version)).with_context(|| name.clone())?;
            let Some(agent) = agent() else { continue };
            let record = agent.records.one_closed_to(port)?;
            let (own, peer) = ((&testbed.pki.client, shows.own), (&testbed.pki.server, shows.peer));
            let expectation = mutual_of(version, own, peer)
                .is("/client/verification", shows.verification)
                .with("/server/verification", not_known())
                .with("/findings", findings_are(shows.findings()));
            all_wrong += wrong(&record, &testbed.pki.client, &testbed.pki.server);
            tell(&name, &expectation, &record, &mut problems);
        }
    }
    none_wrong("each client by itself", all_wrong);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// A client that shows an identity once.
pub fn showing(identity: &Identity, port: u16, version: Version) -> ClientOptions<'_> {
    let (address, version, identity) = (Testbed::SERVER, Some(version), Some(identity));
    ClientOptions { address, port, version, identity, resume: false, count: 1 }
}

fn run(client: &Client, options: ClientOptions<'_>) -> Result<()> {
    let (answered, output) = match client {
        Client::Matrix(kind) => {
            let run = kind.run(Testbed::shared(), options)?;
            (run.answered, run.output)
        }
        Client::Other(command) => {
            let output = finish(command(options)?, b"")?;
            // The Go peer answers with a report.
            (output.contains("200 OK") || output.contains("\"answered\":true"), output)
        }
    };
    ensure!(answered, "not answered:\n{output}");
    Ok(())
}

/// What a client prints that is given `input` and nothing more.
pub fn finish(command: Command, input: &[u8]) -> Result<String> {
    let mut client = Process::spawn("client", Some(&Testbed::shared().client_side), command)?;
    client.write(input)?;
    client.close_input();
    Ok(client.finish(PATIENCE)?.output)
}

fn tell(name: &str, expectation: &Expectation, record: &Value, problems: &mut Vec<String>) {
    let mismatches = expectation.mismatches(record);
    println!("{} {name}", if mismatches.is_empty() { ' ' } else { '✗' });
    if !mismatches.is_empty() {
        problems.push(format!("{name}:\n  {}\n  {record}", mismatches.join("\n  ")));
    }
}

#[test]
fn postgresql_and_psql_verify_each_other() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let agent = agent();
    let _standing = standing()?;
    let port = testbed.port();
    let server = further::postgresql(port)?;
    if let Some(agent) = agent {
        agent.wait_probed(&server, "openssl")?;
    }
    let output = finish(further::psql(port)?, b"")?;
    ensure!(output.contains("200 OK"), "psql:\n{output}\nserver:\n{}", server.output());
    let Some(agent) = agent else { return Ok(()) };
    let record = agent.records.one_closed_to(port)?;
    none_wrong("postgresql", wrong(&record, &testbed.pki.client, &testbed.pki.server));
    mutual((&testbed.pki.client, Seen::Whole), (&testbed.pki.server, Seen::Whole))
        .is("/upgraded_from", "postgresql")
        .is("/client/verification", "verified")
        .is("/server/verification", "verified")
        .assert(&record);
    Ok(())
}
