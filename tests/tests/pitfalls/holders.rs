//! Who holds a connection.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use anyhow::Result;
use countersign_tests::{
    Agent, AgentOptions, Cgroup, Expectation, Matcher, PATIENCE, Process, Testbed, at, findings_are,
    odd_server, pair_across, ready, request_over, text,
};
use serde_json::{Value, json};

use crate::{exchange, plaintext};

fn holder_pids(record: &Value, side: &str) -> Vec<u64> {
    let holders = at(record, &format!("/{side}/processes")).as_array();
    holders.into_iter().flatten().filter_map(|holder| at(holder, "/process/pid").as_u64()).collect()
}

#[test]
fn accept_without_an_address_still_names_the_server() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("accept_without_address", "plain")?;
    let sources = ["release", "listener", "iterator"].map(|source| json!(source)).to_vec();
    plaintext(&client)
        .is("/server/process/pid", server.pid())
        .with("/server/owner_source", Matcher::OneOf(sources))
        .assert(&record);
    Ok(())
}

#[test]
fn a_client_that_asks_for_its_peers_name_is_no_server() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("plain", "getpeername")?;
    plaintext(&client)
        .is("/client/owner_source", "connect")
        .is("/server/process/pid", server.pid())
        .is("/server/owner_source", "getpeername")
        .assert(&record);
    assert!(!holder_pids(&record, "server").contains(&u64::from(client.pid)), "{record:#}");
    Ok(())
}

#[test]
fn data_on_the_listening_socket_belongs_to_the_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("defer_accept", "plain")?;
    plaintext(&client).is("/server/process/pid", server.pid()).assert(&record);
    assert!(at(&record, "/cleartext_examined/client").as_u64() > Some(0), "{record:#}");
    Ok(())
}

#[test]
fn a_connection_that_nobody_accepts_says_why_or_names_the_listener() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let (agent, port) = (Agent::shared(), testbed.port());
    let server = odd_server("never_accept", Testbed::SERVER, port)?;
    testbed.client_side.enter(|| {
        let mut stream = TcpStream::connect((Testbed::SERVER, port))?;
        Ok(stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?)
    })?;
    let pid = server.pid();
    drop(server);
    let record = agent.records.one_closed_to(port)?;
    let unaccepted =
        at(&record, "/server/process").is_null() && !text(&record, "/server/process_unknown").is_empty();
    let listener = at(&record, "/server/process/pid") == pid
        && ["listener", "release"].contains(&text(&record, "/server/owner_source"));
    assert!(unaccepted || listener, "{record:#}");
    Expectation::default().is("/client/process/pid", std::process::id()).assert(&record);
    Ok(())
}

#[test]
fn a_client_of_a_few_milliseconds_is_named() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    for round in 0..10 {
        let port = testbed.port();
        let _server = odd_server("plain", Testbed::SERVER, port)?;
        let mut command = Command::new("bash");
        let script = format!(
            "exec 3<>/dev/tcp/{}/{port}; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; read -r line <&3",
            Testbed::SERVER
        );
        command.args(["-c", &script]);
        let client = Process::spawn("bash", Some(&testbed.client_side), command)?.finish(PATIENCE)?;
        let record = agent.records.one_closed_to(port)?;
        Expectation::default()
            .is("/client/process/pid", client.pid)
            .is("/client/process/comm", "bash")
            .with("/client/process/start_time", Matcher::Present)
            .is("/client/process/user", "root")
            .assert(&record);
        assert!(text(&record, "/client/process/executable").ends_with("/bash"), "{round}: {record:#}");
    }
    Ok(())
}

#[test]
fn a_connection_older_than_the_agent_is_unknown_and_owned() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (mut client, mut server, listener) = pair_across()?;
    let port = listener.local_addr()?.port();
    request_over(&mut client, &mut server)?;
    let agent = Agent::start(AgentOptions::default())?;
    request_over(&mut client, &mut server)?;
    drop((client, server));
    let record = agent.records.one_closed_to(port)?;
    Expectation::default()
        .is("/authentication", "unknown")
        .is("/capture_complete", false)
        .is("/capture_reason", "mid_stream")
        .is("/client/process/pid", std::process::id())
        .is("/server/process/pid", std::process::id())
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .with("/findings", findings_are(&[]))
        .assert(&record);
    Ok(())
}

#[test]
fn a_service_is_named_by_its_systemd_unit() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let unit = format!("countersign-test-{}.service", std::process::id());
    // The server ends before the cgroup goes.
    let cgroup = Cgroup::new(&format!("system.slice/{unit}"))?;
    let (record, server, client) = cgroup.enter(|| {
        let (record, server, client) = exchange("plain", "plain")?;
        Ok((record, server.pid(), client))
    })?;
    plaintext(&client)
        .is("/client/workload/kind", "systemd")
        .is("/client/workload/unit", unit.as_str())
        .is("/server/workload/unit", unit.as_str())
        .is("/server/process/pid", server)
        .is("/client/process/user", "root")
        .assert(&record);
    Ok(())
}
