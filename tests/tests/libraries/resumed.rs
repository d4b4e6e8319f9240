//! Sessions that are resumed at servers and by clients beyond the matrix: no library shows a certificate again, so none may be told but the one
//! that the session began with, where the wire shows which that was.

use std::process::Command;

use anyhow::{Result, ensure};
use countersign_tests::{
    ClientKind, ClientOptions, Expectation, Matcher, PATIENCE, Process, Program, ServerKind, ServerOptions,
    Testbed, Version, ready, text,
};
use serde_json::json;

use crate::attribution::{Seen, mutual_of, none_wrong, wrong};
use crate::further::{self, Start, curl_cffi, rustls_client, rustls_server};
use crate::{agent, required, standing};

const BOTH: &[Version] = &[Version::V1_2, Version::V1_3];
const SERVERS: [(&str, &str, Start, &[Version]); 3] = [
    ("haproxy", "openssl", |options| further::haproxy(options.port), &[Version::V1_3]),
    ("rustls 0.21", "rustls", |options| rustls_server(Program::Rustls21, options), BOTH),
    ("rustls 0.23", "rustls", |options| rustls_server(Program::Rustls23, options), BOTH),
];

/// What must be in the record of a connection that resumes the session of `first`.
fn resumed(version: Version, first: &str) -> Expectation {
    let expectation =
        Expectation::default().is("/tls/version", version.as_str()).is("/tls/handshake", "complete");
    if version == Version::V1_3 {
        return expectation
            .is("/tls/resumed", "psk")
            .is("/authentication", "unknown")
            .is("/evidence/reason", "resumption_origin_not_visible")
            .is("/client/certificates", json!([]))
            .is("/server/certificates", json!([]));
    }
    let pki = &Testbed::shared().pki;
    expectation
        .with("/tls/resumed", Matcher::OneOf(vec![json!("ticket"), json!("session_id")]))
        .is("/authentication", "mutual")
        .is("/evidence/client", "inherited")
        .is("/evidence/server", "inherited")
        .is("/client/inherited_from", first)
        .is("/client/certificates", json!(pki.client.fingerprints))
        .is("/server/certificates", json!(pki.server.fingerprints))
}

/// Holds the two connections to a server against a session and its resumption; certificates that are wrong.
fn judged(what: &str, version: Version, port: u16) -> Result<usize> {
    let Some(agent) = agent() else { return Ok(0) };
    let pki = &Testbed::shared().pki;
    let records = agent.records.closed_to(port, 2)?;
    mutual_of(version, (&pki.client, Seen::Whole), (&pki.server, Seen::Whole)).assert(&records[0]);
    resumed(version, text(&records[0], "/id")).assert(&records[1]);
    println!("{what} {}: resumed, {}", version.as_str(), text(&records[1], "/tls/resumed"));
    Ok(records.iter().map(|record| wrong(record, &pki.client, &pki.server)).sum())
}

type Ask = fn(ClientOptions<'_>) -> Result<Command>;

const CLIENTS: [(&str, Ask); 3] = [
    ("rustls 0.21", |options| rustls_client(Program::Rustls21, options)),
    ("rustls 0.23", |options| rustls_client(Program::Rustls23, options)),
    ("curl_cffi", curl_cffi),
];

#[test]
fn a_client_that_resumes_its_session_shows_no_certificate_but_its_own() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let _standing = standing()?;
    let mut all_wrong = 0;
    for (name, ask) in CLIENTS {
        for &version in BOTH {
            let port = testbed.port();
            let options = ServerOptions { version: Some(version), ..required(port) };
            let server = ServerKind::Nginx.start(testbed, options)?;
            if let Some(agent) = agent() {
                agent.wait_probed(&server, "openssl")?;
            }
            let mut command = ask(options_of(port, version))?;
            command.env("PEER_TWICE", "1");
            let run = Process::spawn(name, Some(&testbed.client_side), command)?.finish(PATIENCE)?;
            ensure!(run.output.contains("OK"), "{name} {}:\n{}", version.as_str(), run.output);
            all_wrong += judged(name, version, port)?;
        }
    }
    none_wrong("sessions resumed by three further clients", all_wrong);
    Ok(())
}

/// Of one client that asks once.
fn options_of(port: u16, version: Version) -> ClientOptions<'static> {
    ClientOptions {
        address: Testbed::SERVER,
        port,
        version: Some(version),
        identity: Some(&Testbed::shared().pki.client),
        resume: false,
        count: 1,
    }
}

#[test]
fn a_session_that_a_server_resumes_shows_no_certificate_but_its_own() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let mut all_wrong = 0;
    for (name, library, start, versions) in SERVERS {
        for &version in versions {
            let port = testbed.port();
            let running = start(ServerOptions { version: Some(version), ..required(port) })?;
            if let Some(agent) = agent() {
                agent.wait_probed(&running, library)?;
            }
            let options = ClientOptions { resume: true, ..options_of(port, version) };
            let run = ClientKind::OpenSsl.run(testbed, options)?;
            ensure!(
                run.answered && run.resumed == Some(true),
                "{name} {}:\n{}",
                version.as_str(),
                run.output
            );
            all_wrong += judged(name, version, port)?;
        }
    }
    none_wrong("sessions resumed at three further servers", all_wrong);
    Ok(())
}
