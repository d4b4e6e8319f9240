//! What packets carry, and how many sockets a connection has.

use std::io::Write;

use anyhow::Result;
use countersign_tests::{Agent, Expectation, Matcher, Testbed, at, pair_across, ready, text};
use serde_json::json;

use crate::{exchange, plaintext};

#[test]
fn mptcp_is_one_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("mptcp", "mptcp")?;
    plaintext(&client).assert(&record);
    let known = at(&record, "/server/process/pid") == server.pid();
    let unknown = text(&record, "/server/process_unknown").contains("mptcp");
    assert!(known || unknown, "{record:#}");
    Ok(())
}

#[test]
fn a_second_subflow_is_no_second_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    for side in [&testbed.client_side, &testbed.server_side] {
        side.ip("mptcp limits set subflow 2 add_addr_accepted 2")?;
    }
    testbed.client_side.ip("addr add 10.77.0.77/24 dev veth-client")?;
    testbed.client_side.ip("mptcp endpoint add 10.77.0.77 dev veth-client subflow")?;
    // The client ends with an error if no subflow joins.
    let outcome = exchange("mptcp", "mptcp_join");
    testbed.client_side.ip("mptcp endpoint flush")?;
    testbed.client_side.ip("addr del 10.77.0.77/24 dev veth-client")?;
    let (record, _, client) = outcome?;
    plaintext(&client).is("/client/address", Testbed::CLIENT.to_string()).assert(&record);
    Ok(())
}

#[test]
fn a_syn_that_claims_to_join_does_not_hide_a_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    // The client's kernel knows of no such connection and would reset it.
    let rules = "table inet forged {
        chain out {
            type filter hook output priority 0
            tcp sport 61000 tcp flags rst drop
        }
    }";
    let client_side = &Testbed::shared().client_side;
    client_side.nft(rules)?;
    let outcome = exchange("plain", "forged_join");
    client_side.nft("delete table inet forged")?;
    let (record, server, _) = outcome?;
    Expectation::default()
        .is("/protocol", "http/1")
        .is("/authentication", "none")
        .is("/client/port", 61000)
        .is("/server/process/pid", server.pid())
        .with("/observed_from", Matcher::Set(vec![json!("server")]))
        .assert(&record);
    Ok(())
}

#[test]
fn data_in_the_syn_is_read() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    // Client and server without a cookie first (Documentation/networking/ip-sysctl.rst, tcp_fastopen).
    testbed.client_side.run("sysctl", &["-qw", "net.ipv4.tcp_fastopen=5"])?;
    testbed.server_side.run("sysctl", &["-qw", "net.ipv4.tcp_fastopen=514"])?;
    // The client ends with an error if the server did not take the data of its SYN.
    let (record, server, client) = exchange("fast_open", "fast_open")?;
    plaintext(&client).is("/server/process/pid", server.pid()).assert(&record);
    Ok(())
}

#[test]
fn super_packets_are_counted_and_cost_no_verdict() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const LENGTH: usize = 8 * 1024 * 1024;
    let agent = Agent::shared();
    let (mut client, mut server, listener) = pair_across()?;
    let port = listener.local_addr()?.port();
    let reader = std::thread::spawn(move || std::io::copy(&mut server, &mut std::io::sink()));
    client.write_all(b"POST / HTTP/1.1\r\nHost: server.test\r\n\r\n")?;
    client.write_all(&vec![0x5a; LENGTH])?;
    drop(client);
    reader.join().map_err(|_| anyhow::anyhow!("reader panicked"))??;
    let record = agent.records.one_closed_to(port)?;
    Expectation::default()
        .is("/protocol", "http/1")
        .is("/authentication", "none")
        .is("/bytes/client_to_server", LENGTH + 38)
        .assert(&record);
    Ok(())
}
