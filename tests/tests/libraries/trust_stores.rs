//! Certificates that a library loads for other reasons than a handshake are nobody's.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::Result;
use countersign_tests::{
    Agent, AgentOptions, ClientKind, ClientOptions, PATIENCE, RequestCertificate, SERVER_NAME, ServerKind,
    ServerOptions, Testbed, Version, at, output_of, peers_only, ready, text, until,
};
use serde_json::{Value, json};

use crate::{further, required, single, standing};

/// Loads trust stores in the ways that hosts do, in handshakes and outside. The connections among it go to `port`.
fn load_trust_stores(port: u16) -> Result<()> {
    let testbed = Testbed::shared();
    let (pki, folder) = (&testbed.pki, testbed.folder("trust")?);
    // In a handshake that fails: no public authority issued this server's certificate.
    let mut curl = Command::new("curl");
    let (target, url) =
        (format!("{SERVER_NAME}:{port}:{}", Testbed::SERVER), format!("https://{SERVER_NAME}:{port}/"));
    curl.args(["--silent", "--noproxy", "*", "--max-time", "15", "--resolve", &target, &url]);
    single::finish(curl, b"")?;
    // BoringSSL with the same bundle.
    single::finish(further::curl_cffi(single::showing(&pki.client, port, Version::V1_3))?, b"")?;
    // In a handshake that looks the root up in a folder while it verifies.
    let hashed = folder.join("hashed");
    std::fs::create_dir(&hashed)?;
    std::fs::copy(&pki.ca, hashed.join("ca.pem"))?;
    output_of(Command::new("openssl").arg("rehash").arg(&hashed))?;
    let mut client = Command::new("openssl");
    client.args([
        "s_client",
        "-ign_eof",
        "-connect",
        &format!("{}:{port}", Testbed::SERVER),
        "-verify_return_error",
    ]);
    client.args(["-servername", SERVER_NAME, "-tls1_3", "-CApath"]).arg(&hashed);
    client.arg("-cert").arg(&pki.client.leaf).arg("-key").arg(&pki.client.key);
    client.arg("-cert_chain").arg(&pki.client.intermediates);
    let output = single::finish(client, b"GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n")?;
    anyhow::ensure!(output.contains("200 ok") || output.contains("200 OK"), "{output}");
    // Outside of any handshake.
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-CApath", "/etc/ssl/certs", "-CAfile"]).arg(&pki.ca).arg("-untrusted");
    output_of(verify.arg(&pki.server.intermediates).arg(&pki.server.leaf))?;
    let script = "require('tls').createSecureContext({ ca: require('tls').rootCertificates })";
    output_of(Command::new("node").args(["-e", script]))?;
    output_of(
        Command::new("update-ca-certificates")
            .args(["--fresh", "--hooksdir", "", "--etccertsdir"])
            .arg(&folder),
    )?;
    Ok(())
}

#[test]
fn a_trust_store_makes_no_certificate_record() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let pki = &testbed.pki;
    let agent = if peers_only() { None } else { Some(Agent::start(AgentOptions::default())?) };
    let _standing = standing()?;
    let port = testbed.port();
    let options = ServerOptions { request: RequestCertificate::Optional, ..required(port) };
    let server = ServerKind::OpenSsl.start(testbed, options)?;
    if let Some(agent) = &agent {
        agent.wait_probed(&server, "openssl")?;
    }
    load_trust_stores(port)?;
    // A connection whose certificates must come, after all that must not.
    let options = ClientOptions {
        address: Testbed::SERVER,
        port,
        version: Some(Version::V1_3),
        identity: Some(&pki.client),
        resume: false,
        count: 1,
    };
    ClientKind::Python.run(testbed, options)?;
    let Some(agent) = agent else { return Ok(()) };
    agent.records.closed_to(port, 4)?;
    agent.fence()?;
    let shown: BTreeSet<&str> =
        pki.server.fingerprints.iter().chain(&pki.client.fingerprints).map(String::as_str).collect();
    // Other tests have handshakes meanwhile. The record of a connection may follow those of its certificates.
    let foreign = until("the connections of all certificates", PATIENCE, || {
        let foreign = foreign(&agent, port, &shown)?;
        Ok(foreign.is_empty().then_some(foreign))
    });
    let foreign = foreign.or_else(|_| self::foreign(&agent, port, &shown))?;
    println!("certificates that no handshake showed: {}", foreign.len());
    assert!(foreign.is_empty(), "{foreign:#?}");
    let records = agent.records.others("certificate");
    let seen: BTreeSet<&str> = records.iter().map(|record| text(record, "/sha256")).collect();
    assert!(shown.is_subset(&seen), "certificates of the handshakes");
    Ok(())
}

/// Records of certificates that are neither among the `shown` ones nor on a connection to another port than `port`.
fn foreign(agent: &Agent, port: u16, shown: &BTreeSet<&str>) -> Result<Vec<Value>> {
    let mut records = agent.records.others("certificate");
    let elsewhere = agent.records.wait_for("connections", PATIENCE, |all| {
        let others = all.iter().filter(|record| at(record, "/server/port") != &json!(port));
        let lists = others.flat_map(|record| {
            ["/client/certificates", "/server/certificates"]
                .map(|pointer| at(record, pointer).as_array().cloned())
        });
        Some(lists.flatten().flatten().collect::<Vec<Value>>())
    })?;
    records.retain(|record| {
        !shown.contains(text(record, "/sha256")) && !elsewhere.contains(at(record, "/sha256"))
    });
    Ok(records)
}
