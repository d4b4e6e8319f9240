//! Sessions that are resumed at servers beyond the matrix: no library shows a certificate again, so none may be told but the one
//! that the session began with, where the wire shows which that was.

use anyhow::{Result, ensure};
use countersign_tests::{
    ClientKind, ClientOptions, Expectation, Matcher, Program, ServerOptions, Testbed, Version, ready, text,
};
use serde_json::json;

use crate::attribution::{Seen, mutual_of, none_wrong, wrong};
use crate::further::{self, Start, rustls_server};
use crate::{agent, required};

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

#[test]
fn a_resumed_session_shows_no_certificate_but_its_own() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let (client, server) = (&testbed.pki.client, &testbed.pki.server);
    let mut all_wrong = 0;
    for (name, library, start, versions) in SERVERS {
        for &version in versions {
            let port = testbed.port();
            let running = start(ServerOptions { version: Some(version), ..required(port) })?;
            if let Some(agent) = agent() {
                agent.wait_probed(&running, library)?;
            }
            let options = ClientOptions {
                address: Testbed::SERVER,
                port,
                version: Some(version),
                identity: Some(client),
                resume: true,
                count: 1,
            };
            let run = ClientKind::OpenSsl.run(testbed, options)?;
            ensure!(
                run.answered && run.resumed == Some(true),
                "{name} {}:\n{}",
                version.as_str(),
                run.output
            );
            let Some(agent) = agent() else { continue };
            let records = agent.records.closed_to(port, 2)?;
            all_wrong += records.iter().map(|record| wrong(record, client, server)).sum::<usize>();
            mutual_of(version, (client, Seen::Whole), (server, Seen::Whole)).assert(&records[0]);
            resumed(version, text(&records[0], "/id")).assert(&records[1]);
            println!("{name} {}: resumed, {}", version.as_str(), text(&records[1], "/tls/resumed"));
        }
    }
    none_wrong("sessions resumed at three further servers", all_wrong);
    Ok(())
}
