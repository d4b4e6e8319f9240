//! Every server × client × mode × version with real peers: the whole record is asserted.

use anyhow::{Result, ensure};
use countersign_tests::{
    Agent, ClientKind, ClientOptions, Expectation, RequestCertificate, ServerKind, ServerOptions, Sight,
    Testbed, Version, findings_are, peers_only, play_all, ready,
};
use serde_json::json;

#[test]
fn every_peer_in_every_mode_gets_the_right_record() {
    if !ready() {
        return;
    }
    // Before the first client: the agent's first record must not be missed.
    play_all((!peers_only()).then(Agent::shared), Sight::Wire, |_| true);
}

/// Certificates and versions that a careful peer would not take, and what is said about them.
#[test]
fn what_was_accepted_but_should_not_have_been_is_found() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let agent = (!peers_only()).then(Agent::shared);
    let pki = &testbed.pki;
    let server_only = "server_only_tls_east_west";
    let (expired, future) = ("expired_certificate_accepted", "not_yet_valid_certificate_accepted");
    let (v1_1, v1_2) = (Version::V1_1, Version::V1_2);
    for (version, server, client, findings) in [
        (v1_2, &pki.server_expired, None, vec![server_only, expired]),
        (v1_2, &pki.server_future, None, vec![server_only, future]),
        (v1_2, &pki.server, Some(&pki.client_expired), vec![expired]),
        (v1_2, &pki.server_expired, Some(&pki.client_expired), vec![expired]),
        (v1_1, &pki.server, None, vec![server_only, "deprecated_tls_version"]),
        (v1_1, &pki.server, Some(&pki.client), vec!["deprecated_tls_version"]),
        (v1_2, &pki.server_rsa, Some(&pki.client), vec![]),
    ] {
        let port = testbed.port();
        let request = if client.is_some() { RequestCertificate::Optional } else { RequestCertificate::No };
        let (address, only) = (Testbed::SERVER, Some(version));
        // OpenSSL's test programs go on whatever the certificate is.
        let _server = ServerKind::OpenSsl
            .start(testbed, ServerOptions { address, port, version: only, request, identity: server })?;
        let options =
            ClientOptions { address, port, version: only, identity: client, resume: false, count: 1 };
        let run = ClientKind::OpenSsl.run(testbed, options)?;
        ensure!(run.answered, "{}", run.output);
        let Some(agent) = agent else { continue };
        let shown = client.map_or(json!([]), |client| json!(client.fingerprints));
        Expectation::default()
            .is("/authentication", if client.is_some() { "mutual" } else { "server_only" })
            .is("/tls/version", version.as_str())
            .is("/server/certificates", json!(server.fingerprints))
            .is("/client/certificates", shown)
            .with("/findings", findings_are(&findings))
            .assert(&agent.records.one_closed_to(port)?);
    }
    Ok(())
}
