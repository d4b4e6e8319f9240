//! Both ends of a connection: one record where both are here, the same name where they are not.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, ByteWiseProxy, Cgroup, ClientKind, ClientOptions, Expectation, Matcher, Namespace,
    PATIENCE, Process, Program, RequestCertificate, ServerKind, ServerOptions, Testbed, Version, at,
    odd_server, owners, owners_program, peer_script, python, ready, text,
};
use serde_json::{Value, json};

/// Client and server namespaces with one between them, which `script` sets up: `$1` its device to the client, `$2` the one
/// to the server.
fn across(script: &str) -> Result<[Namespace; 3]> {
    let (client, between, server) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
    between.veth("left", &client, "eth0")?;
    between.veth("right", &server, "eth0")?;
    between.run("sh", &["-ec", script, "sh", "left", "right"])?;
    Ok([client, between, server])
}

/// One request from a process in the first namespace to one in the last, which listens at `real` and is dialled at
/// `dialled`; both ends are one record.
fn one_record_across(
    namespaces: &[Namespace; 3],
    real: [u8; 4],
    dialled: [u8; 4],
    port: u16,
) -> Result<Value> {
    let agent = Agent::shared();
    let mut command = Command::new(python()?);
    command.arg(peer_script("odd_server.py"));
    command.args(["plain", &Ipv4Addr::from(real).to_string(), &port.to_string()]);
    let mut server = Process::spawn("server", Some(&namespaces[2]), command)?;
    server.wait_listening(port)?;
    let mut client = Command::new(Program::Owners.path()?);
    client.args(["short", &Ipv4Addr::from(dialled).to_string(), &port.to_string()]);
    let client = Process::spawn("client", Some(&namespaces[0]), client)?.finish(PATIENCE)?;
    ensure!(client.status.success(), "{}", client.output);
    let record = agent.records.one_closed_to(port)?;
    agent.fence()?;
    ensure!(agent.records.so_far_to(port).len() == 1, "a second record for one connection");
    Expectation::default()
        .is("/client/process/pid", client.pid)
        .is("/server/process/pid", server.pid())
        .is("/server/address", Ipv4Addr::from(real).to_string())
        .is("/authentication", "none")
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&record);
    Ok(record)
}

#[test]
fn both_ends_across_a_bridge_are_one_record() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let bridge = "ip link add bridge type bridge; ip link set bridge up
        ip link set $1 master bridge; ip link set $2 master bridge";
    let namespaces = across(bridge)?;
    namespaces[0].ip("addr add 10.88.0.1/24 dev eth0")?;
    namespaces[2].ip("addr add 10.88.0.2/24 dev eth0")?;
    let server = [10, 88, 0, 2];
    one_record_across(&namespaces, server, server, Testbed::shared().port()).map(drop)
}

#[test]
fn both_ends_across_a_router_that_translates_both_addresses_are_one_record() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let port = Testbed::shared().port();
    // As a node does for the address of a service.
    let router = format!(
        "ip addr add 10.88.1.254/24 dev $1; ip addr add 10.88.2.254/24 dev $2; sysctl -qw net.ipv4.ip_forward=1
        nft 'table ip service {{
            chain before {{ type nat hook prerouting priority -100
                ip daddr 10.99.0.1 tcp dport {port} dnat to 10.88.2.1; }}
            chain after {{ type nat hook postrouting priority 100; oif right masquerade; }}
        }}'"
    );
    let namespaces = across(&router)?;
    for (side, network) in [(&namespaces[0], 1), (&namespaces[2], 2)] {
        side.ip(&format!("addr add 10.88.{network}.1/24 dev eth0"))?;
        side.ip(&format!("route add default via 10.88.{network}.254"))?;
    }
    let record = one_record_across(&namespaces, [10, 88, 2, 1], [10, 99, 0, 1], port)?;
    Expectation::default().is("/server/dialled_address", "10.99.0.1").assert(&record);
    let translated = at(&record, "/client/translated").to_string();
    assert!(translated.contains("10.88.2.254:"), "{record:#}");
    Ok(())
}

#[test]
fn both_ends_around_a_syn_proxy_are_one_record() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let port = Testbed::shared().port();
    // It answers clients in the server's place, with numbers of its own, until they have shown that they are there.
    let proxy = format!(
        "ip addr add 10.88.1.254/24 dev $1; ip addr add 10.88.2.254/24 dev $2; sysctl -qw net.ipv4.ip_forward=1
        sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
        nft 'table ip shield {{
            chain before {{ type filter hook prerouting priority raw; iif left tcp dport {port} tcp flags syn notrack; }}
            chain through {{ type filter hook forward priority 0;
                ct state invalid,untracked counter synproxy mss 1460 wscale 7 timestamp sack-perm
                ct state invalid drop; }}
        }}'"
    );
    let namespaces = across(&proxy)?;
    for (side, network) in [(&namespaces[0], 1), (&namespaces[2], 2)] {
        side.ip(&format!("addr add 10.88.{network}.1/24 dev eth0"))?;
        side.ip(&format!("route add default via 10.88.{network}.254"))?;
    }
    let server = [10, 88, 2, 1];
    one_record_across(&namespaces, server, server, port)?;
    let rules = namespaces[1].run("nft", &["list", "table", "ip", "shield"])?;
    ensure!(!rules.contains("counter packets 0 "), "nothing went through the proxy: {rules}");
    Ok(())
}

/// A proxy that passes TLS on makes two connections of TCP: each has its own owners, and what joins them is what only the
/// ends of TLS can make.
#[test]
fn both_connections_of_a_proxy_have_the_same_session_id() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    let (address, port, version) = (Testbed::SERVER, testbed.port(), Some(Version::V1_3));
    let request = RequestCertificate::No;
    let options = ServerOptions { address, port, version, request, identity: &testbed.pki.server };
    let server = ServerKind::OpenSsl.start(testbed, options)?;
    let proxy = ByteWiseProxy::start(&testbed.server_side, address, SocketAddr::new(address, port))?;
    let options =
        ClientOptions { address, port: proxy.port, version, identity: None, resume: false, count: 1 };
    let run = ClientKind::OpenSsl.run(testbed, options)?;
    ensure!(run.answered, "{}", run.output);
    let (before, behind) = (agent.records.one_closed_to(proxy.port)?, agent.records.one_closed_to(port)?);
    ensure!(!text(&before, "/session_id").is_empty());
    let own = std::process::id();
    let both = |client: u32, server: u32| {
        Expectation::default()
            .is("/session_id", at(&before, "/session_id").clone())
            .is("/client/process/pid", client)
            .is("/server/process/pid", server)
    };
    both(run.pids[0], own).assert(&before);
    both(own, server.pid()).assert(&behind);
    Ok(())
}

/// An agent that watches one cgroup.
fn agent_of(cgroup: &Cgroup) -> Result<Agent> {
    let folder = cgroup.folder().display();
    let configuration = format!("[capture]\ncgroup_root = \"{folder}\"\n[libraries]\nenabled = false\n");
    // Its own connection, by which it is known to run, must be one that it sees.
    cgroup.enter(|| Agent::start(AgentOptions { configuration, ..AgentOptions::default() }))
}

#[test]
fn two_hosts_give_one_connection_the_same_session_id() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let cgroup = |name: &str| Cgroup::new(&format!("countersign-{name}-{}", std::process::id()));
    let (here, there) = (cgroup("here")?, cgroup("there")?);
    // One that is older than both agents, and of neither.
    let older = testbed.port();
    let _older_server = odd_server("never_accept", Testbed::SERVER, older)?;
    let older_client = owners(&owners_program("older")?, "hold", older, &[])?;
    older_client.wait_for_output("client ")?;
    let (client_agent, server_agent) = (agent_of(&here)?, agent_of(&there)?);
    for version in [Version::V1_2, Version::V1_3] {
        let (address, port, version) = (Testbed::SERVER, testbed.port(), Some(version));
        let request = RequestCertificate::Require;
        let options = ServerOptions { address, port, version, request, identity: &testbed.pki.server };
        let server = there.enter(|| ServerKind::OpenSsl.start(testbed, options))?;
        let identity = Some(&testbed.pki.client);
        let options = ClientOptions { address, port, version, identity, resume: false, count: 1 };
        let run = here.enter(|| ClientKind::OpenSsl.run(testbed, options))?;
        ensure!(run.answered, "{}", run.output);
        let seen_here = client_agent.records.one_closed_to(port)?;
        let seen_there = server_agent.records.one_closed_to(port)?;
        let both = Expectation::default()
            .is("/authentication", "mutual")
            .is("/session_id", at(&seen_here, "/session_id").clone());
        both.clone()
            .with("/observed_from", Matcher::Set(vec![json!("client")]))
            .is("/client/process/pid", run.pids[0])
            .is("/server/process", Value::Null)
            .is("/server/process_unknown", "remote")
            .assert(&seen_here);
        both.with("/observed_from", Matcher::Set(vec![json!("server")]))
            .is("/server/process/pid", server.pid())
            .is("/client/process", Value::Null)
            .assert(&seen_there);
        ensure!(!text(&seen_here, "/session_id").is_empty());
    }
    for (cgroup, agent) in [(&here, &client_agent), (&there, &server_agent)] {
        cgroup.enter(|| agent.fence())?;
        assert!(agent.records.so_far_to(older).is_empty(), "a connection of another part of the host");
    }
    Ok(())
}
