//! Each library by itself, in each role: the other end is blind, so what the record says came from this one.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    ClientKind, ClientOptions, CrowdClient, Expectation, GoBuild, PATIENCE, Process, Program, ServerKind,
    Testbed, Version, findings_are, openssl_server, ready,
};
use serde_json::Value;

use crate::attribution::{Seen, mutual, none_wrong, not_known, wrong};
use crate::further::{self, GoManner};
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
    const GNUTLS: Self = Self { library: "gnutls", own: Seen::Nothing, ..Self::ALL };
    const NSS: Self = Self { library: "nss", own: Seen::Nothing, ..Self::ALL };
    const BORINGSSL: Self = Self { library: "boringssl", own: Seen::Nothing, ..Self::ALL };
    const RUSTLS: Self = Self { library: "rustls", own: Seen::Nothing, ..Self::ALL };

    /// Codes of findings that it is the cause of.
    fn findings(self) -> &'static [&'static str] {
        if self.verification == "not_attempted" { &["peer_not_verified"] } else { &[] }
    }
}

const UNVERIFIED: GoManner = GoManner { unverified: true, wrapped: false };
const WRAPPED: GoManner = GoManner { unverified: false, wrapped: true };

type Start = Box<dyn Fn(u16) -> Result<Process>>;

fn servers() -> Vec<(String, Shows, Start)> {
    let matrix = |kind: ServerKind, shows: Shows| -> (String, Shows, Start) {
        (kind.to_string(), shows, Box::new(move |port| kind.start(Testbed::shared(), required(port))))
    };
    let other = |name: &str, shows: Shows, start: fn(u16) -> Result<Process>| -> (String, Shows, Start) {
        (name.to_owned(), shows, Box::new(start))
    };
    let mut servers = vec![
        matrix(ServerKind::OpenSsl, Shows::ALL),
        matrix(ServerKind::Nginx, Shows::ALL),
        matrix(ServerKind::Apache, Shows::ALL),
        matrix(ServerKind::Python, Shows::ALL),
        matrix(ServerKind::Asyncio, Shows::ALL),
        matrix(ServerKind::Node, Shows::ALL),
        matrix(ServerKind::GnuTls, Shows::GNUTLS),
        other("haproxy", Shows::ALL, further::haproxy),
        other("selfserv", Shows::NSS, further::selfserv),
        other("rustls 0.23", Shows::RUSTLS, |port| further::rustls_server(Program::Rustls23, port)),
        other("rustls 0.21", Shows::RUSTLS, |port| further::rustls_server(Program::Rustls21, port)),
        other("go, RequireAnyClientCert", Shows::GO_UNVERIFIED, |port| {
            further::go_server(GoBuild::PLAIN, port, UNVERIFIED)
        }),
        other("go, wrapped socket", Shows::GO, |port| further::go_server(GoBuild::PLAIN, port, WRAPPED)),
    ];
    for build in further::go_builds(full()) {
        let start = Box::new(move |port| further::go_server(build, port, GoManner::default()));
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
        // Before the server: what it loads first is seen as it is on a host.
        let agent = agent();
        let port = testbed.port();
        let server = start(port).with_context(|| name.clone())?;
        if let Some(agent) = agent {
            agent.wait_probed(&server, shows.library).with_context(|| name.clone())?;
        }
        CrowdClient::Blind
            .run(testbed, port, std::slice::from_ref(&testbed.pki.client))
            .with_context(|| format!("{name}:\n{}", server.output()))?;
        let Some(agent) = agent else { continue };
        let record = agent.records.one_closed_to(port)?;
        let expectation = mutual((&testbed.pki.client, shows.peer), (&testbed.pki.server, shows.own))
            .is("/server/verification", shows.verification)
            .with("/client/verification", not_known())
            .with("/findings", findings_are(shows.findings()));
        all_wrong += wrong(&record, &testbed.pki.client, &testbed.pki.server);
        tell(&name, &expectation, &record, &mut problems);
    }
    none_wrong("each server by itself", all_wrong);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// How a client is run.
enum Client {
    Matrix(ClientKind),
    /// A command for a port.
    Other(Box<dyn Fn(u16) -> Result<Command>>),
}

fn clients() -> Vec<(String, Shows, Client)> {
    let other = |name: &str, shows, start: fn(u16) -> Result<Command>| {
        (name.to_owned(), shows, Client::Other(Box::new(start)))
    };
    let matrix = |kind: ClientKind, shows| (kind.to_string(), shows, Client::Matrix(kind));
    let mut clients = vec![
        matrix(ClientKind::OpenSsl, Shows::ALL),
        matrix(ClientKind::Curl, Shows::ALL),
        matrix(ClientKind::Python, Shows::ALL),
        matrix(ClientKind::Asyncio, Shows::ALL),
        matrix(ClientKind::Node, Shows::ALL),
        matrix(ClientKind::GnuTls, Shows::GNUTLS),
        other("wget", Shows::GNUTLS, further::wget),
        other("curl_cffi", Shows::BORINGSSL, further::curl_cffi),
        other("rustls 0.23", Shows::RUSTLS, |port| further::rustls_client(Program::Rustls23, port)),
        other("rustls 0.21", Shows::RUSTLS, |port| further::rustls_client(Program::Rustls21, port)),
        other("go, InsecureSkipVerify", Shows::GO_UNVERIFIED, |port| {
            further::go_client(GoBuild::PLAIN, port, UNVERIFIED)
        }),
        other("tstclnt", Shows::NSS, further::tstclnt),
    ];
    for build in further::go_builds(full()) {
        let run = Box::new(move |port| further::go_client(build, port, GoManner::default()));
        clients.push((name_of(build), Shows::GO, Client::Other(run)));
    }
    clients
}

#[test]
fn each_client_shows_both_chains_by_itself() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let mut processes = standing()?;
    for build in further::go_builds(full()) {
        let server = further::go_server(build, testbed.port(), GoManner::default())?;
        if let Some(agent) = agent() {
            agent.wait_probed(&server, "go")?;
        }
        processes.push(server);
    }
    let mut all_wrong = 0;
    let mut problems = Vec::new();
    for (name, shows, client) in clients() {
        let port = testbed.port();
        let _server = openssl_server(Program::OpenSslStatic, testbed, port, &testbed.pki.server, 2)?;
        run(&client, port).with_context(|| name.clone())?;
        let Some(agent) = agent() else { continue };
        let record = agent.records.one_closed_to(port)?;
        let expectation = mutual((&testbed.pki.client, shows.own), (&testbed.pki.server, shows.peer))
            .is("/client/verification", shows.verification)
            .with("/server/verification", not_known())
            .with("/findings", findings_are(shows.findings()));
        all_wrong += wrong(&record, &testbed.pki.client, &testbed.pki.server);
        tell(&name, &expectation, &record, &mut problems);
    }
    none_wrong("each client by itself", all_wrong);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

fn run(client: &Client, port: u16) -> Result<()> {
    let testbed = Testbed::shared();
    let (answered, output) = match client {
        Client::Matrix(kind) => {
            let (address, version) = (Testbed::SERVER, Some(Version::V1_3));
            let identity = Some(&testbed.pki.client);
            let options = ClientOptions { address, port, version, identity, resume: false, count: 1 };
            let run = kind.run(testbed, options)?;
            (run.answered, run.output)
        }
        Client::Other(command) => {
            let output = finish(command(port)?, b"")?;
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
