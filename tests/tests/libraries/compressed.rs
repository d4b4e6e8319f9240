//! Certificates that are sent compressed (RFC 8879): whoever receives them has them whole, whoever sends them does not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Expectation, Identity, Process, Program, ServerOptions, Testbed, Version, at, output_of, ready,
    with_identities,
};
use serde_json::json;

use crate::attribution::{Seen, mutual, none_wrong, not_known, wrong};
use crate::{agent, further, required, single, standing};

/// Lets a client on rustls ask a server on rustls with a chain of 25 kB, and compares the record.
fn exchange(client: &Path, server: &Identity, expected: Expectation) -> Result<()> {
    let testbed = Testbed::shared();
    let port = testbed.port();
    let running =
        further::rustls_server(Program::Rustls23, ServerOptions { identity: server, ..required(port) })?;
    if let Some(agent) = agent() {
        agent.wait_probed(&running, "rustls")?;
    }
    let own = &testbed.pki.client;
    let mut command = Command::new(client);
    command.arg("client");
    let command = with_identities(testbed, (port, Version::V1_3), std::slice::from_ref(own), command);
    let output = single::finish(command, b"")?;
    ensure!(output.contains("200 OK"), "{output}");
    let Some(agent) = agent() else { return Ok(()) };
    let record = agent.records.one_closed_to(port)?;
    let sent = at(&record, "/bytes/server_to_client").as_u64().context("no bytes")?;
    ensure!(sent < server.leaf_length as u64, "it was not compressed: {sent} bytes");
    none_wrong("compressed", wrong(&record, own, server));
    expected.is("/tls/certificate_compression_offered", json!(["zlib"])).assert(&record);
    Ok(())
}

/// The same program without its symbols.
fn blind(program: &Path) -> Result<PathBuf> {
    let copy = Testbed::shared().folder("blind")?.join("client");
    output_of(Command::new("strip").arg("-o").arg(&copy).arg(program))?;
    Ok(copy)
}

#[test]
fn compressed_certificates_are_shown_by_who_receives_them() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let _standing: Vec<Process> = standing()?;
    let pki = &Testbed::shared().pki;
    let (client, server) = ((&pki.client, Seen::Whole), &pki.server_large);
    let program = Program::Rustls23.path()?;
    let both = mutual(client, (server, Seen::Whole))
        .is("/client/verification", "verified")
        .is("/server/verification", "verified");
    exchange(&program, server, both)?;
    let sender_alone = mutual(client, (server, Seen::Nothing))
        .is("/evidence/server", "inferred")
        .with("/client/verification", not_known())
        .is("/server/verification", "verified");
    exchange(&blind(&program)?, server, sender_alone)
}
