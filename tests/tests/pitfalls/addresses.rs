//! Families, translation, loopback and namespaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use countersign_tests::{
    Agent, ClientKind, ClientOptions, Expectation, Matcher, Namespace, RequestCertificate, ServerKind,
    ServerOptions, Testbed, Version, at, findings_are, odd_client, odd_server, ready, request_to_self,
};
use serde_json::{Value, json};

use crate::{exchange, plaintext};

#[test]
fn ipv6_is_seen_like_ipv4() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server("plain", Testbed::SERVER6, port)?;
    let client = odd_client("plain", Testbed::SERVER6, port)?;
    let record = agent.records.one_closed_to(port)?;
    plaintext(&client)
        .is("/client/address", Testbed::CLIENT6.to_string())
        .is("/server/address", Testbed::SERVER6.to_string())
        .is("/server/process/pid", server.pid())
        .assert(&record);
    Ok(())
}

#[test]
fn an_ipv4_peer_of_a_dual_stack_socket_is_printed_as_ipv4() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server("plain", IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)?;
    let client = odd_client("plain", Testbed::SERVER, port)?;
    let record = agent.records.one_closed_to(port)?;
    plaintext(&client)
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .is("/server/process/pid", server.pid())
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&record);
    Ok(())
}

/// A TLS 1.3 connection of curl to `dialled`, which rules in the client's namespace translate.
fn through_nat(rules: &str, dialled: IpAddr, dialled_port: u16, port: u16) -> Result<Value> {
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    testbed.client_side.nft(rules)?;
    let _server = ServerKind::Nginx.start(
        testbed,
        ServerOptions {
            address: Testbed::SERVER,
            port,
            version: Some(Version::V1_3),
            request: RequestCertificate::No,
            identity: &testbed.pki.server,
        },
    )?;
    let run = ClientKind::Curl.run(
        testbed,
        ClientOptions {
            address: dialled,
            port: dialled_port,
            version: Some(Version::V1_3),
            identity: None,
            resume: false,
            count: 1,
        },
    )?;
    ensure!(run.answered, "{}", run.output);
    let record = agent.records.one_closed_to(port)?;
    agent.fence()?;
    let found = agent.records.so_far_to(port).len();
    ensure!(found == 1, "{found} records for one connection");
    Expectation::default()
        .is("/authentication", "server_only")
        .is("/scope", "east_west")
        .is("/client/process/pid", run.pids[0])
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .is("/server/port", port)
        .with("/server/process/pid", Matcher::Present)
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&record);
    Ok(record)
}

#[test]
fn a_dialled_service_address_and_its_translation_are_one_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (dialled_port, port) = (Testbed::shared().port(), Testbed::shared().port());
    let dialled = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 99));
    let rules = format!(
        "table ip service {{ chain out {{ type nat hook output priority -100; \
         ip daddr {dialled} tcp dport {dialled_port} dnat to {}:{port}; }}; }}",
        Testbed::SERVER
    );
    let record = through_nat(&rules, dialled, dialled_port, port)?;
    Expectation::default()
        .is("/server/dialled_address", dialled.to_string())
        .is("/server/dialled_port", dialled_port)
        .assert(&record);
    Ok(())
}

#[test]
fn a_translated_source_is_one_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let port = testbed.port();
    testbed.client_side.ip("addr add 10.77.0.50/24 dev veth-client")?;
    let rules = format!(
        "table ip source {{ chain post {{ type nat hook postrouting priority 100; \
         tcp dport {port} snat to 10.77.0.50; }}; }}"
    );
    let record = through_nat(&rules, Testbed::SERVER, port, port)?;
    let translated = at(&record, "/client/translated").to_string();
    assert!(translated.contains("10.77.0.50:"), "{record:#}");
    Ok(())
}

/// One request between two sockets of this process.
fn own_exchange(namespace: Option<&Namespace>, address: IpAddr) -> Result<Value> {
    let port = request_to_self(namespace, address)?;
    let record = Agent::shared().records.one_closed_to(port)?;
    Expectation::default()
        .is("/protocol", "http/1")
        .is("/client/process/pid", std::process::id())
        .is("/server/process/pid", std::process::id())
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&record);
    Ok(record)
}

#[test]
fn loopback_is_loopback_and_no_finding() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let record = own_exchange(None, address)?;
        Expectation::default()
            .is("/scope", "loopback")
            .is("/authentication", "none")
            .with("/findings", findings_are(&[]))
            .assert(&record);
    }
    Ok(())
}

#[test]
fn own_address_to_own_address_is_east_west() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let record = own_exchange(Some(&Testbed::shared().server_side), Testbed::SERVER)?;
    Expectation::default()
        .is("/scope", "east_west")
        .with("/findings", findings_are(&["unauthenticated_east_west"]))
        .assert(&record);
    Ok(())
}

#[test]
fn sockets_of_two_namespaces_are_told_apart() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("plain", "plain")?;
    plaintext(&client)
        .is("/server/process/pid", server.pid())
        .with("/client/netns", Matcher::Present)
        .with("/server/netns", Matcher::Present)
        .assert(&record);
    assert_ne!(at(&record, "/client/netns"), at(&record, "/server/netns"));
    Ok(())
}
